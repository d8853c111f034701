//! The cost of the log of events: log-ins, log-outs and sweeps with it and without it, in turn. Then the speed at which the
//! cleanup files events, which is the part of the cost that comes later.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sessile::{Client, Sessions, store::OnLimit};
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;

use super::On;
use crate::{
    cell::{median, spread},
    figure::{Figure, row},
    fill::{self, Seen},
    peers::Backend,
    sqlite,
};

const CLIENTS: usize = 16;
const ROUNDS: usize = 10;

pub(super) async fn run(on: &On<'_>) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for &backend in on.backends {
        on.progress.doing(format!("events: {backend}, log-ins"));
        figures.extend(log_ins(on, backend).await?);
        on.progress.doing(format!("events: {backend}, sweeps"));
        figures.extend(sweeps(on, backend).await?);
        on.progress.doing(format!("events: {backend}, filing"));
        figures.extend(filing(on, backend).await?);
    }
    Ok(figures)
}

async fn node(url: &str, records: bool) -> Result<Sessions> {
    let builder = Sessions::builder(sessile::connect(url).await?).record_events(records);
    // As most applications that have a page of devices.
    Ok(builder.sessions_per_user(100, OnLimit::EndOldest).build()?)
}

/// Without events and with them. Every other round begins with the other one: the disk is busy after each.
fn order(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// The rates without events and with them.
#[derive(Default)]
struct Both([Vec<f64>; 2]);

impl Both {
    fn figure(&self, case: String) -> Vec<Figure> {
        let ratios: Vec<f64> = self.0[0].iter().zip(&self.0[1]).map(|(off, on)| on / off).collect();
        let [off, on] = [0, 1].map(|which: usize| median(self.0[which].clone()));
        row(
            "events",
            case,
            [
                ("without", off),
                ("with", on),
                ("ratio", median(ratios.clone())),
                ("spread, %", 100.0 * spread(&ratios)),
            ],
        )
    }
}

async fn log_ins(on: &On<'_>, backend: Backend) -> Result<Vec<Figure>> {
    let database = match backend {
        Backend::Postgres => Some(on.postgres.database("events").await?),
        Backend::Sqlite => None,
    };
    let url = match &database {
        Some(database) => database.url.clone(),
        None => sqlite::url(on.folder, "events")?,
    };
    let nodes = [node(&url, false).await?, node(&url, true).await?];
    nodes[0].migrate().await?;
    let (mut log_ins, mut log_outs) = (Both::default(), Both::default());
    for round in 0..=ROUNDS {
        for which in order(round) {
            let [log_in, log_out] = rates(&nodes[which], on.scale.measured).await?;
            // The first round fills what is empty.
            if round > 0 {
                log_ins.0[which].push(log_in);
                log_outs.0[which].push(log_out);
            }
        }
    }
    drop(nodes);
    if let Some(database) = database {
        database.drop().await?;
    }
    let case = |what| format!("{backend}, {what} a second, {CLIENTS} clients");
    Ok([log_ins.figure(case("log-ins")), log_outs.figure(case("log-outs"))].concat())
}

/// Each client logs a user in and out, again and again. The rates are those of the two calls.
async fn rates(sessions: &Sessions, during: Duration) -> Result<[f64; 2]> {
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let sessions = sessions.clone();
        clients.spawn(async move {
            let (mut calls, mut spent) = (0_u32, [Duration::ZERO; 2]);
            while begun.elapsed() < during {
                let agent = Client::new().ip(Some([192, 0, 2, 7].into())).user_agent(
                    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                );
                let session = sessions.open([] as [&[u8]; 0], agent).await?;
                let at = Instant::now();
                session.log_in(format!("user-{client}-{}", calls % 1000)).await?;
                spent[0] += at.elapsed();
                let at = Instant::now();
                ensure!(session.log_out().await?.ended == 1, "nobody was logged in");
                spent[1] += at.elapsed();
                calls += 1;
            }
            Ok((calls, spent))
        });
    }
    let mut rates = [0.0; 2];
    for client in clients.join_all().await {
        let (calls, spent) = client?;
        for (rate, spent) in rates.iter_mut().zip(spent) {
            *rate += f64::from(calls) / spent.as_secs_f64();
        }
    }
    Ok(rates)
}

