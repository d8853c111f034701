//! A Postgres of the soak's own, which is killed, started again and replaced by its standby.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The programs of Postgres, and the user that runs them: Postgres refuses to run as root.
#[derive(Clone, Debug)]
pub struct Programs {
    pub folder: PathBuf,
    pub owner: Option<String>,
}

impl Programs {
    fn command(&self, program: &str) -> Command {
        let path = self.folder.join(program);
        match &self.owner {
            None => Command::new(path),
            Some(owner) => {
                let mut command = Command::new("runuser");
                command.args(["-u", owner, "--"]).arg(path);
                command
            }
        }
    }
}

/// A server. It is stopped and deleted when this is dropped.
#[derive(Debug)]
pub struct Server {
    programs: Programs,
    folder: PathBuf,
    pub port: u16,
}

impl Server {
    /// Makes and starts a server without data. With small files of the log, a limit on the size of files is like a full
    /// disk.
    pub fn new(programs: &Programs, folder: &Path) -> Result<Self> {
        let server = Self::in_folder(programs, folder);
        let mut make = programs.command("initdb");
        make.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"])
            .args(["--no-sync", "--wal-segsize=1", "--pgdata"])
            .arg(&server.folder);
        run(make)?;
        server.start()?;
        Ok(server)
    }

    fn in_folder(programs: &Programs, folder: &Path) -> Self {
        let port = 20_000 + rand::random_range(0..10_000);
        Self { programs: programs.clone(), folder: folder.to_owned(), port }
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it, also after it was killed.
    pub fn start(&self) -> Result<()> {
        // A killed server leaves its shared memory behind: in the folder, which goes.
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off -c max_connections=100 \
             -c wal_level=replica -c max_wal_size=256MB -c wal_keep_size=64MB -c dynamic_shared_memory_type=mmap",
            self.port,
            self.folder.display()
        );
        let mut last = Ok(());
        // The processes of a killed server take a moment to notice it.
        for _ in 0..50 {
            let mut start = self.programs.command("pg_ctl");
            start
                .args(["start", "--wait", "--silent", "--timeout=120", "--pgdata"])
                .arg(&self.folder);
            // The server keeps what it inherits open.
            start.arg("--log").arg(self.folder.join("server.log")).args(["--options", &options]);
            last = run(start).map(drop);
            if last.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        last
    }

    /// Kills the server and all of its processes, in the middle of whatever they do.
    pub fn kill(&self) -> Result<()> {
        let file = std::fs::read_to_string(self.folder.join("postmaster.pid"))
            .context("a running server")?;
        let pid = file.lines().next().context("a process")?.to_owned();
        let children = Command::new("pgrep").args(["-P", &pid]).output()?;
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        let mut kill = Command::new("kill");
        kill.arg("-9").arg(&pid).args(children.split_whitespace());
        kill.status()?;
        Ok(())
    }

    /// Lets no file of this server grow above its size, or lets them grow again.
    pub fn fill_disk(&self, is_full: bool) -> Result<()> {
        let pid = std::fs::read_to_string(self.folder.join("postmaster.pid"))?;
        let pid = pid.lines().next().context("a process")?.to_owned();
        let children = Command::new("pgrep").args(["-P", &pid]).output()?;
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        // Segments of the log have a megabyte.
        let limit = if is_full { "1048576" } else { "unlimited" };
        for pid in std::iter::once(pid.as_str()).chain(children.split_whitespace()) {
            // A process may have ended meanwhile.
            Command::new("prlimit")
                .arg(format!("--pid={pid}"))
                .arg(format!("--fsize={limit}:"))
                .output()?;
        }
        Ok(())
    }

    /// A standby that has everything and confirms each commit.
    pub async fn standby(&self, folder: &Path) -> Result<Self> {
        let standby = Self::in_folder(&self.programs, folder);
        let mut copy = self.programs.command("pg_basebackup");
        copy.args([
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
            "--dbname",
            &self.url(),
            "--pgdata",
        ])
        .arg(folder);
        run(copy)?;
        standby.start()?;
        self.run("alter system set synchronous_standby_names = '*'").await?;
        self.run("select pg_reload_conf()").await?;
        let is_synchronous = "select coalesce(bool_or(sync_state = 'sync' and flush_lsn >= pg_current_wal_flush_lsn()), false) from pg_stat_replication";
        for _ in 0..300 {
            if self.ask(is_synchronous).await? {
                return Ok(standby);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the standby does not follow")
    }

    /// Makes a standby the server that takes writes, without a standby of its own.
    pub async fn promote(&self) -> Result<()> {
        let mut promote = self.programs.command("pg_ctl");
        promote
            .args(["promote", "--wait", "--silent", "--timeout=120", "--pgdata"])
            .arg(&self.folder);
        run(promote)?;
        self.confirm_alone().await
    }

    /// Commits wait for no standby any more.
    pub async fn confirm_alone(&self) -> Result<()> {
        self.run("alter system reset synchronous_standby_names").await?;
        self.run("select pg_reload_conf()").await
    }

    /// Runs a statement, without a transaction. A commit of it waits for no standby.
    pub async fn run(&self, statement: &str) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url()).await?;
        sqlx::raw_sql("set synchronous_commit = local").execute(&mut connection).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    pub async fn ask(&self, question: &str) -> Result<bool> {
        let mut connection = PgConnection::connect(&self.url()).await?;
        let answer = sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = self.programs.command("pg_ctl");
        stop.args(["stop", "--silent", "--mode=immediate", "--pgdata"]).arg(&self.folder);
        stop.output().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn run(mut command: Command) -> Result<Output> {
    // The owner may not enter this folder.
    let output = command.current_dir("/").stdin(std::process::Stdio::null()).output();
    let output = output.with_context(|| format!("{command:?}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {complaint}");
    Ok(output)
}
