//! On databases in memory: each connection has its own database, which identifies it.

use sqlx::{Sqlite, query, query_scalar, sqlite::SqlitePoolOptions};
use tokio::{
    runtime::Runtime,
    task::yield_now,
    time::{advance, pause, resume, timeout},
};

use super::{lease::Ended, *};

async fn pool(connections: u32) -> Pool<Sqlite> {
    let options = SqlitePoolOptions::new().max_connections(connections);
    options.connect("sqlite::memory:").await.unwrap()
}

/// Waits until the pool has this many idle connections.
async fn has_in_hand(pool: &Pool<Sqlite>, connections: usize) {
    let there = async {
        while pool.num_idle() != connections {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(Duration::from_secs(20), there).await.is_ok(), "{} idle", pool.num_idle());
}

/// Lets every task run as far as it can: the tests' runtime has one thread.
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
    let connection = connections.take(Use::Write).await.unwrap();
    connection.execute(query("pragma user_version = 7")).await.unwrap();
    settle().await;
    assert_eq!(connections.pool().num_idle(), 0, "it did not go back");
    let mut connection = connections.take(Use::Write).await.unwrap();
    let version = query_scalar::<_, i64>("pragma user_version").fetch_one(&mut *connection);
    assert_eq!(version.await.unwrap(), 7);
    assert_eq!(connections.pool().size(), 1);
}

#[tokio::test]
async fn what_did_not_come_to_its_end_goes_back() {
    let connections = Connections::dedicated(pool(1).await);
    drop(connections.take(Use::Write).await.unwrap());
    has_in_hand(connections.pool(), 1).await;
    let connection = connections.take(Use::Write).await.unwrap();
    connection.execute(query("no statement")).await.unwrap_err();
    has_in_hand(connections.pool(), 1).await;
}

#[tokio::test]
async fn of_an_applications_pool_a_fifth_is_kept() {
    for (size, kept) in [(4, 0), (5, 1), (10, 2)] {
        let connections = Connections::shared(pool(size).await);
        let mut leases = Vec::new();
        for _ in 0..4 {
            leases.push(connections.take(Use::Read).await.unwrap());
        }
        leases.into_iter().for_each(Lease::keep);
        has_in_hand(connections.pool(), 4 - kept).await;
    }
}

#[tokio::test]
async fn who_waits_takes_over_what_is_kept() {
    let connections = Connections::dedicated(pool(1).await);
    let first = connections.take(Use::Write).await.unwrap();
    let others = connections.clone();
    let second = tokio::spawn(async move { others.take(Use::Write).await.map(Lease::keep) });
    settle().await;
    assert!(!second.is_finished());
    first.keep();
    // Long before any connection goes back because it has rested.
    timeout(REST / 2, second).await.unwrap().unwrap().unwrap();
}

/// The task that gives back what has rested comes by half a rest later.
#[tokio::test]
async fn nobody_waits_for_a_connection_that_has_rested() {
    let connections = Connections::dedicated(pool(1).await);
    connections.take(Use::Write).await.unwrap().keep();
    passes(REST / 2).await;
    connections.take(Use::Write).await.unwrap().keep();
    passes(REST / 2).await;
    settle().await;
    passes(REST / 2 + REST / 10).await;
    assert_eq!(connections.pool().num_idle(), 0, "it still rests");
    let taken = timeout(REST / 10, connections.take(Use::Write)).await;
    assert!(taken.is_ok_and(|taken| taken.is_ok()));
}

/// sqlx continues to try to connect, and checks nothing else meanwhile.
#[tokio::test]
async fn who_waits_for_the_pool_takes_over_what_is_kept() {
    let connections = Connections::shared(pool(5).await);
    let lease = connections.take(Use::Write).await.unwrap();
    let mut applications = Vec::new();
    for _ in 0..4 {
        applications.push(connections.pool().acquire().await.unwrap());
    }
    let others = connections.clone();
    let waiting = tokio::spawn(async move { others.take(Use::Write).await.map(Lease::keep) });
    settle().await;
    assert!(!waiting.is_finished());
    lease.keep();
    settle().await;
    timeout(REST / 2, waiting).await.unwrap().unwrap().unwrap();
}

