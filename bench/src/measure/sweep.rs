//! The sweep: with nothing to do, and with a backlog beside running requests.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use harness::quantile;
use sessile::{SessionId, Sessions, store::Store};
use tokio::task::JoinHandle;
use tower_sessions::ExpiredDeletion;
use tracing::instrument::WithSubscriber;

use super::On;
use crate::{
    cell::median,
    figure::{Figure, row},
    fill::{self, Seen},
    peers,
    postgres::Database,
    stores,
    watch::Longest,
};

const LOADERS: usize = 8;

pub(super) async fn run(on: &On<'_>) -> Result<Vec<Figure>> {
    let mut figures = idle(on).await?;
    on.progress.doing("sweep: filling");
    let original = on.filled("sweep_original", 2 * on.scale.backlog, Seen::HalfEnded).await?;
    let ids = fill::ids(&original.pool, 50_000).await?;
    original.pool.close().await;

    let cases = [("sessile's sweep", How::Sessile), ("one DELETE", How::OneStatement)];
    let mut runs = cases.map(|_| Vec::new());
    // One run of each first: the first run does work that the filling has left.
    for which in [0, 1, 1, 0] {
        let (case, how) = cases[which];
        on.progress.doing(format!("sweep: {case}"));
        let database = on.postgres.copy(&original, "sweep").await?;
        on.postgres.checkpoint().await?;
        runs[which].push(backlog(on, &database, &ids, case, how).await?);
        database.drop().await?;
    }
    original.drop().await?;
    figures.extend(runs.into_iter().flat_map(medians));
    Ok(figures)
}

/// The medians of runs that all have the same figures.
fn medians(runs: Vec<Vec<Figure>>) -> Vec<Figure> {
    let of = |(i, figure): (usize, &Figure)| Figure {
        value: median(runs.iter().map(|run| run[i].value).collect()),
        ..figure.clone()
    };
    runs[0].iter().enumerate().map(of).collect()
}

/// A sweep that finds nothing, twenty times.
async fn idle(on: &On<'_>) -> Result<Vec<Figure>> {
    let rows = on.scale.backlog;
    let database = on.filled("sweep_idle", rows, Seen::Now).await?;
    let sessions = Sessions::builder(sessile::connect(&database.url).await?).build()?;
    let mut sessile = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        anyhow::ensure!(sessions.sweep().await?.rows == 0, "something had expired");
        sessile.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    drop(sessions);
    database.drop().await?;

    let database = on.postgres.database("sweep_tower").await?;
    let store = peers::tower_filled(&database, rows).await?;
    let mut tower = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        store.delete_expired().await?;
        tower.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    drop(store);
    database.drop().await?;
    let figure = |case: &str, took: Vec<f64>| {
        row("sweep", format!("{case}, nothing expired among {rows}"), [("whole, ms", median(took))])
    };
    Ok([figure("sessile", sessile), figure("tower-sessions", tower)].concat())
}

#[derive(Clone, Copy)]
enum How {
    Sessile,
    OneStatement,
}

async fn backlog(
    on: &On<'_>,
    database: &Database,
    ids: &[SessionId],
    case: &str,
    how: How,
) -> Result<Vec<Figure>> {
    let store = stores::open(&database.url).await?;
    let loaders = Loaders::start(&store, ids);
    // The first loads fill the cache of the copied database.
    tokio::time::sleep(on.scale.measured * 2).await;
    loaders.latencies();
    tokio::time::sleep(on.scale.measured * 2).await;
    let mut before = loaders.latencies();

    let (wal, begun) = (wal(database).await?, Instant::now());
    let (rows, statements, longest) = match how {
        How::Sessile => {
            let sessions = Sessions::builder(sessile::connect(&database.url).await?).build()?;
            let longest = Longest::default();
            let report = sessions.sweep().with_subscriber(longest.clone()).await?;
            (report.rows, report.batches, longest.duration())
        }
        How::OneStatement => {
            let done = sqlx::query("delete from sessile.sessions where expires_at < now()")
                .execute(&database.pool)
                .await?;
            (done.rows_affected(), 1, begun.elapsed())
        }
    };
    let whole = begun.elapsed();
    let mut during = loaders.latencies();
    loaders.stop().await?;
    let wal = self::wal(database).await? - wal;
    anyhow::ensure!(rows > 0, "nothing was swept");
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    Ok(row(
        "sweep",
        format!("{case}, {rows} expired among {}", 2 * on.scale.backlog),
        [
            ("whole, ms", milliseconds(whole)),
            ("statements", statements as f64),
            ("longest, ms", milliseconds(longest)),
            ("WAL, MB", wal / 1e6),
            ("loads' p99 before, µs", quantile(&mut before, 0.99)),
            ("during, µs", quantile(&mut during, 0.99)),
        ],
    ))
}

async fn wal(database: &Database) -> Result<f64> {
    Ok(sqlx::query_scalar("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8")
        .fetch_one(&database.pool)
        .await?)
}

/// Requests that continue during the sweep.
struct Loaders {
    latencies: Arc<Mutex<Vec<u32>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Loaders {
    fn start(store: &Arc<dyn Store>, ids: &[SessionId]) -> Self {
        let (latencies, stop) = (Arc::<Mutex<Vec<u32>>>::default(), Arc::<AtomicBool>::default());
        let task = |number: usize| {
            let (store, latencies, stop) = (store.clone(), latencies.clone(), stop.clone());
            let ids: Vec<SessionId> = ids.iter().skip(number).step_by(LOADERS).copied().collect();
            tokio::spawn(async move {
                for id in ids.iter().cycle() {
                    if stop.load(Relaxed) {
                        break;
                    }
                    let begun = Instant::now();
                    store.load(&[*id]).await?.pop().context("no such session")?;
                    let took = u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX);
                    latencies.lock().unwrap_or_else(PoisonError::into_inner).push(took);
                }
                Ok(())
            })
        };
        let tasks = (0..LOADERS).map(task).collect();
        Self { latencies, stop, tasks }
    }

    /// Since the last call.
    fn latencies(&self) -> Vec<u32> {
        std::mem::take(&mut self.latencies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn stop(self) -> Result<()> {
        self.stop.store(true, Relaxed);
        for task in self.tasks {
            task.await??;
        }
        Ok(())
    }
}
