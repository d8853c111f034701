//! A soak: random work with real faults for some minutes, and a report.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rand::{SeedableRng, rngs::StdRng};
use sessile::SessionId;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tokio::task::JoinSet;

use crate::{
    cluster::Programs,
    facts::Events,
    faults::{self, Database, Fault, Nodes},
    history,
    node::{Node, Settings},
    plant::Bug,
    protocol::{Call, Job},
    work::Work,
};

const WORKERS: u64 = 24;

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// For how long.
    #[arg(long, default_value = "2")]
    pub minutes: f64,
    /// The seed of the dice. Two runs with one seed make the same choices, and meet at other moments.
    #[arg(long)]
    pub seed: Option<u64>,
    /// The folder of Postgres' programs. Without it, the soak is on SQLite.
    #[arg(long)]
    pub postgres: Option<PathBuf>,
    /// The user that runs Postgres.
    #[arg(long)]
    pub owner: Option<String>,
    /// Writes the histories of some sessions to this file, one in each line of JSON.
    #[arg(long)]
    pub histories: Option<PathBuf>,
    /// Makes no faults.
    #[arg(long)]
    pub without_faults: bool,
    /// Plants a bug in each node.
    #[arg(long)]
    pub bug: Option<Bug>,
    /// Ends at the first violation whose text contains this one, or at the first of all.
    #[arg(long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "")]
    pub until_violated: Option<String>,
}

/// The result of a soak.
#[derive(Debug)]
pub struct Report {
    pub database: &'static str,
    pub seed: u64,
    pub took: Duration,
    pub operations: u64,
    pub faults: BTreeMap<Fault, u64>,
    pub sessions: usize,
    pub histories: usize,
    pub failures: BTreeMap<String, u64>,
    pub violations: Vec<String>,
}

impl Report {
    fn last_line(&self) -> String {
        let faults: u64 = self.faults.values().sum();
        format!(
            "{} operations, {faults} faults, {} violations",
            self.operations,
            self.violations.len()
        )
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}, seed {}, {:.0} s", self.database, self.seed, self.took.as_secs_f64())?;
        writeln!(
            f,
            "{} sessions, {} histories checked by stateright",
            self.sessions, self.histories
        )?;
        for (fault, number) in &self.faults {
            writeln!(f, "fault    {number:>7}  {fault:?}")?;
        }
        for (kind, number) in &self.failures {
            writeln!(f, "error    {number:>7}  {kind}")?;
        }
        for violation in self.violations.iter().take(100) {
            writeln!(f, "VIOLATED {violation}")?;
        }
        f.write_str(&self.last_line())
    }
}

/// Runs a soak in a folder that Postgres' user can enter.
pub async fn run(options: &Options, folder: &Path) -> Result<Report> {
    let seed = options.seed.unwrap_or_else(rand::random);
    let begun = Instant::now();
    let mut database = match &options.postgres {
        Some(programs) => {
            let programs = Programs { folder: programs.clone(), owner: options.owner.clone() };
            Database::postgres(programs, folder).await?
        }
        None => Database::sqlite(folder),
    };
    let node = Node::start(Settings::new(&database.direct_url())).await?;
    node.sessions("").migrate().await?;
    drop(node);

    let nodes = Nodes { url: database.url(), bug: options.bug };
    let mut slots = Vec::new();
    for number in 0..Nodes::NUMBER {
        slots.push(nodes.slot(number).await?);
    }
    let work = Work::new(slots);
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        workers.spawn(work.clone().run(seed.wrapping_mul(1_000).wrapping_add(worker)));
    }
    let until = tokio::time::Instant::now() + Duration::from_secs_f64(60.0 * options.minutes);
    let made = async {
        if options.without_faults {
            tokio::time::sleep_until(until).await;
            return Ok(BTreeMap::new());
        }
        let mut dice = StdRng::seed_from_u64(seed);
        faults::run(&mut database, &work, &nodes, &mut dice, until).await
    };
    let violated = async {
        let Some(text) = &options.until_violated else { return std::future::pending().await };
        while !work.facts().violations().iter().any(|violation| violation.contains(text)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let faults = tokio::select! {
        made = made => made?,
        () = violated => BTreeMap::new(),
    };
    work.stop();
    workers.join_all().await;
    work.look().await;
    for slot in &work.slots {
        // Writes what the nodes hold back.
        if let Some(node) = slot.node() {
            node.call(&Call::Job { realm: String::new(), job: Job::Sweep }).await;
        }
    }

    let events = events(&database).await.context("the log of events")?;
    let mut facts = work.facts();
    facts.compare_events(&events);
    let mut violations = facts.violations().to_vec();
    let history = std::mem::take(&mut *work.history.lock().expect("no worker is left"));
    let mut written = Vec::new();
    history.write(&mut written)?;
    if let Some(file) = &options.histories {
        std::fs::write(file, &written).with_context(|| file.display().to_string())?;
    }
    let histories = history::read(&written[..])?;
    for history in histories.iter().filter(|history| !history.is_linearizable()) {
        let mut text =
            format!("the history of {} has no order that a counter can have:", history.session);
        for call in &history.calls {
            write!(text, " {:?} {}..{:?};", call.op, call.begun, call.answered)?;
        }
        violations.push(text);
    }
    Ok(Report {
        database: if options.postgres.is_some() { "Postgres" } else { "SQLite" },
        seed,
        took: begun.elapsed(),
        operations: facts.operations,
        faults,
        sessions: facts.sessions(),
        histories: histories.len(),
        failures: facts.failures.clone().into_iter().collect(),
        violations,
    })
}

/// The events of each session.
async fn events(database: &Database) -> Result<HashMap<SessionId, Events>> {
    let question = |table: &str| {
        format!(
            "select cast(session_id as text), cast(sum(case event when 'logged_in' then 1 else 0 end) as bigint),
                cast(sum(case when event in ('logged_out', 'revoked', 'expired') then 1 else 0 end) as bigint)
            from {table} where session_id is not null group by session_id"
        )
    };
    let url = database.direct_url();
    let rows: Vec<(String, i64, i64)> = match database {
        Database::Postgres { .. } => {
            let mut connection = PgConnection::connect(&url).await?;
            let question = question("sessile.session_events");
            sqlx::query_as(AssertSqlSafe(question)).fetch_all(&mut connection).await?
        }
        Database::Sqlite { .. } => {
            let mut connection = SqliteConnection::connect(&url).await?;
            let question = question("session_events");
            sqlx::query_as(AssertSqlSafe(question)).fetch_all(&mut connection).await?
        }
    };
    rows.into_iter()
        .map(|(id, log_ins, ends)| {
            let events = Events { log_ins: log_ins.cast_unsigned(), ends: ends.cast_unsigned() };
            Ok((id.parse()?, events))
        })
        .collect()
}
