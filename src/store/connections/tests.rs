//! On databases in memory: each connection has one of its own, and can be told by it.

use sqlx::{Sqlite, query, query_scalar, sqlite::SqlitePoolOptions};
use tokio::{
    runtime::Runtime,
    task::yield_now,
    time::{advance, pause, resume, timeout},
};

use super::*;

async fn pool(connections: u32) -> Pool<Sqlite> {
    let options = SqlitePoolOptions::new().max_connections(connections);
    options.connect("sqlite::memory:").await.unwrap()
}

/// How many the pool has in hand, when it has that many.
async fn has_in_hand(pool: &Pool<Sqlite>, connections: usize) {
    let there = async {
        while pool.num_idle() != connections {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(Duration::from_secs(20), there).await.is_ok(), "{} idle", pool.num_idle());
}

/// Lets every task go as far as it can: the tests' runtime has one thread.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

async fn passes(time: Duration) {
    settle().await;
    pause();
    advance(time).await;
    resume();
}

#[tokio::test]
async fn what_is_kept_is_used_next() {
    let connections = Connections::dedicated(pool(3).await);
    let connection = connections.take().await.unwrap();
    connection.execute(query("pragma user_version = 7")).await.unwrap();
    settle().await;
    assert_eq!(connections.pool().num_idle(), 0, "it did not go back");
    let mut connection = connections.take().await.unwrap();
    let version = query_scalar::<_, i64>("pragma user_version").fetch_one(&mut *connection);
    assert_eq!(version.await.unwrap(), 7);
    assert_eq!(connections.pool().size(), 1);
}

#[tokio::test]
async fn what_did_not_come_to_its_end_goes_back() {
    let connections = Connections::dedicated(pool(1).await);
    drop(connections.take().await.unwrap());
    has_in_hand(connections.pool(), 1).await;
    let connection = connections.take().await.unwrap();
    connection.execute(query("no statement")).await.unwrap_err();
    has_in_hand(connections.pool(), 1).await;
}

#[tokio::test]
async fn of_an_applications_pool_a_fifth_is_kept() {
    for (size, kept) in [(4, 0), (5, 1), (10, 2)] {
        let connections = Connections::shared(pool(size).await);
        let mut leases = Vec::new();
        for _ in 0..4 {
            leases.push(connections.take().await.unwrap());
        }
        leases.into_iter().for_each(Lease::keep);
        has_in_hand(connections.pool(), 4 - kept).await;
    }
}

#[tokio::test]
async fn who_waits_takes_over_what_is_kept() {
    let connections = Connections::dedicated(pool(1).await);
    let first = connections.take().await.unwrap();
    let others = connections.clone();
    let second = tokio::spawn(async move { others.take().await.map(Lease::keep) });
    settle().await;
    assert!(!second.is_finished());
    first.keep();
    // Long before anything is given back for having rested.
    timeout(REST / 2, second).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn nothing_is_kept_from_who_waits_for_the_pool() {
    let connections = Connections::shared(pool(5).await);
    let lease = connections.take().await.unwrap();
    let mut applications = Vec::new();
    for _ in 0..4 {
        applications.push(connections.pool().acquire().await.unwrap());
    }
    let others = connections.clone();
    let waiting = tokio::spawn(async move { others.take().await.map(drop) });
    settle().await;
    lease.keep();
    timeout(REST / 2, waiting).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn what_has_rested_goes_back() {
    let connections = Connections::dedicated(pool(1).await);
    for _ in 0..3 {
        connections.take().await.unwrap().keep();
        passes(REST / 2).await;
        settle().await;
        assert_eq!(connections.pool().num_idle(), 0);
        passes(REST).await;
        has_in_hand(connections.pool(), 1).await;
    }
}

#[tokio::test]
async fn what_was_out_for_long_goes_back() {
    let connections = Connections::dedicated(pool(1).await);
    let lease = connections.take().await.unwrap();
    passes(OUT).await;
    lease.keep();
    // Long before it would go back for having rested.
    timeout(REST / 2, has_in_hand(connections.pool(), 1)).await.unwrap();
}

#[tokio::test]
async fn the_pool_can_be_closed() {
    let connections = Connections::dedicated(pool(2).await);
    connections.take().await.unwrap().keep();
    timeout(REST / 2, connections.pool().close()).await.unwrap();
    assert!(matches!(connections.take().await.map(drop), Err(sqlx::Error::PoolClosed)));
}

#[test]
fn a_store_may_outlive_its_runtime() {
    let runtime = Runtime::new().unwrap();
    let connections = runtime.block_on(async {
        let connections = Connections::dedicated(pool(1).await);
        connections.take().await.unwrap().keep();
        connections
    });
    drop(runtime);
    drop(connections);
}
