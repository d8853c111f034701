//! Real faults, one at a time.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use rand::{RngExt, rngs::StdRng};
use tokio::{process::Command, time::sleep};

use crate::{
    cluster::{Programs, Server},
    node::Settings,
    plant::Bug,
    proxy::Proxy,
    remote::Remote,
    work::{Slot, Work},
};

/// The database under the nodes.
#[derive(Debug)]
pub enum Database {
    Postgres { server: Server, proxy: Proxy, programs: Programs, folder: PathBuf, servers: u32 },
    Sqlite { file: PathBuf },
}

impl Database {
    pub async fn postgres(programs: Programs, folder: &Path) -> Result<Self> {
        let server = Server::new(&programs, &folder.join("server-0"))?;
        let proxy = Proxy::start(server.port).await?;
        Ok(Self::Postgres { server, proxy, programs, folder: folder.to_owned(), servers: 1 })
    }

    pub fn sqlite(folder: &Path) -> Self {
        Self::Sqlite { file: folder.join("sessions.db") }
    }

    /// The URL for the nodes.
    pub fn url(&self) -> String {
        match self {
            Self::Postgres { proxy, .. } => {
                format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port())
            }
            Self::Sqlite { file } => format!("sqlite://{}?mode=rwc", file.display()),
        }
    }

    /// The URL without faults between.
    pub fn direct_url(&self) -> String {
        match self {
            Self::Postgres { server, .. } => server.url(),
            Self::Sqlite { .. } => self.url(),
        }
    }
}

/// Starts the nodes of a soak.
#[derive(Clone, Debug)]
pub struct Nodes {
    pub url: String,
    pub bug: Option<Bug>,
}

/// How old a copy of the node with a cache may be.
const BOUND: Duration = Duration::from_millis(200);

impl Nodes {
    /// Two plain ones, one with a cache, and one whose clock is an hour ahead of Postgres'.
    pub const NUMBER: usize = 4;

    pub async fn slot(&self, number: usize) -> Result<Slot> {
        let bound = if number == 2 { BOUND } else { Duration::ZERO };
        Ok(Slot::new(bound, self.start(number).await?))
    }

    pub async fn start(&self, number: usize) -> Result<Remote> {
        // A file that is too large is an error for a node, and no signal.
        let mut program = Command::new("sh");
        program.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
        // SQLite's clock is that of the machine, which all processes on the file share.
        if number == 3 && self.url.starts_with("postgres") {
            program.envs(an_hour_ahead().await?);
        }
        program.arg(std::env::current_exe()?);
        let cache_ms = (number == 2).then_some(BOUND.as_millis() as u64);
        let settings = Settings {
            cache_ms,
            sealed: self.bug.is_none(),
            bug: self.bug,
            ..Settings::new(&self.url)
        };
        Remote::start(program, &settings).await
    }
}