/// Half of the rows have expired, and three of four have a user.
async fn sweeps(on: &On<'_>, backend: Backend) -> Result<Vec<Figure>> {
    let mut speeds = Both::default();
    match backend {
        Backend::Postgres => {
            let rows = 2 * on.scale.backlog;
            let original = on.filled("events_original", rows, Seen::HalfEnded).await?;
            original.pool.close().await;
            for round in 0..=ROUNDS / 2 {
                for which in order(round) {
                    let database = on.postgres.copy(&original, "events_sweep").await?;
                    on.postgres.checkpoint().await?;
                    let speed = sweep(&database.url, which == 1).await?;
                    database.drop().await?;
                    if round > 0 {
                        speeds.0[which].push(speed);
                    }
                }
            }
            original.drop().await?;
        }
        Backend::Sqlite => {
            for round in 0..=ROUNDS / 2 {
                for which in order(round) {
                    let url = sqlite::url(on.folder, &format!("events_sweep_{round}_{which}"))?;
                    let pool = sqlite::pool(&url).await?;
                    Sessions::builder(sessile::connect(&url).await?).build()?.migrate().await?;
                    fill::sqlite(&pool, on.scale.backlog).await?;
                    sqlx::query(
                        "update sessions set valid_until = 1, expires_at = 2 where random() > 0",
                    )
                    .execute(&pool)
                    .await?;
                    sqlx::raw_sql("pragma wal_checkpoint(truncate)").execute(&pool).await?;
                    pool.close().await;
                    let speed = sweep(&url, which == 1).await?;
                    if round > 0 {
                        speeds.0[which].push(speed);
                    }
                }
            }
        }
    }
    Ok(speeds.figure(format!("{backend}, rows a second of a sweep of a backlog")))
}

async fn sweep(url: &str, records: bool) -> Result<f64> {
    let sessions = node(url, records).await?;
    let report = sessions.sweep().await?;
    ensure!(report.rows > 0, "nothing was swept");
    Ok(report.rows as f64 / report.elapsed.as_secs_f64())
}

/// Runs of the cleanup that find many events in the inbox, and nothing else. The log grows with each run. The events are of
/// as many users as there are events in a run, in no order.
async fn filing(on: &On<'_>, backend: Backend) -> Result<Vec<Figure>> {
    const COLUMNS: &str = "at, event, realm, session_id, user_id, ip, user_agent, actor";
    const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let events = on.scale.backlog;
    let database = match backend {
        Backend::Postgres => Some(on.postgres.database("events_filing").await?),
        Backend::Sqlite => None,
    };
    let url = match &database {
        Some(database) => database.url.clone(),
        None => sqlite::url(on.folder, "events_filing")?,
    };
    let sessions = node(&url, true).await?;
    sessions.migrate().await?;
    let mut speeds = Vec::new();
    for round in 0..=ROUNDS {
        match &database {
            Some(database) => {
                let fill = format!(
                    "insert into sessile.session_event_inbox ({COLUMNS})
                     select now(), 'logged_in', '', gen_random_uuid(), 'user-' || (random() * {events})::int, '192.0.2.7', '{AGENT}', 'user'
                     from generate_series(1, {events})"
                );
                sqlx::query(AssertSqlSafe(fill)).execute(&database.pool).await?;
                on.postgres.checkpoint().await?;
            }
            None => {
                let pool = sqlite::pool(&url).await?;
                let fill = format!(
                    "with recursive series(n) as (select 1 union all select n + 1 from series where n < {events})
                     insert into session_event_inbox ({COLUMNS})
                     select unixepoch() * 1000, 'logged_in', '', randomblob(16), 'user-' || abs(random() % {events}), '192.0.2.7', '{AGENT}', 'user'
                     from series"
                );
                sqlx::query(AssertSqlSafe(fill)).execute(&pool).await?;
                sqlx::raw_sql("pragma wal_checkpoint(truncate)").execute(&pool).await?;
                pool.close().await;
            }
        }
        let report = sessions.sweep().await?;
        ensure!(report.filed == u64::try_from(events)?, "other events were filed");
        if round > 0 {
            speeds.push(report.filed as f64 / report.elapsed.as_secs_f64());
        }
    }
    drop(sessions);
    if let Some(database) = database {
        database.drop().await?;
    }
    let spread = 100.0 * spread(&speeds);
    Ok(row(
        "events",
        format!("{backend}, events a second that the cleanup files"),
        [("with", median(speeds)), ("spread, %", spread)],
    ))
}
