//! A node in another process.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::oneshot,
};

use crate::{
    node::Settings,
    protocol::{Answer, Call},
};

/// A running process. It ends when this is dropped.
#[derive(Debug)]
pub struct Remote {
    input: tokio::sync::Mutex<ChildStdin>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
    child: Mutex<Child>,
}

/// Longer than any call may take: a call without an answer is a fault of the node.
const PATIENCE: Duration = Duration::from_secs(120);

/// The calls without an answer. `None` when the process has ended.
type Waiting = Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>;

impl Remote {
    /// Starts a program that [serves](crate::node::serve) a node.
    pub async fn start(mut program: Command, settings: &Settings) -> Result<Self> {
        program.arg("node").args(["--url", &settings.url]);
        if let Some(ms) = settings.cache_ms {
            program.args(["--cache-ms", &ms.to_string()]);
        }
        if let Some(limit) = settings.limit {
            program.args(["--limit", &limit.to_string()]);
        }
        if let Some(bug) = settings.bug {
            program.args(["--bug", bug.name()]);
        }
        let flags = [
            (settings.unbatched, "--unbatched"),
            (settings.sealed, "--sealed"),
            (settings.pooled, "--pooled"),
        ];
        program.args(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag));
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the program of a node")?;
        let input = child.stdin.take().context("the input is piped")?;
        let output = child.stdout.take().context("the output is piped")?;
        let mut lines = BufReader::new(output).lines();
        if lines.next_line().await?.as_deref() != Some("ready") {
            bail!("a node does not start");
        }
        let waiting = Arc::new(Waiting::new(Some(HashMap::new())));
        let answered = waiting.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // A process that is killed in the middle of a line leaves half of it.
                let Ok((number, answer)) = serde_json::from_str::<(u64, Answer)>(&line) else {
                    break;
                };
                let caller = lock(&answered).as_mut().and_then(|waiting| waiting.remove(&number));
                if let Some(caller) = caller {
                    caller.send(answer).ok();
                }
            }
            lock(&answered).take();
        });
        let (input, child) = (tokio::sync::Mutex::new(input), Mutex::new(child));
        Ok(Self { input, waiting, next: AtomicU64::new(0), child })
    }

    /// The answer; `None` if the process has ended before it.
    pub async fn call(&self, call: &Call) -> Option<Answer> {
        let number = self.next.fetch_add(1, Relaxed);
        let (caller, answer) = oneshot::channel();
        lock(&self.waiting).as_mut()?.insert(number, caller);
        let line = serde_json::to_string(&(number, call)).expect("a call is JSON") + "\n";
        if self.input.lock().await.write_all(line.as_bytes()).await.is_err() {
            return None;
        }
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer.ok(),
            Err(_) => Some(Answer::none()),
        }
    }

    pub fn pid(&self) -> Option<u32> {
        lock(&self.child).id()
    }

    /// Kills the process, whatever it is doing.
    pub fn kill(&self) {
        lock(&self.child).start_kill().ok();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the lock")
}
