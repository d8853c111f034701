//! The cleanup, and rows that become live again.

use std::time::Duration;

use serde_json::json;
use sessile::{Schedule, SessionId, Sessions, hours, minutes, store::Swept};
use tokio::time::timeout;

use crate::{
    support::{
        Browser, Db, cases,
        tap::{Gate, Verb},
        up_to,
    },
    tx::{Tx, until_waiting},
};

cases! {
    a_touch_that_is_overtaken_by_the_sweep_brings_nothing_back,
    a_sweep_and_touches_at_once_end_nobody,
}

const TOUCH: &str = "update sessile.sessions set valid_until = now() + interval '1 hour', expires_at = now() + interval '1 hour'";

/// The sweep sees the row while it is expired, and must see a write between that and its deletion. A trigger
/// holds the sweep there. The expiry is not recorded either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_looks_again_before_it_deletes() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    for statement in [
        "create function hold() returns trigger language plpgsql as
            'begin perform pg_advisory_xact_lock(1); return null; end'",
        "create trigger hold before delete on sessile.sessions for each statement execute function hold()",
    ] {
        db.run(statement, "").await;
    }
    for by_pages in [false, true] {
        db.pass(hours(4)).await;
        let mut lock = Tx::begin(&db).await;
        lock.execute("select pg_advisory_xact_lock(1)").await;
        let store = db.store();
        let sweep = tokio::spawn(async move {
            let batch = up_to(10);
            let swept = if by_pages { store.sweep_pages(0..10, true) } else { store.sweep(&batch) };
            swept.await.unwrap()
        });
        until_waiting(&db, 1).await;
        assert_eq!(db.run(TOUCH, "").await, 1);
        lock.commit().await;
        assert_eq!(sweep.await.unwrap(), Swept::Rows(0), "by pages: {by_pages}");
        assert!(browser.is_in(&sessions).await);
        let expired = "select count(*) from sessile.session_events where event = 'expired'";
        assert_eq!(db.number(expired, "").await, 0, "by pages: {by_pages}");
    }
    db.drop().await;
}

/// The sweep waits there for the writer, and then sees the write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_looks_when_it_deletes() {
    let db = Db::sqlite().await;
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    db.pass(hours(2)).await;
    let mut touch = Tx::begin(&db).await;
    let touched = touch
        .execute("update sessions set valid_until = (unixepoch() + 3600) * 1000, expires_at = (unixepoch() + 3600) * 1000")
        .await;
    assert_eq!(touched, 1);
    let node = db.sessions().await;
    let sweep = tokio::spawn(async move { node.sweep().await.unwrap() });
    touch.commit().await;
    assert_eq!(sweep.await.unwrap().rows, 0);
    assert!(browser.is_in(&sessions).await);
    db.drop().await;
}

/// Expired rows, in the order of their end.
async fn expired(db: &Db, sessions: &Sessions, n: usize) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for n in 0..n {
        ids.push(Browser::with(sessions, "n", json!(n)).await.1);
        db.pass(hours(2)).await;
    }
    ids
}

async fn lock(db: &Db, ids: &[SessionId]) -> Tx {
    let mut lock = Tx::begin(db).await;
    for id in ids {
        let rows = format!("select 1 from sessile.sessions where id = '{id}' for update");
        lock.execute(&rows).await;
    }
    lock
}

/// A call that waits for a forgotten transaction fails here.
async fn soon<T>(call: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), call).await.expect("it waits for a locked row")
}

/// As with a forgotten psql session. SQLite has no such locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_passes_by_locked_rows() {
    let db = Db::postgres().await;
    let (sessions, store) = (db.sessions().await, db.store());
    for by_pages in [false, true] {
        let swept = async || {
            let batch = up_to(10);
            let swept = if by_pages { store.sweep_pages(0..10, true) } else { store.sweep(&batch) };
            soon(swept).await.unwrap()
        };
        let ids = expired(&db, &sessions, 3).await;
        let lock = lock(&db, &ids[..1]).await;
        assert_eq!(swept().await, Swept::Rows(2), "by pages: {by_pages}");
        assert_eq!(swept().await, Swept::Rows(0), "by pages: {by_pages}");
        lock.roll_back().await;
        assert_eq!(swept().await, Swept::Rows(1), "by pages: {by_pages}");
    }
    db.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_passes_by_locked_cut_offs() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    for user in ["ada", "bob", "eve"] {
        sessions.revoke_user(user).await.unwrap();
    }
    db.pass_for_cutoffs(hours(25)).await;
    let mut lock = Tx::begin(&db).await;
    lock.execute("select 1 from sessile.session_cutoffs where user_id = 'ada' for update").await;
    soon(sessions.sweep()).await.unwrap();
    let left = "select user_id from sessile.session_cutoffs where user_id <> ''";
    assert_eq!(db.texts(left, "").await, ["ada"]);
    lock.roll_back().await;
    soon(sessions.sweep()).await.unwrap();
    assert!(db.texts(left, "").await.is_empty());
    db.drop().await;
}

/// With all rows locked or only a batch of them, and with or without enough pages to sweep by pages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ends_where_all_that_is_left_is_locked() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let run = async || {
        let cleanup = sessions.cleanup(Schedule::every(hours(1))).batch(2).pause(Duration::ZERO);
        soon(cleanup.run_once()).await.unwrap()
    };
    let ids = expired(&db, &sessions, 8).await;
    let all = lock(&db, &ids).await;
    let report = run().await;
    assert_eq!((report.rows, report.batches, report.busy), (0, 1, false));
    all.roll_back().await;
    let first = lock(&db, &ids[..5]).await;
    let report = run().await;
    assert_eq!((report.rows, report.busy), (3, false));
    first.roll_back().await;
    assert_eq!(run().await.rows, 5);
    db.drop().await;
}

async fn a_touch_that_is_overtaken_by_the_sweep_brings_nothing_back(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    db.pass(minutes(50)).await;
    let gate = Gate::before(Verb::Touch);
    let node = db.tapped(&gate).build().unwrap();
    let session = browser.open(&node).await;
    let touch = tokio::spawn(async move {
        session.finish().await.unwrap();
        node.flush().await.unwrap();
    });
    gate.reached().await;
    db.pass(hours(1)).await;
    assert_eq!(sessions.sweep().await.unwrap().rows, 1);
    gate.open();
    touch.await.unwrap();
    assert_eq!(db.rows().await, 0);
}

async fn a_sweep_and_touches_at_once_end_nobody(db: Db) {
    let sessions = db.sessions().await;
    let mut browsers = Vec::new();
    for n in 0..20 {
        browsers.push(Browser::with(&sessions, "n", json!(n)).await.0);
    }
    db.pass(minutes(59)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for browser in browsers.clone() {
        let sessions = sessions.clone();
        tasks.spawn(async move {
            browser.open(&sessions).await.finish().await.unwrap();
            sessions.flush().await.unwrap();
            sessions.sweep().await.unwrap();
        });
    }
    tasks.join_all().await;
    db.pass(minutes(59)).await;
    assert_eq!(sessions.sweep().await.unwrap().rows, 0);
    for browser in browsers {
        assert!(browser.is_in(&sessions).await);
    }
}
