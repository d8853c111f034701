//! The shop as a process.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::Notify,
    time::timeout,
};

use crate::support::Db;

/// Longer than every wait here: a longer wait never ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running shop. Dropping it kills it.
pub(crate) struct Shop {
    child: Child,
    pub(crate) url: String,
    stdout: Lines<BufReader<ChildStdout>>,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Notify,
}

/// The output of a shop that has ended.
pub(crate) struct Remains {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) log: String,
}

/// The shop, built from its present source. `cargo test --all-targets` and `--test shop` leave it unbuilt or
/// out of date, so it is built here, in the same folder as this test.
fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let test = std::env::current_exe().unwrap();
        let folder = test.parent().and_then(Path::parent).expect("target/debug/deps/shop");
        let profile = match folder.file_name().and_then(|name| name.to_str()).unwrap() {
            "debug" => "dev",
            other => other,
        };
        let status = std::process::Command::new(env!("CARGO"))
            // With the same features as the tests, so that no dependency is built twice.
            .args(["build", "--quiet", "--workspace", "--all-features", "--example", "shop"])
            .args(["--profile", profile])
            .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
            .arg("--target-dir")
            .arg(folder.parent().unwrap())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "`cargo build --example shop` failed");
        folder.join("examples").join("shop")
    });
    &PROGRAM
}

/// The previous release's shop, which runs beside this one while a deployment replaces the nodes.
fn earlier_program() -> PathBuf {
    let path = std::env::var_os("SESSILE_EARLIER_SHOP");
    path.expect("SESSILE_EARLIER_SHOP has to name the shop of the release before: run scripts/test, which builds it").into()
}

/// `shop` with arguments, on a free port unless they name one.
pub(crate) fn command(arguments: &[&str]) -> Command {
    command_of(program(), arguments)
}

fn command_of(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.args(arguments);
    command
}

/// The same, with a clock that is wrong by this much: "+3 days".
pub(crate) fn command_at(offset: &str, arguments: &[&str]) -> Command {
    // Only asks faketime for the variables that it would set: as a parent process it could outlive the shop,
    // or the shop it. The runtime's timers use the monotonic clock, which no administrator sets.
    let asked = std::process::Command::new("faketime")
        .args(["--exclude-monotonic", "-f", offset, "env"])
        .output()
        .expect("the tests need faketime: run scripts/test, or apt-get install faketime");
    assert!(asked.status.success(), "faketime fails: {asked:?}");
    let asked = String::from_utf8(asked.stdout).unwrap();
    let variables = asked.lines().filter_map(|line| line.split_once('='));
    let wanted = ["LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"];
    let mut command = command(arguments);
    command.envs(variables.filter(|(name, _)| wanted.contains(name)));
    command
}

impl Shop {
    pub(crate) async fn start(db: &Db, arguments: &[&str]) -> Self {
        Self::start_at(&db.url, arguments).await
    }

    pub(crate) async fn start_at(database_url: &str, arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        command.args(["--database-url", database_url]);
        Self::spawn(command).await
    }

    pub(crate) async fn start_earlier(db: &Db, arguments: &[&str]) -> Self {
        let mut command = command_of(&earlier_program(), arguments);
        command.args(["--database-url", &db.url]);
        Self::spawn(command).await
    }

    pub(crate) async fn spawn(mut command: Command) -> Self {
        if !command.as_std().get_envs().any(|(name, _)| name == "RUST_LOG") {
            command.env("RUST_LOG", "info");
        }
        let mut child = command
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Arc::new(Log::default());
        tokio::spawn(log.clone().fill(child.stderr.take().unwrap()));
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, stdout.next_line()).await.unwrap().unwrap();
        let url = line.as_deref().and_then(|line| line.strip_prefix("Listening on "));
        let Some(url) = url.map(str::to_owned) else {
            let status = child.wait().await.unwrap();
            panic!("the shop did not start: {status}, {line:?}\n{}", log.text());
        };
        Self { child, url, stdout, log }
    }

    /// The next line that it prints.
    pub(crate) async fn says(&mut self) -> String {
        timeout(PATIENCE, self.stdout.next_line()).await.unwrap().unwrap().unwrap()
    }

    /// Waits until this many lines of the log contain a text.
    pub(crate) async fn has_logged(&self, text: &str, times: usize) {
        let wait = async {
            loop {
                let grown = self.log.grown.notified();
                if self.log.count(text) >= times {
                    return;
                }
                grown.await;
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            panic!("no {times} lines with {text:?} in the log:\n{}", self.log.text());
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// As Ctrl-C in a terminal, or a service manager.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        let status = std::process::Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn remains(mut self) -> Remains {
        let mut stdout = Vec::new();
        let end = async {
            while let Some(line) = self.stdout.next_line().await.unwrap() {
                stdout.push(line);
            }
            self.child.wait().await.unwrap()
        };
        let status = timeout(PATIENCE, end).await.expect("the shop ends");
        Remains { status, stdout, log: self.log.text() }
    }
}

/// Runs a shop that will not start.
pub(crate) async fn fails(database_url: &str, arguments: &[&str]) -> Remains {
    gives_up(database_url, command(arguments)).await
}

/// The same, with the previous release.
pub(crate) async fn earlier_fails(database_url: &str) -> Remains {
    gives_up(database_url, command_of(&earlier_program(), &[])).await
}

async fn gives_up(database_url: &str, mut command: Command) -> Remains {
    command.args(["--database-url", database_url]).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("the shop gives up").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Remains {
        status: output.status,
        stdout: text(output.stdout).lines().map(str::to_owned).collect(),
        log: text(output.stderr),
    }
}

impl Log {
    async fn fill(self: Arc<Self>, stderr: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.lines.lock().unwrap().push(line);
            self.grown.notify_waiters();
        }
    }

    fn count(&self, text: &str) -> usize {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| line.contains(text)).count()
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}
