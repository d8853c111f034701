//! Rows that stay locked. SQLite has no such locks: there a transaction that writes delays every writer.

use std::time::Duration;

use serde_json::json;

use crate::{
    support::{Browser, Db},
    tx::{Tx, until_waiting},
};

/// As when an application ends a user's sessions in a long transaction: as many saves as a node has in flight
/// wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saves_of_other_sessions_do_not_wait_for_them() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let mut locked = Vec::new();
    for _ in 0..2 {
        locked.push(Browser::with(&sessions, "n", json!(0)).await.0);
    }
    let mut lock = Tx::begin(&db).await;
    lock.execute("select 1 from sessile.sessions for update").await;

    let mut waiting = tokio::task::JoinSet::new();
    for browser in locked {
        let session = browser.open(&sessions).await;
        waiting.spawn(async move { session.update("n", |n: &mut u64| *n += 1).await });
        until_waiting(&db, i64::try_from(waiting.len()).unwrap()).await;
    }
    let (other, _) = Browser::with(&sessions, "n", json!(0)).await;
    let session = other.open(&sessions).await;
    let update = session.update("n", |n: &mut u64| *n += 1);
    let updated = tokio::time::timeout(Duration::from_secs(10), update).await;
    updated.expect("it waits for sessions that are not its own").unwrap();

    lock.roll_back().await;
    while let Some(updated) = waiting.join_next().await {
        updated.unwrap().unwrap();
    }
    db.drop().await;
}
