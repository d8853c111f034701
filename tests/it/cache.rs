//! The cached store: what it may answer from memory, and how it hears that it may not any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::json;
use sessile::{
    OnLimit, Session, SessionId, Sessions, SessionsBuilder, hours, seconds, store::CacheOptions,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::support::{
    Browser, Db, Pool, cases,
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
    what_another_process_ends_is_heard_of,
    what_another_process_renews_is_heard_of,
    the_bound_holds_where_nothing_is_heard,
    a_copy_is_as_old_as_the_load_that_brought_it,
    a_stale_copy_is_not_written_back,
    a_copy_ends_with_its_session,
    the_number_of_copies_is_bounded,
}

/// Long enough that nothing in these tests ends by the bound.
const NEVER: Duration = hours(1);

fn cached(builder: SessionsBuilder, bound: Duration) -> Sessions {
    builder.cache(CacheOptions::default().bound(bound)).build().unwrap()
}

/// A node with a cache that listens, and the spy beneath it.
async fn node(db: &Db, bound: Duration) -> (Sessions, Arc<Spy>) {
    let spy = Spy::new();
    let sessions = cached(db.tapped(&spy), bound);
    listen(&sessions, &spy).await;
    (sessions, spy)
}

/// Waits until loads are answered from memory.
async fn listen(sessions: &Sessions, spy: &Spy) {
    let (browser, id) = Browser::with(sessions, "probe", json!(1)).await;
    eventually(async || {
        browser.open(sessions).await;
        spy.calls();
        browser.open(sessions).await;
        spy.calls().is_empty()
    })
    .await;
    sessions.revoke(id).await.unwrap();
    spy.calls();
}

/// Counts loads, and holds the answer of one when it is told to.
#[derive(Debug, Default)]
struct Dam {
    holds: AtomicBool,
    loads: AtomicU32,
    reached: Notify,
    open: Notify,
}

#[async_trait]
impl Hook for Dam {
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

/// A node that listens, above a dam that holds nothing yet. Its loads are not batched, so that only
/// the cache can share them.
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
    sessions.revoke(id).await.unwrap();
    (sessions, dam)
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + seconds(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "it did not come true in 10 seconds");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A browser whose session is in memory.
async fn warm(sessions: &Sessions, user_id: &str) -> (Browser, SessionId) {
    let (browser, id) = Browser::logged_in(sessions, user_id).await;
    assert!(browser.is_in(sessions).await);
    (browser, id)
}

fn begin(browser: &Browser, sessions: &Sessions) -> tokio::task::JoinHandle<Session> {
    let (browser, sessions) = (browser.clone(), sessions.clone());
    tokio::spawn(async move { browser.open(&sessions).await })
}

async fn the_second_load_is_answered_from_memory(db: Db) {
    let (sessions, spy) = node(&db, NEVER).await;
    let (browser, id) = warm(&sessions, "ada").await;
    spy.calls();
    // On SQLite the log-in itself may be noticed by then, once.
    eventually(async || {
        assert_eq!(browser.open(&sessions).await.id(), Some(id));
        spy.calls().is_empty()
    })
    .await;
}

async fn requests_that_miss_at_once_share_a_load(db: Db) {
    let (sessions, dam) = dammed(&db, NEVER).await;
    // Not a log-in: this node would hear of it once more, in the middle of the load.
    let (browser, _) = Browser::with(&sessions, "a", json!(1)).await;
    dam.hold();
    let first = begin(&browser, &sessions);
    dam.reached().await;
    let others: Vec<_> = (0..5).map(|_| begin(&browser, &sessions)).collect();
    // They have come as far as they can: a load of their own would pass the dam, which holds one.
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

async fn what_another_process_ends_is_heard_of(db: Db) {
    let (here, _) = node(&db, NEVER).await;
    let there = db.sessions().await;
    for scope in ["session", "user", "all"] {
        let (browser, id) = warm(&here, "ada").await;
        match scope {
            "session" => drop(there.revoke(id).await.unwrap()),
            "user" => drop(there.revoke_user("ada").await.unwrap()),
            _ => drop(there.revoke_all().await.unwrap()),
        }
        eventually(async || !browser.is_in(&here).await).await;
        db.pass_for_cutoffs(seconds(60)).await;
    }
}

async fn what_another_process_renews_is_heard_of(db: Db) {
    let (here, _) = node(&db, NEVER).await;
    let there = db.sessions().await;
    let (browser, _) = warm(&here, "ada").await;
    browser.open(&there).await.renew().await.unwrap();
    eventually(async || !browser.is_in(&here).await).await;
}

/// Rows that go without a word, as by an administrator's hand.
async fn the_bound_holds_where_nothing_is_heard(db: Db) {
    let (sessions, _) = node(&db, seconds(1)).await;
    let (browser, _) = warm(&sessions, "ada").await;
    let begun = Instant::now();
    db.run("delete from sessile.sessions", "delete from sessions").await;
    eventually(async || !browser.is_in(&sessions).await).await;
    // The copy was loaded before `begun`; what is more is this machine's.
    assert!(begun.elapsed() < seconds(3), "{:?}", begun.elapsed());
}

/// The bound counts from when the database was asked: the answer may have been on its way for long.
async fn a_copy_is_as_old_as_the_load_that_brought_it(db: Db) {
    let bound = seconds(1);
    let (sessions, dam) = dammed(&db, bound).await;
    let (browser, _) = Browser::with(&sessions, "a", json!(1)).await;
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

async fn a_stale_copy_is_not_written_back(db: Db) {
    let (here, _) = node(&db, NEVER).await;
    let there = db.sessions().await;
    let (browser, _) = warm(&here, "ada").await;
    let elsewhere = browser.open(&there).await;
    elsewhere.insert("there", 1).unwrap();
    elsewhere.save().await.unwrap();
    let session = browser.open(&here).await;
    session.insert("here", 1).unwrap();
    session.save().await.unwrap();
    assert_eq!(browser.open(&there).await.keys(), ["here", "there"]);
}

async fn a_copy_ends_with_its_session(db: Db) {
    let spy = Spy::new();
    let sessions = cached(db.tapped(&spy).idle_timeout(seconds(1)), NEVER);
    listen(&sessions, &spy).await;
    let (browser, _) = warm(&sessions, "ada").await;
    // Opened and not finished: nothing is touched.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_listener_is_disconnected_every_load_asks_the_database() {
    let db = Db::postgres().await;
    let (sessions, spy) = node(&db, NEVER).await;
    let (browser, _) = warm(&sessions, "ada").await;
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    // What happens while nobody listens is not heard of, and holds all the same.
    let mut killed = 0;
    while killed == 0 {
        let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                    where datname = current_database() and query ilike 'listen%'";
        killed = sqlx::query_scalar::<_, i64>(kill).fetch_one(pool).await.unwrap();
    }
    eventually(async || {
        spy.calls();
        browser.open(&sessions).await;
        !spy.calls().is_empty()
    })
    .await;
    sqlx::query("delete from sessile.sessions").execute(pool).await.unwrap();
    eventually(async || !browser.is_in(&sessions).await).await;
    // It listens again by itself.
    listen(&sessions, &spy).await;
    db.drop().await;
}

#[tokio::test]
async fn a_pool_of_one_connection_is_not_watched() {
    let spy = Spy::new();
    let pool = sqlx::sqlite::SqlitePoolOptions::new()
        .max_connections(1)
        .connect("sqlite::memory:")
        .await
        .unwrap();
    let store = Arc::new(sessile::store::sqlite::SqliteStore::new(pool));
    let builder = Sessions::builder(crate::support::tap::tapped(store, &spy));
    let sessions = cached(builder, NEVER);
    sessions.migrate().await.unwrap();
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    for _ in 0..5 {
        spy.calls();
        assert!(browser.is_in(&sessions).await, "it works, uncached");
        assert_eq!(spy.calls(), [(Verb::Load, 1)]);
    }
}
