//! The cache's answers, and the time until the cache learns of a revocation on another node.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use harness::{quantile, values};
use sessile::{
    Client, CookieChange, Realm, SessionId, Sessions,
    store::{CacheOptions, End, Store},
};

use super::On;
use crate::{
    figure::{Figure, row},
    fill::{self, Seen},
    postgres::Database,
    sqlite, stores,
};

const HITS: u32 = 200_000;
const REVOCATIONS: usize = 300;
const KILLS: usize = 30;

pub(super) async fn run(on: &On<'_>) -> Result<Vec<Figure>> {
    let database = on.filled("cached", 10_000, Seen::Now).await?;
    let ids = fill::ids(&database.pool, 10_000).await?;
    let mut figures = hits(&database.url, &ids).await?;
    let nodes = [stores::open(&database.url).await?, stores::open(&database.url).await?];
    figures.extend(revocations("Postgres", nodes, &ids, REVOCATIONS, async || Ok(())).await?);
    let nodes = [stores::open(&database.url).await?, stores::open(&database.url).await?];
    let case = "Postgres, whose listener was just killed";
    let kill = async || kill_listeners(&database).await;
    figures.extend(revocations(case, nodes, &ids[REVOCATIONS + 1..], KILLS, kill).await?);
    database.drop().await?;

    let url = sqlite::url(on.folder, "cached")?;
    let nodes = [stores::open(&url).await?, stores::open(&url).await?];
    nodes[0].migrate().await?;
    let ids = fill::sqlite(&sqlite::pool(&url).await?, 10_000).await?;
    figures.extend(revocations("SQLite", nodes, &ids, REVOCATIONS, async || Ok(())).await?);
    Ok(figures)
}

/// Loads one session again and again: as a store, and as a request.
async fn hits(url: &str, ids: &[SessionId]) -> Result<Vec<Figure>> {
    let store = stores::cached(stores::open(url).await?);
    is_listening(&store, ids[0]).await?;
    let begun = Instant::now();
    for _ in 0..HITS {
        store.load(&ids[..1]).await?.pop().context("no such session")?;
    }
    let by_store = begun.elapsed();

    let database = sessile::connect(url).await?;
    let sessions = Sessions::builder(database).cache(CacheOptions::default()).build()?;
    let session = sessions.open(None, Client::new()).await?;
    for (key, value) in values() {
        session.insert(&key, value)?;
    }
    let CookieChange::Set { value: cookie, .. } = session.finish().await? else {
        anyhow::bail!("no cookie");
    };
    // During the first loads, the cache does not listen yet.
    for _ in 0..2_000 {
        sessions.open(Some(cookie.as_bytes()), Client::new()).await?;
    }
    let begun = Instant::now();
    for _ in 0..HITS {
        let session = sessions.open(Some(cookie.as_bytes()), Client::new()).await?;
        ensure!(session.id().is_some(), "no such session");
    }
    let by_request = begun.elapsed();
    let each = |elapsed: Duration| [("each, µs", elapsed.as_secs_f64() * 1e6 / f64::from(HITS))];
    Ok([
        row("cached", "a hit, by the store", each(by_store)),
        row("cached", "a hit, as a request opens its session", each(by_request)),
    ]
    .concat())
}

/// One node has a copy, and the other one ends the session: how long the copy is still used.
async fn revocations(
    case: &str,
    [here, there]: [Arc<dyn Store>; 2],
    ids: &[SessionId],
    rounds: usize,
    before: impl AsyncFn() -> Result<()>,
) -> Result<Vec<Figure>> {
    let here = stores::cached(here);
    let mut took = Vec::with_capacity(rounds);
    for id in &ids[1..=rounds] {
        is_listening(&here, ids[0]).await?;
        here.load(&[*id]).await?.pop().context("no such session")?;
        before().await?;
        let end = End { id: *id, realm: Realm::default(), user_id: None, by: None, cause: None };
        there.end(&[end]).await?;
        let begun = Instant::now();
        while !here.load(&[*id]).await?.is_empty() {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        took.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
    Ok(row(
        "cached",
        format!("a revocation by another node, {case}"),
        [("p50, µs", quantile(&mut took, 0.50)), ("p99, µs", quantile(&mut took, 0.99))],
    ))
}

async fn kill_listeners(database: &Database) -> Result<()> {
    let killed: i64 = sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
         where datname = current_database() and query ilike 'listen%'",
    )
    .fetch_one(&database.pool)
    .await?;
    ensure!(killed > 0, "nobody listens");
    Ok(())
}

/// Waits until loads are answered from memory: the cache is off until it listens.
async fn is_listening(store: &Arc<dyn Store>, id: SessionId) -> Result<()> {
    for _ in 0..200 {
        store.load(&[id]).await?;
        let begun = Instant::now();
        for _ in 0..20 {
            store.load(&[id]).await?;
        }
        if begun.elapsed() < Duration::from_micros(400) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("the cache stays off")
}
