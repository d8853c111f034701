//! A log-in that meets a revocation in the application's own transaction before the commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sessile::{
    ErrorKind, Result, Sessions,
    store::{Backend, sqlite::SqliteStore},
};
use sqlx::sqlite::SqlitePoolOptions;
use uuid::Uuid;

use crate::{
    support::{Browser, Db, Pool, cases},
    tx::{Tx, until_waiting},
};

cases! {
    promise_05_a_log_in_that_waits_for_a_revocation_is_refused_when_it_commits,
    promise_05_a_log_in_that_waits_for_a_revocation_succeeds_when_it_rolls_back,
}

/// Ends ada's sessions in each way, in a transaction that stays open.
async fn revoke(way: u32, db: &Db) -> Tx {
    let mut open = Tx::begin(db).await;
    match way {
        0 => open.revoke_user("ada").await,
        1 => open.revoke_others("ada", Uuid::now_v7().into()).await,
        _ => open.revoke_all().await,
    }
    .unwrap();
    // Moves the revocation back by a second.
    open.run(
        "update sessile.session_cutoffs set revoked_at = revoked_at - interval '1 second'",
        "update session_cutoffs set revoked_at = revoked_at - 1000",
    )
    .await;
    open
}

/// A log-in of ada whose authentication began just now: after the revocation, and before its commit. The
/// log-in waits when this function returns.
async fn waiting_log_in(db: &Db) -> tokio::task::JoinHandle<Result<()>> {
    let (node, begun) = node(db).await;
    let session = Browser::default().open(&node).await;
    let log_in =
        tokio::spawn(
            async move { session.log_in("ada").authentication_began(Instant::now()).await },
        );
    match db.is_postgres() {
        true => until_waiting(db, 1).await,
        // The log-in has read the cut-off, and has a connection for its transaction.
        false => {
            while begun.load(Ordering::SeqCst) < 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    log_in
}

/// A node and, on SQLite, the number of times that it asked for the connection that writes.
async fn node(db: &Db) -> (Sessions, Arc<AtomicU32>) {
    let acquired = Arc::<AtomicU32>::default();
    let Pool::Sqlite(readers) = &db.pool else {
        return (db.sessions().await, acquired);
    };
    let counter = acquired.clone();
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .before_acquire(move |_, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(true) })
        })
        .connect(&db.url)
        .await
        .unwrap();
    let store = SqliteStore::dedicated(readers.clone(), writer);
    (Sessions::builder(Backend::new(store)).build().unwrap(), acquired)
}

async fn promise_05_a_log_in_that_waits_for_a_revocation_is_refused_when_it_commits(db: Db) {
    for way in 0..3 {
        let open = revoke(way, &db).await;
        let log_in = waiting_log_in(&db).await;
        open.commit().await;
        let Err(error) = log_in.await.unwrap() else {
            panic!("it survived the revocation, way {way}");
        };
        assert_eq!(error.kind(), ErrorKind::LogInRefused, "way {way}");
        assert_eq!(db.rows().await, 0);
        // The next log-in is ada's first.
        db.run(
            "delete from sessile.session_cutoffs where user_id = 'ada'",
            "delete from session_cutoffs where user_id = 'ada'",
        )
        .await;
    }
}

async fn promise_05_a_log_in_that_waits_for_a_revocation_succeeds_when_it_rolls_back(db: Db) {
    for way in 0..3 {
        let open = revoke(way, &db).await;
        let log_in = waiting_log_in(&db).await;
        open.roll_back().await;
        log_in.await.unwrap().unwrap();
        assert_eq!(db.rows().await, i64::from(way) + 1);
    }
}
