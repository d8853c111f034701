//! The memory of a process while the database answers no request, and afterwards.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use harness::cpu::Server;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sessile::{Client, Realm, store::NewSession};
use tokio::time::{interval, sleep, timeout};
use uuid::Uuid;

use super::On;
use crate::{
    figure::{Figure, row},
    fill, stores,
};

/// The requests that come meanwhile, and the time that each client waits.
const PER_S: u32 = 1_000;
const BYTES: usize = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(1);
const HANGS: Duration = Duration::from_secs(60);
const AFTERWARDS: Duration = Duration::from_secs(10);

pub(super) async fn run(on: &On<'_>) -> Result<Vec<Figure>> {
    let Server::Process(postmaster) = on.postgres.cpu else {
        bail!("this needs a server that runs on this machine")
    };
    let database = on.postgres.database("hang").await?;
    let store = stores::open(&database.url).await?;
    store.migrate().await?;
    let data: Arc<str> = format!("{{\"filler\":\"{}\"}}", "x".repeat(BYTES)).into();
    let ask = || {
        let new = NewSession {
            id: Uuid::now_v7().into(),
            realm: Realm::default(),
            secret_hash: fill::secret_hash(),
            data: data.to_string(),
            timeouts: fill::timeouts(),
            client: Client::new(),
            pending: None,
        };
        let store = store.clone();
        tokio::spawn(async move { timeout(PATIENCE, store.create(&[new])).await.is_ok() })
    };
    for _ in 0..2 * PER_S {
        ask().await?;
    }

    let backends: Vec<i32> = sqlx::query_scalar(
        "select pid from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .fetch_all(&database.pool)
    .await?;
    let before = megabytes()?;
    let all = std::iter::once(postmaster).chain(backends);
    let stopped = all.map(Stopped::process).collect::<Result<Vec<_>>>()?;
    let (begun, mut highest) = (Instant::now(), before);
    let mut ticks = interval(Duration::from_secs(1) / PER_S);
    while begun.elapsed() < HANGS {
        ticks.tick().await;
        ask();
        highest = highest.max(megabytes()?);
    }
    drop(stopped);
    sleep(AFTERWARDS).await;
    let afterwards = megabytes()?;
    anyhow::ensure!(ask().await?, "the store does not answer again");
    drop(store);
    database.drop().await?;
    let case = format!("{PER_S} creates of {BYTES} bytes a second, {} s long", HANGS.as_secs());
    let columns =
        [("before, MB", before), ("highest, MB", highest), ("afterwards, MB", afterwards)];
    Ok(row("hang", case, columns))
}

/// The memory of this process.
fn megabytes() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let resident = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|text| text.trim().strip_suffix("kB"));
    Ok(kilobytes.context("the kernel does not say")?.trim().parse::<f64>()? / 1e3)
}

/// A process that is stopped until this is dropped.
pub(super) struct Stopped(Pid);

impl Stopped {
    pub(super) fn process(pid: i32) -> Result<Self> {
        kill(Pid::from_raw(pid), Signal::SIGSTOP).context("stopping a process of the server's")?;
        Ok(Self(Pid::from_raw(pid)))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        kill(self.0, Signal::SIGCONT).ok();
    }
}
