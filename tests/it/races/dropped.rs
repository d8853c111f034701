//! A browser that hangs up drops the future of its request at any point. Each call then has its whole effect
//! or none, and no lock stays behind.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use serde_json::json;
use sessile::{OnLimit, Sessions};

use crate::{
    support::{Browser, Db, cases},
    tx::Tx,
};

cases! {
    a_dropped_save_is_whole_or_none_and_stays_recorded,
    a_dropped_update_is_whole_or_none,
    a_dropped_log_in_is_whole_or_none,
    a_dropped_log_in_at_the_limit_ends_a_session_only_for_another,
    a_dropped_revocation_is_whole_or_none,
    a_dropped_first_write_leaves_a_usable_handle,
    a_dropped_log_out_is_carried_out,
}

/// Polls the future until it has been pending this many times, and then drops it. `None` if it was dropped.
async fn dropped_after<F: Future>(times: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A connection that went back to its pool inside a transaction would include the next requests' writes in
/// it.
async fn no_transaction_is_left_open(db: &Db, point: u32) {
    const OPEN: &str = "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend' and xact_start is not null and pid <> pg_backend_pid()";
    if !db.is_postgres() {
        // An open transaction would hold the write lock.
        Tx::begin(db).await.roll_back().await;
        return;
    }
    let closed = async {
        while db.number(OPEN, "").await > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(20), closed).await;
    assert!(closed.is_ok(), "a transaction is open after a drop at point {point}");
}

/// Each point at which a future can be dropped, and one at which it is not dropped.
const POINTS: std::ops::Range<u32> = 0..30;

async fn a_dropped_save_is_whole_or_none_and_stays_recorded(db: Db) {
    let sessions = db.sessions().await;
    for point in POINTS {
        let (browser, _) = Browser::with(&sessions, "a", json!(1)).await;
        let session = browser.open(&sessions).await;
        session.insert("b", 2).unwrap();
        session.remove("a");
        let saved = dropped_after(point, session.save()).await;

        let seen = browser.open(&sessions).await.keys();
        assert!(seen == ["a"] || seen == ["b"], "{seen:?} at {point}");
        assert!(saved.is_none() || seen == ["b"]);
        assert_eq!(session.keys(), ["b"]);
        session.insert("c", 3).unwrap();
        session.finish().await.unwrap();
        assert_eq!(browser.open(&sessions).await.keys(), ["b", "c"], "at {point}");
    }
}

async fn a_dropped_update_is_whole_or_none(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "n", json!({"a": 0, "b": 0})).await;
    let mut done = 0;
    for point in POINTS {
        let session = browser.open(&sessions).await;
        let update = session.update("n", |n: &mut serde_json::Value| {
            let next = n["a"].as_u64().unwrap() + 1;
            *n = json!({"a": next, "b": next});
        });
        done += u64::from(dropped_after(point, update).await.is_some());
    }
    let session = browser.open(&sessions).await;
    let value: serde_json::Value = session.get("n").unwrap().unwrap();
    assert_eq!(value["a"], value["b"]);
    let updates = value["a"].as_u64().unwrap();
    assert!((done..=POINTS.end.into()).contains(&updates), "{done} returned, {updates} in the row");
    assert!(done > 0);
}

async fn a_dropped_log_in_is_whole_or_none(db: Db) {
    let sessions = db.sessions().await;
    let mut returned = 0;
    for point in POINTS {
        let (browser, id) = Browser::with(&sessions, "n", json!(1)).await;
        let session = browser.open(&sessions).await;
        let user_id = format!("user {point}");
        let log_in = async { session.log_in(&user_id).await };
        let result = dropped_after(point, log_in).await;
        no_transaction_is_left_open(&db, point).await;

        // The lock of the user is free.
        Browser::logged_in(&sessions, &user_id).await;
        let user = sessions.find(id).await.unwrap().unwrap().user_id;
        assert_eq!(browser.is_in(&sessions).await, user.is_none(), "at {point}");
        assert!(user.is_none() || user == Some(user_id));
        if let Some(result) = result {
            result.unwrap();
            assert!(user.is_some());
            returned += 1;
        }
    }
    assert!(returned > 0);
}

async fn a_dropped_log_in_at_the_limit_ends_a_session_only_for_another(db: Db) {
    let builder = db.builder().await.sessions_per_user(2, OnLimit::EndOldest);
    let sessions = builder.build().unwrap();
    for point in POINTS {
        let user_id = format!("user {point}");
        let (first, _) = Browser::logged_in(&sessions, &user_id).await;
        let (second, _) = Browser::logged_in(&sessions, &user_id).await;
        let third = Browser::default().open(&sessions).await;
        dropped_after(point, async { third.log_in(&user_id).await }).await;
        no_transaction_is_left_open(&db, point).await;
        assert!(second.is_in(&sessions).await);
        assert_eq!(sessions.count_of_user(&user_id).await.unwrap(), 2, "at {point}");
        first.try_open(&sessions).await.unwrap();
    }
}

async fn a_dropped_revocation_is_whole_or_none(db: Db) {
    let sessions = db.sessions().await;
    for point in POINTS {
        let user_id = format!("user {point}");
        logged_in_thrice(&sessions, &user_id).await;
        let result = dropped_after(point, sessions.revoke_user(&user_id).into_future()).await;
        no_transaction_is_left_open(&db, point).await;
        let left = sessions.count_of_user(&user_id).await.unwrap();
        assert!(left == 0 || left == 3 && result.is_none(), "{left} at {point}");
        // Neither the lock nor the connection is lost.
        sessions.revoke_user(&user_id).await.unwrap();
        assert_eq!(sessions.count_of_user(&user_id).await.unwrap(), 0);
    }
}

async fn logged_in_thrice(sessions: &Sessions, user_id: &str) {
    for _ in 0..3 {
        Browser::logged_in(sessions, user_id).await;
    }
}

async fn a_dropped_first_write_leaves_a_usable_handle(db: Db) {
    let sessions = db.sessions().await;
    for point in POINTS {
        let mut browser = Browser::default();
        let session = browser.open(&sessions).await;
        session.insert("n", 1).unwrap();
        dropped_after(point, session.save()).await;
        assert_eq!(session.get("n").unwrap(), Some(1));
        session.update("n", |n: &mut u64| *n += 1).await.unwrap();
        browser.finish(&session).await;
        assert_eq!(browser.open(&sessions).await.get("n").unwrap(), Some(2), "at {point}");
    }
}

async fn a_dropped_log_out_is_carried_out(db: Db) {
    let sessions = db.sessions().await;
    for point in POINTS {
        let (one, _) = Browser::logged_in(&sessions, "ada").await;
        let (other, _) = Browser::logged_in(&sessions, "ada").await;
        // Its statement is in flight, and the other log-out waits for the next statement.
        let first = one.open(&sessions).await;
        let first = tokio::spawn(async move { first.log_out().await });
        let second = other.open(&sessions).await;
        dropped_after(point, second.log_out()).await;
        first.await.unwrap().unwrap();
        let gone = async { while other.is_in(&sessions).await {} };
        let gone = tokio::time::timeout(Duration::from_secs(20), gone).await;
        assert!(gone.is_ok(), "still in after a drop at point {point}");
    }
}
