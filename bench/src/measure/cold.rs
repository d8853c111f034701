//! Loads of sessions whose pages are in no cache, and then of the same sessions again.

use std::{fs::File, path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use harness::quantile;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use sessile::{SessionId, store::Store};

use super::On;
use crate::{
    figure::{Figure, row},
    fill::{self, Seen},
    postgres::Database,
    stores,
};

const LOADS: usize = 20_000;
const AT_ONCE: usize = 8;

pub(super) async fn run(on: &On<'_>) -> Result<Vec<Figure>> {
    let original = on.filled("cold_original", on.scale.postgres_sessions, Seen::Now).await?;
    let ids = fill::ids(&original.pool, LOADS).await?;
    original.pool.close().await;
    // A copy's pages are new to Postgres: none of them is in its cache.
    let database = on.postgres.copy(&original, "cold").await?;
    on.postgres.checkpoint().await?;
    let whose = if forget(&database).await? { "any cache" } else { "Postgres's cache" };

    let store = stores::open(&database.url).await?;
    let mut figures = Vec::new();
    for case in [format!("not in {whose}"), "the same again".to_owned()] {
        figures.extend(once_each(&store, &ids, case).await?);
    }
    drop(store);
    database.drop().await?;
    original.drop().await?;
    Ok(figures)
}

async fn once_each(store: &Arc<dyn Store>, ids: &[SessionId], case: String) -> Result<Vec<Figure>> {
    let begun = Instant::now();
    let task = |ids: &[SessionId]| {
        let (store, ids) = (store.clone(), ids.to_vec());
        tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(ids.len());
            for id in ids {
                let begun = Instant::now();
                store.load(&[id]).await?.pop().context("no such session")?;
                latencies.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
            }
            anyhow::Ok(latencies)
        })
    };
    let mut latencies = Vec::new();
    let tasks: Vec<_> = ids.chunks(ids.len().div_ceil(AT_ONCE)).map(task).collect();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let loads = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    Ok(row(
        "cold",
        case,
        [
            ("loads/s", loads),
            ("p50, µs", quantile(&mut latencies, 0.50)),
            ("p99, µs", quantile(&mut latencies, 0.99)),
        ],
    ))
}

/// Asks the system to drop the database's files from its cache, if this user may open them.
async fn forget(database: &Database) -> Result<bool> {
    let folder: String = sqlx::query_scalar(
        "select current_setting('data_directory') || '/base/' || oid
         from pg_database where datname = current_database()",
    )
    .fetch_one(&database.pool)
    .await?;
    let Ok(files) = std::fs::read_dir(PathBuf::from(folder)) else {
        return Ok(false);
    };
    for file in files {
        let Ok(file) = File::open(file?.path()) else {
            return Ok(false);
        };
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    }
    Ok(true)
}
