//! Requests through the whole HTTP stack, with and without the layer.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::cpu;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{
    On,
    client::{Client, Seen as Answered},
    serve::Stack,
};
use crate::{
    cell::median,
    figure::{Figure, row},
    fill::Seen,
    peers,
    postgres::Database,
};

const CONNECTIONS: usize = 64;
const SESSIONS: usize = 2_000;

pub(super) async fn run(on: &On<'_>) -> Result<Vec<Figure>> {
    let sessile = on.filled("http_sessile", on.scale.postgres_sessions, Seen::Now).await?;
    let tower = on.postgres.database("http_tower").await?;
    drop(peers::tower_filled(&tower, on.scale.postgres_sessions).await?);
    let servers = [
        Application::start(on, Stack::Bare, &sessile).await?,
        Application::start(on, Stack::Sessile, &sessile).await?,
        Application::start(on, Stack::Tower, &tower).await?,
    ];
    on.postgres.checkpoint().await?;

    let client = Client::find(on).await;
    on.progress.say(format!("http: under {}", client.name()));
    let [bare, sessile_app, tower_app] = &servers;
    let cases = [
        ("no layer", bare, "/untouched"),
        ("sessile, session untouched", sessile_app, "/untouched"),
        ("sessile, read", sessile_app, "/read"),
        ("sessile, written", sessile_app, "/write"),
        ("tower-sessions, session untouched", tower_app, "/untouched"),
        ("tower-sessions, read", tower_app, "/read"),
        ("tower-sessions, written", tower_app, "/write"),
    ];
    let mut seen: Vec<Vec<Load>> = vec![Vec::new(); cases.len()];
    for round in 0..on.scale.rounds.min(3) {
        // Each round begins with another one.
        for which in (0..cases.len()).map(|turn| (turn + round) % cases.len()) {
            let (case, server, path) = cases[which];
            on.progress.doing(format!("http: {case}"));
            seen[which].push(server.load(on, &client, path).await?);
        }
    }
    let figures = cases.iter().zip(seen).flat_map(|((case, ..), seen)| {
        let over = |value: fn(&Load) -> f64| median(seen.iter().map(value).collect());
        row(
            "http",
            *case,
            [
                ("requests/s", over(|l| l.answered.requests_per_s)),
                ("p50, µs", over(|l| l.answered.p50_us)),
                ("p99, µs", over(|l| l.answered.p99_us)),
                ("application's CPU a request, µs", over(|l| l.application_us)),
                ("Postgres's, µs", over(|l| l.postgres_us)),
            ],
        )
    });
    let figures = figures.collect();
    drop(servers);
    sessile.drop().await?;
    tower.drop().await?;
    Ok(figures)
}

#[derive(Clone, Copy)]
struct Load {
    answered: Answered,
    application_us: f64,
    postgres_us: f64,
}

struct Application {
    /// Ends when it is dropped.
    _process: Child,
    cpu: cpu::Server,
    address: String,
    cookies: PathBuf,
}

impl Application {
    async fn start(on: &On<'_>, stack: Stack, database: &Database) -> Result<Self> {
        let cookies = on.folder.join(format!("cookies-{}", stack.name()));
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", "--stack", stack.name(), "--url", &database.url, "--cookies"])
            .arg(&cookies)
            .args(["--sessions", &SESSIONS.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let out = process.stdout.take().context("no standard output")?;
        let port =
            BufReader::new(out).lines().next_line().await?.context("the application ended")?;
        let pid = process
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .context("the application ended")?;
        let cpu = cpu::Server::Process(pid);
        Ok(Self { _process: process, cpu, address: format!("127.0.0.1:{port}"), cookies })
    }

    async fn load(&self, on: &On<'_>, client: &Client, path: &str) -> Result<Load> {
        let spent = || (self.cpu.spent(), on.postgres.cpu.spent());
        let before = spent();
        let answered =
            client.run(&self.address, path, &self.cookies, CONNECTIONS, on.scale.http).await?;
        let after = spent();
        ensure!(
            answered.requests > 0 && answered.errors == 0,
            "{} of {path} failed",
            answered.errors
        );
        let a_request = |after: Option<Duration>, before: Option<Duration>| {
            let spent =
                after.zip(before).map_or(0.0, |(after, before)| (after - before).as_secs_f64());
            spent * 1e6 / answered.requests as f64
        };
        Ok(Load {
            answered,
            application_us: a_request(after.0, before.0),
            postgres_us: a_request(after.1, before.1),
        })
    }
}
