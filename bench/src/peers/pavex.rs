use std::process::Stdio;

use anyhow::{Context, Result, bail};
use harness::{Plan, Sample, worker::Answer};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
};

use super::{Running, Runs};

/// `pavex_session_sqlx`, in a separate process: pavex cannot be built together with axum.
#[derive(Debug)]
pub(super) struct Pavex(Mutex<Process>);

#[derive(Debug)]
struct Process {
    /// Ends when it is dropped.
    _child: Child,
    plans: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Pavex {
    /// Starts it on an empty database, and waits until it has filled the database.
    pub(super) async fn start(url: &str, sessions: usize) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("bench-pavex");
        let mut child = Command::new(&program)
            .args(["--url", url, "--sessions", &sessions.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{}: scripts/bench builds it", program.display()))?;
        let plans = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let mut process = Process { _child: child, plans, answers };
        match process.answer().await? {
            Answer::Ready => Ok(Self(Mutex::new(process))),
            answer => bail!("pavex is not ready: {answer:?}"),
        }
    }
}

impl Process {
    async fn answer(&mut self) -> Result<Answer> {
        let line = self.answers.next_line().await?.context("pavex's process ended")?;
        Ok(serde_json::from_str(&line)?)
    }

    async fn run(&mut self, plan: &Plan) -> Result<Sample> {
        let line = serde_json::to_string(plan)? + "\n";
        self.plans.write_all(line.as_bytes()).await?;
        match self.answer().await? {
            Answer::Sample(sample) => Ok(sample),
            Answer::Failed(error) => bail!(error),
            Answer::Ready => bail!("pavex answered no plan"),
        }
    }
}

impl Runs for Pavex {
    fn run<'a>(&'a self, plan: &'a Plan) -> Running<'a> {
        Box::pin(async { self.0.lock().await.run(plan).await })
    }
}
