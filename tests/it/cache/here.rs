//! One process: its own changes take effect at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::json;
use sessile::{OnLimit, Session, Sessions, seconds, store::CacheOptions};
use tokio::{sync::Notify, time::sleep};

use super::{NEVER, cached, eventually, listen, node, warm};
use crate::support::{
    Browser, Db, cases,
    tap::{Hook, Spy, Verb},
};

cases! {
    the_second_load_is_answered_from_memory,
    requests_that_miss_at_once_share_a_load,
    what_this_process_ends_is_out_at_once,
    what_this_process_renews_is_renewed_at_once,
    what_this_process_saves_is_seen_at_once,
    a_slow_load_puts_nothing_back,
    a_request_does_not_join_a_load_from_before_a_revocation,
    a_copy_is_as_old_as_the_load_that_brought_it,
    a_copy_ends_with_its_session,
    the_number_of_copies_is_bounded,
}

/// Counts loads, and holds the answer of one on request.
#[derive(Debug, Default)]
struct Dam {
    holds: AtomicBool,
    is_deaf: AtomicBool,
    loads: AtomicU32,
    reached: Notify,
    open: Notify,
}

#[async_trait]
impl Hook for Dam {
    fn hears(&self) -> bool {
        !self.is_deaf.load(SeqCst)
    }

    async fn after(&self, verb: Verb) {
        if verb == Verb::Load {
            self.loads.fetch_add(1, SeqCst);
            if self.holds.swap(false, SeqCst) {
                self.reached.notify_one();
                self.open.notified().await;
            }
        }
    }
}

impl Dam {
    fn hold(&self) {
        self.loads.store(0, SeqCst);
        self.holds.store(true, SeqCst);
    }

    async fn reached(&self) {
        self.reached.notified().await;
    }

    fn open(&self) {
        self.open.notify_one();
    }

    fn loads(&self) -> u32 {
        self.loads.load(SeqCst)
    }
}

/// A node above a dam that holds nothing yet. It has begun to listen, and receives no news from now on:
/// otherwise its own changes would come back to it in the middle of a test. Its loads are not batched, so
/// only the cache can share them.
async fn dammed(db: &Db, bound: Duration) -> (Sessions, Arc<Dam>) {
    let dam = Arc::<Dam>::default();
    let sessions = cached(db.tapped(&dam).batching(false), bound);
    let (browser, id) = Browser::with(&sessions, "probe", json!(1)).await;
    eventually(async || {
        browser.open(&sessions).await;
        let loads = dam.loads();
        browser.open(&sessions).await;
        dam.loads() == loads
    })
    .await;
    dam.is_deaf.store(true, SeqCst);
    sessions.revoke(id).await.unwrap();
    (sessions, dam)
}

fn begin(browser: &Browser, sessions: &Sessions) -> tokio::task::JoinHandle<Session> {
    let (browser, sessions) = (browser.clone(), sessions.clone());
    tokio::spawn(async move { browser.open(&sessions).await })
}

async fn the_second_load_is_answered_from_memory(db: Db) {
    let (sessions, spy) = node(&db, NEVER).await;
    let (browser, id) = warm(&sessions, "ada").await;
    spy.calls();
    // On SQLite the cache may notice the log-in itself by then, once.
    eventually(async || {
        assert_eq!(browser.open(&sessions).await.id(), Some(id));
        spy.calls().is_empty()
    })
    .await;
}

async fn requests_that_miss_at_once_share_a_load(db: Db) {
    let (sessions, dam) = dammed(&db, NEVER).await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    dam.hold();
    let first = begin(&browser, &sessions);
    dam.reached().await;
    let others: Vec<_> = (0..5).map(|_| begin(&browser, &sessions)).collect();
    // They have run as far as they can. A load of their own would pass the dam, which holds only one.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    dam.open();
    for request in others.into_iter().chain([first]) {
        assert!(request.await.unwrap().id().is_some());
    }
    assert_eq!(dam.loads(), 1);
}

async fn what_this_process_ends_is_out_at_once(db: Db) {
    let spy = Spy::new();
    let builder = db.tapped(&spy).sessions_per_user(2, OnLimit::EndOldest);
    let sessions = cached(builder, NEVER);
    listen(&sessions, &spy).await;

    let (browser, id) = warm(&sessions, "ada").await;
    sessions.revoke(id).await.unwrap();
    assert!(!browser.is_in(&sessions).await, "by id");

    let (browser, _) = warm(&sessions, "ada").await;
    sessions.revoke_user("ada").await.unwrap();
    assert!(!browser.is_in(&sessions).await, "by user");

    let (browser, _) = warm(&sessions, "ada").await;
    browser.open(&sessions).await.log_out().await.unwrap();
    assert!(!browser.is_in(&sessions).await, "by itself");

    let (browser, _) = warm(&sessions, "ada").await;
    let (other, _) = warm(&sessions, "ada").await;
    other.open(&sessions).await.log_out_others().await.unwrap();
    assert!(!browser.is_in(&sessions).await && other.is_in(&sessions).await, "by another device");

    let (third, _) = warm(&sessions, "ada").await;
    let (_, _) = warm(&sessions, "ada").await;
    assert!(!other.is_in(&sessions).await && third.is_in(&sessions).await, "by the limit");

    sessions.revoke_all().await.unwrap();
    assert!(!third.is_in(&sessions).await, "with all");
}

