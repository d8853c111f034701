//! Several processes: a cache learns of changes by others, and otherwise its bound limits the age of copies.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sessile::{Result, Sessions, seconds};
use tokio::time::Instant;

use super::{NEVER, cached, eventually, listen, node, warm};
use crate::support::{
    Browser, Db, Pool, cases,
    tap::{Gate, Hook, Spy, Verb},
};

cases! {
    what_another_process_ends_is_heard_of,
    what_another_process_renews_is_heard_of,
    the_bound_holds_where_nothing_is_heard,
    a_stale_copy_is_not_written_back,
    a_cookie_that_is_newer_than_a_load_under_way_is_good,
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

/// Rows that disappear without a notification, as by an administrator's hand.
async fn the_bound_holds_where_nothing_is_heard(db: Db) {
    let (sessions, _) = node(&db, seconds(1)).await;
    let (browser, _) = warm(&sessions, "ada").await;
    let begun = Instant::now();
    db.run("delete from sessile.sessions", "delete from sessions").await;
    eventually(async || !browser.is_in(&sessions).await).await;
    // The copy was loaded before `begun`; any further time is the machine's.
    assert!(begun.elapsed() < seconds(3), "{:?}", begun.elapsed());
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_listener_is_disconnected_every_load_asks_the_database() {
    let db = Db::postgres().await;
    let (sessions, spy) = node(&db, NEVER).await;
    let (browser, _) = warm(&sessions, "ada").await;
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    // The cache does not learn of changes while its connection is lost, but they take effect.
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

/// Counts the calls, and holds a call on request.
#[derive(Debug)]
struct Held {
    spy: Arc<Spy>,
    gate: Mutex<Option<Arc<Gate>>>,
}

#[async_trait]
impl Hook for Held {
    async fn before(&self, verb: Verb) -> Result<()> {
        self.spy.before(verb).await
    }

    async fn after(&self, verb: Verb) {
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.after(verb).await;
        }
    }
}

/// A request with the old cookie has read the row and waits for the answer. The session gets a new secret,
/// and this node gets no news of it. Then a request with the new cookie meets the load in flight.
async fn a_cookie_that_is_newer_than_a_load_under_way_is_good(db: Db) {
    let held = Arc::new(Held { spy: Spy::new(), gate: Mutex::default() });
    let here = cached(db.tapped(&held), NEVER);
    listen(&here, &held.spy).await;
    let there = db.sessions().await;
    let (old, id) = Browser::logged_in(&there, "ada").await;
    let (other, other_id) = Browser::logged_in(&there, "bob").await;

    let gate = Gate::after(Verb::Load);
    *held.gate.lock().unwrap() = Some(gate.clone());
    let first = tokio::spawn({
        let (old, here) = (old.clone(), here.clone());
        async move { old.is_in(&here).await }
    });
    gate.reached().await;
    let (to, from) = (id.to_string(), other_id.to_string());
    let (to_hex, from_hex) = (to.replace('-', ""), from.replace('-', ""));
    db.run(
        &format!("update sessile.sessions set secret_hash = (select secret_hash from sessile.sessions where id = '{from}') where id = '{to}'"),
        &format!("update sessions set secret_hash = (select secret_hash from sessions where id = x'{from_hex}') where id = x'{to_hex}'"),
    )
    .await;
    let bytes =
        |browser: &Browser| URL_SAFE_NO_PAD.decode(browser.cookie.as_ref().unwrap()).unwrap();
    let cookie = [&bytes(&old)[..16], &bytes(&other)[16..]].concat();
    let new = Browser { cookie: Some(URL_SAFE_NO_PAD.encode(cookie)) };
    let mut second = Box::pin(new.is_in(&here));
    // It waits for the first request's answer, or has learned of the change and queries the database itself.
    let met = tokio::time::timeout(seconds(1) / 10, &mut second).await;
    gate.open();
    assert!(first.await.unwrap());
    let is_in = match met {
        Ok(is_in) => is_in,
        Err(_) => second.await,
    };
    assert!(is_in);
}

/// It listens on a separate connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_of_one_connection_is_enough() {
    let db = Db::postgres().await;
    let one = sqlx::postgres::PgPoolOptions::new().max_connections(1);
    let pool = one.connect(&db.url).await.unwrap();
    let here = cached(Sessions::builder(pool.clone()), NEVER);
    let there = db.sessions().await;
    let (browser, id) = Browser::logged_in(&here, "ada").await;
    for _ in 0..20 {
        assert!(browser.is_in(&here).await);
    }
    there.revoke(id).await.unwrap();
    eventually(async || !browser.is_in(&here).await).await;
    pool.close().await;
    drop((here, there));
    db.drop().await;
}