/// A waiting request often gets a kept connection before a new one is made. The new one is made all the same:
/// otherwise many concurrent requests would share a few connections for ever.
#[tokio::test]
async fn the_pool_grows_though_others_help_first() {
    let connections = Connections::dedicated(pool(3).await);
    let lease = connections.take(Use::Write).await.unwrap();
    let others = connections.clone();
    let waiting = tokio::spawn(async move { others.take(Use::Write).await.map(Lease::keep) });
    // It has asked the pool, which has not answered yet.
    while connections.0.state().asking.is_empty() {
        yield_now().await;
    }
    lease.keep();
    waiting.await.unwrap().unwrap();
    let there = async {
        while connections.0.state().resting.len() != 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(REST / 2, there).await.expect("there is a second one");
    assert!(connections.0.state().asking.is_empty(), "nobody asks any more");
}

/// Of ten connections, at most eight write, and six of these are in transactions.
#[tokio::test]
async fn those_that_may_wait_leave_some_to_those_that_do_not() {
    let connections = Connections::dedicated(pool(10).await);
    let mut leases = Vec::new();
    for (wanted, part) in [(Use::Transaction, 6), (Use::Write, 2), (Use::Read, 2)] {
        for _ in 0..part {
            let lease = timeout(REST / 2, connections.take(wanted)).await;
            leases.push(lease.expect("there are some").unwrap());
        }
        assert!(timeout(REST / 20, connections.take(wanted)).await.is_err(), "{wanted:?}");
    }
    // A connection that was given back is available to the next request.
    leases.swap_remove(0).keep();
    timeout(REST / 2, connections.take(Use::Transaction)).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_connection_is_enough_for_everything() {
    let connections = Connections::dedicated(pool(1).await);
    for wanted in [Use::Read, Use::Write, Use::Transaction] {
        connections.take(wanted).await.unwrap().keep();
    }
}

/// No request waits longer than 50 ms for a connection that only rests.
#[tokio::test]
async fn an_applications_connection_soon_goes_back() {
    let connections = Connections::shared(pool(5).await);
    connections.take(Use::Write).await.unwrap().keep();
    settle().await;
    assert_eq!(connections.pool().num_idle(), 0);
    passes(REST_OF_SHARED).await;
    settle().await;
    passes(REST_OF_SHARED).await;
    has_in_hand(connections.pool(), 1).await;
    assert!(OUT_OF_SHARED + REST_OF_SHARED < Duration::from_millis(50));
    // Nor does it pass from one request to the next for longer.
    let lease = connections.take(Use::Write).await.unwrap();
    passes(OUT_OF_SHARED).await;
    lease.keep();
    has_in_hand(connections.pool(), 1).await;
}

/// The connection is used again and again, the last time shortly before the limit. The checks for rested
/// connections began with another connection, so that one of them comes just before this connection has
/// rested long enough.
#[tokio::test]
async fn an_applications_connection_goes_back_though_it_was_just_used() {
    let connections = Connections::shared(pool(10).await);
    let millisecond = Duration::from_millis(1);
    connections.take(Use::Write).await.unwrap().keep();
    passes(REST_OF_SHARED - 5 * millisecond).await;
    let other = connections.take(Use::Write).await.unwrap();
    connections.take(Use::Write).await.unwrap().keep();
    drop(other);
    let out_since = connections.0.state().resting[0].out_since;
    while out_since.elapsed() < OUT_OF_SHARED - 4 * millisecond {
        connections.take(Use::Write).await.unwrap().keep();
        passes(millisecond).await;
    }
    while !connections.0.state().resting.is_empty() {
        passes(millisecond).await;
        assert!(out_since.elapsed() < Duration::from_millis(50), "it still rests");
    }
    has_in_hand(connections.pool(), 2).await;
}

/// A statement that is dropped before its end.
async fn never(lease: Lease<Sqlite>) {
    let statement = lease.single(async |_| std::future::pending::<Result<(), _>>().await);
    assert!(timeout(REST / 10, statement).await.is_err());
}

#[tokio::test]
async fn what_did_not_come_to_its_end_is_closed() {
    let connections = Connections::dedicated(pool(1).await);
    let first = connections.take(Use::Write).await.unwrap();
    first.execute(query("create temp table t (a)")).await.unwrap();
    let there = || async {
        let mut lease = connections.take(Use::Write).await.unwrap();
        let tables = query_scalar::<_, i64>("select count(*) from sqlite_temp_master");
        let tables = tables.fetch_one(&mut *lease).await.unwrap();
        lease.keep();
        tables
    };
    assert_eq!(there().await, 1, "the same connection");
    // Dropped while its statement runs, or while its transaction is open.
    let lease = connections.take(Use::Write).await.unwrap();
    never(lease).await;
    assert_eq!(there().await, 0, "another one");
    let lease = connections.take(Use::Write).await.unwrap();
    lease.execute(query("create temp table t (a)")).await.unwrap();
    let lease = connections.take(Use::Transaction).await.unwrap();
    let transaction = lease.transaction("begin", async |_| std::future::pending().await);
    assert!(timeout(REST / 10, transaction).await.map(Result::<Ended<()>, _>::ok).is_err());
    assert_eq!(there().await, 0, "another one");
}

/// As with a full disk: the rollback itself fails, and sqlx would take the transaction for an open one.
#[tokio::test]
async fn a_transaction_that_cannot_be_rolled_back_costs_its_connection() {
    let connections = Connections::dedicated(pool(1).await);
    for commits in [true, false] {
        let lease = connections.take(Use::Transaction).await.unwrap();
        let ended = lease.transaction("begin immediate", async |connection| {
            // SQLite does this by itself if it cannot continue.
            connection.execute(query("rollback")).await?;
            if commits { Ok(End::Commit(())) } else { Err(sqlx::Error::RowNotFound) }
        });
        assert!(!matches!(ended.await, Ok(Ended::As(()))));
    }
    let lease = connections.take(Use::Transaction).await.unwrap();
    let ended = lease.transaction("begin immediate", async |_| Ok(End::Commit(())));
    assert!(matches!(ended.await, Ok(Ended::As(()))));
}

/// A database in memory is lost with its connection.
#[tokio::test]
async fn the_only_connection_of_a_database_in_memory_is_never_closed() {
    let connections = Connections::dedicated(pool(1).await).never_closing();
    let lease = connections.take(Use::Write).await.unwrap();
    lease.execute(query("create table t (a)")).await.unwrap();
    never(connections.take(Use::Write).await.unwrap()).await;
    let lease = connections.take(Use::Write).await.unwrap();
    lease.execute(query("insert into t values (1)")).await.unwrap();
}

#[tokio::test]
async fn what_has_rested_goes_back() {
    let connections = Connections::dedicated(pool(1).await);
    for _ in 0..3 {
        connections.take(Use::Write).await.unwrap().keep();
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
    let lease = connections.take(Use::Write).await.unwrap();
    passes(OUT).await;
    lease.keep();
    // Long before it would go back because it has rested.
    timeout(REST / 2, has_in_hand(connections.pool(), 1)).await.unwrap();
}

#[tokio::test]
async fn the_pool_can_be_closed() {
    let connections = Connections::dedicated(pool(2).await);
    connections.take(Use::Write).await.unwrap().keep();
    timeout(REST / 2, connections.pool().close()).await.unwrap();
    assert!(matches!(connections.take(Use::Write).await.map(drop), Err(sqlx::Error::PoolClosed)));
}

/// Without its runtime, no task would give back a resting connection.
#[test]
fn a_pool_can_be_closed_in_the_next_runtime() {
    let first = Runtime::new().unwrap();
    let connections = first.block_on(async {
        let connections = Connections::dedicated(pool(2).await);
        connections.take(Use::Write).await.unwrap().keep();
        connections
    });
    drop(first);
    Runtime::new().unwrap().block_on(async {
        connections.take(Use::Write).await.unwrap().keep();
        timeout(REST / 2, connections.pool().close()).await.unwrap();
    });
}

/// The runtime that made a connection reads its socket.
#[test]
fn what_rests_is_for_its_own_runtime() {
    let (first, second) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let connections = first.block_on(async {
        let connections = Connections::dedicated(pool(2).await);
        connections.take(Use::Write).await.unwrap().keep();
        connections
    });
    second.block_on(async { connections.take(Use::Write).await.unwrap().keep() });
    assert_eq!(connections.pool().size(), 2);
}

#[test]
fn a_store_may_outlive_its_runtime() {
    let runtime = Runtime::new().unwrap();
    let connections = runtime.block_on(async {
        let connections = Connections::dedicated(pool(1).await);
        connections.take(Use::Write).await.unwrap().keep();
        connections
    });
    drop(runtime);
    drop(connections);
}