async fn what_this_process_renews_is_renewed_at_once(db: Db) {
    let (sessions, _) = node(&db, NEVER).await;
    let (mut browser, _) = warm(&sessions, "ada").await;
    for renewal in ["renew", "reauthenticate", "log in"] {
        let old = browser.clone();
        let session = browser.open(&sessions).await;
        match renewal {
            "renew" => session.renew().await.unwrap(),
            "reauthenticate" => session.reauthenticate().await.unwrap(),
            _ => session.log_in("ada").await.unwrap(),
        }
        browser.finish(&session).await;
        assert!(!old.is_in(&sessions).await, "{renewal}");
        assert!(browser.is_in(&sessions).await, "{renewal}");
    }
}

async fn what_this_process_saves_is_seen_at_once(db: Db) {
    let (sessions, _) = node(&db, NEVER).await;
    let (browser, _) = warm(&sessions, "ada").await;
    for n in 1..=20_u32 {
        let session = browser.open(&sessions).await;
        session.insert("n", n).unwrap();
        session.save().await.unwrap();
        assert_eq!(browser.open(&sessions).await.get::<u32>("n").unwrap(), Some(n));
    }
}

/// A load that has read the row, and is slow to say so, while the row is deleted.
async fn a_slow_load_puts_nothing_back(db: Db) {
    for scope in ["session", "user", "all"] {
        let (sessions, dam) = dammed(&db, NEVER).await;
        let (browser, id) = Browser::logged_in(&sessions, "ada").await;
        dam.hold();
        let slow = begin(&browser, &sessions);
        dam.reached().await;
        match scope {
            "session" => drop(sessions.revoke(id).await.unwrap()),
            "user" => drop(sessions.revoke_user("ada").await.unwrap()),
            _ => drop(sessions.revoke_all().await.unwrap()),
        }
        dam.open();
        assert!(slow.await.unwrap().id().is_some(), "it began before");
        assert!(!browser.is_in(&sessions).await, "{scope}");
    }
}

async fn a_request_does_not_join_a_load_from_before_a_revocation(db: Db) {
    for scope in ["session", "user", "all"] {
        let (sessions, dam) = dammed(&db, NEVER).await;
        let (browser, id) = Browser::logged_in(&sessions, "ada").await;
        dam.hold();
        let slow = begin(&browser, &sessions);
        dam.reached().await;
        match scope {
            "session" => drop(sessions.revoke(id).await.unwrap()),
            "user" => drop(sessions.revoke_user("ada").await.unwrap()),
            _ => drop(sessions.revoke_all().await.unwrap()),
        }
        assert!(!browser.is_in(&sessions).await, "{scope}: it has a load of its own");
        dam.open();
        slow.await.unwrap();
    }
}

/// The bound counts from the query of the database, because the answer may have taken long.
async fn a_copy_is_as_old_as_the_load_that_brought_it(db: Db) {
    let bound = seconds(1);
    let (sessions, dam) = dammed(&db, bound).await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    dam.hold();
    let slow = begin(&browser, &sessions);
    dam.reached().await;
    sleep(bound).await;
    dam.open();
    slow.await.unwrap();
    let loads = dam.loads();
    browser.open(&sessions).await;
    assert_eq!(dam.loads(), loads + 1, "the copy was too old when it came");
}

async fn a_copy_ends_with_its_session(db: Db) {
    let spy = Spy::new();
    let sessions = cached(db.tapped(&spy).idle_timeout(seconds(1)), NEVER);
    listen(&sessions, &spy).await;
    let (browser, _) = warm(&sessions, "ada").await;
    // The request opens its session and does not finish, so it makes no touch.
    eventually(async || !browser.is_in(&sessions).await).await;
}

async fn the_number_of_copies_is_bounded(db: Db) {
    let spy = Spy::new();
    let sessions =
        db.tapped(&spy).cache(CacheOptions::default().bound(NEVER).entries(10)).build().unwrap();
    listen(&sessions, &spy).await;
    let mut browsers = Vec::new();
    for n in 0..100 {
        browsers.push(Browser::with(&sessions, "n", json!(n)).await.0);
    }
    for _ in 0..2 {
        spy.calls();
        for browser in &browsers {
            assert!(browser.is_in(&sessions).await);
        }
    }
    let loads: u32 = spy.calls().into_iter().map(|(_, calls)| calls).sum();
    assert!(loads >= 80, "{loads} of 100 were loaded again");
}