/// The variables that faketime would set: as a parent process it would be killed in the node's place.
async fn an_hour_ahead() -> Result<Vec<(String, String)>> {
    let mut program = Command::new("faketime");
    // The runtime's timers use the monotonic clock, which no administrator sets.
    program.args(["--exclude-monotonic", "-f", "+1h", "env"]);
    let output = program.output().await.context("faketime: install the package of that name")?;
    let text = String::from_utf8(output.stdout)?;
    let wanted = ["LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"];
    let variables = text.lines().filter_map(|line| line.split_once('='));
    let variables = variables.filter(|(name, _)| wanted.contains(name));
    Ok(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    NodeKilled,
    ServerKilled,
    BackendsTerminated,
    ConnectionsCut,
    AnswersDelayed,
    AnswersHeldBack,
    StandbyPromoted,
    DiskFull,
    LockedByAnother,
    CheckpointByAnother,
}

impl Fault {
    pub fn any(of: &Database, dice: &mut StdRng) -> Self {
        match of {
            Database::Postgres { .. } => match dice.random_range(0..40) {
                0..8 => Self::NodeKilled,
                8..13 => Self::ServerKilled,
                13..19 => Self::BackendsTerminated,
                19..25 => Self::ConnectionsCut,
                25..29 => Self::AnswersDelayed,
                29..33 => Self::AnswersHeldBack,
                33..35 => Self::StandbyPromoted,
                35..37 => Self::DiskFull,
                _ => Self::LockedByAnother,
            },
            Database::Sqlite { .. } => match dice.random_range(0..20) {
                0..9 => Self::NodeKilled,
                9..14 => Self::LockedByAnother,
                14..17 => Self::DiskFull,
                _ => Self::CheckpointByAnother,
            },
        }
    }

    /// Makes the fault, and repairs what it broke.
    pub async fn make(
        self,
        on: &mut Database,
        work: &Work,
        nodes: &Nodes,
        dice: &mut StdRng,
    ) -> Result<()> {
        let mut some = |from: u64, to: u64| Duration::from_millis(dice.random_range(from..to));
        let (short, long) = (some(0, 600), some(500, 4_000));
        match (self, on) {
            (Self::NodeKilled, _) => {
                let number = dice.random_range(0..work.slots.len());
                let slot = &work.slots[number];
                if let Some(node) = slot.node() {
                    node.kill();
                    slot.put(None);
                    sleep(short).await;
                }
                slot.put(Some(nodes.start(number).await?));
            }
            (Self::ServerKilled, Database::Postgres { server, .. }) => {
                server.kill()?;
                sleep(short).await;
                server.start()?;
            }
            (Self::BackendsTerminated, Database::Postgres { server, .. }) => {
                let some = "select count(pg_terminate_backend(pid)) >= 0 from pg_stat_activity
                    where backend_type = 'client backend' and pid <> pg_backend_pid() and random() < 0.5";
                server.ask(some).await?;
            }
            (Self::ConnectionsCut, Database::Postgres { proxy, .. }) => proxy.cut(),
            (Self::AnswersDelayed, Database::Postgres { proxy, .. }) => {
                proxy.delay(short / 2);
                sleep(long).await;
                proxy.delay(Duration::ZERO);
            }
            (Self::AnswersHeldBack, Database::Postgres { proxy, .. }) => {
                proxy.mute(true);
                sleep(long).await;
                proxy.mute(false);
            }
            (Self::StandbyPromoted, Database::Postgres { server, proxy, folder, servers, .. }) => {
                let standby = server.standby(&folder.join(format!("server-{servers}"))).await?;
                *servers += 1;
                sleep(long).await;
                server.kill()?;
                standby.promote().await?;
                proxy.switch(standby.port);
                *server = standby;
            }
            (Self::DiskFull, Database::Postgres { server, .. }) => {
                server.fill_disk(true)?;
                sleep(long).await;
                server.fill_disk(false)?;
            }
            (Self::LockedByAnother, Database::Postgres { server, .. }) => {
                let seconds = long.as_secs_f64();
                let lock = format!(
                    "begin; lock table sessile.sessions in exclusive mode; select pg_sleep({seconds}); rollback"
                );
                server.run(&lock).await?;
            }
            (Self::DiskFull, Database::Sqlite { file }) => {
                let wal =
                    std::fs::metadata(format!("{}-wal", file.display())).map_or(0, |wal| wal.len());
                let limit = dice.random_range(0..=1) * (wal + 65_536);
                limit_files(work, &limit.to_string()).await?;
                sleep(long).await;
                limit_files(work, "unlimited").await?;
            }
            (Self::LockedByAnother, on @ Database::Sqlite { .. }) => {
                let ms = long.as_millis().to_string();
                other(&["lock", "--url", &on.url(), "--ms", &ms]).await?;
            }
            (Self::CheckpointByAnother, on @ Database::Sqlite { .. }) => {
                other(&["checkpoint", "--url", &on.url()]).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Lets the files of all nodes grow no further than this.
async fn limit_files(work: &Work, limit: &str) -> Result<()> {
    for node in work.slots.iter().filter_map(Slot::node) {
        let Some(pid) = node.pid() else { continue };
        let limit = format!("--fsize={limit}:");
        Command::new("prlimit").arg(format!("--pid={pid}")).arg(limit).output().await?;
    }
    Ok(())
}

/// Another process on the file.
async fn other(arguments: &[&str]) -> Result<()> {
    let mut program = Command::new(std::env::current_exe()?);
    // It may find the file locked, or the disk full.
    program.args(arguments).stderr(Stdio::null()).status().await?;
    Ok(())
}

/// Makes faults until it is told to stop. Returns how many of each.
pub async fn run(
    on: &mut Database,
    work: &Arc<Work>,
    nodes: &Nodes,
    dice: &mut StdRng,
    until: tokio::time::Instant,
) -> Result<std::collections::BTreeMap<Fault, u64>> {
    let mut made = std::collections::BTreeMap::new();
    loop {
        let pause = Duration::from_millis(dice.random_range(200..2_500));
        if tokio::time::Instant::now() + pause > until {
            return Ok(made);
        }
        sleep(pause).await;
        let fault = Fault::any(on, dice);
        fault.make(on, work, nodes, dice).await.with_context(|| format!("{fault:?}"))?;
        *made.entry(fault).or_default() += 1;
    }
}
