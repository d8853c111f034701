//! A socket that waits for the end of its session.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use sessile::{ErrorKind, Session, Sessions, hours, minutes};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::support::{
    Browser, Db, cases,
    tap::{Spy, Switch, Verb},
};

cases! {
    it_ends_wherever_and_however_the_session_ends,
    it_goes_on_where_another_session_ends,
    waiting_does_not_prolong_the_session,
    a_handle_that_renews_its_own_session_waits_on,
    a_handle_that_logs_out_has_ended,
    a_session_that_is_not_stored_yet_is_waited_for,
    what_has_ended_before_is_ended_at_once,
    one_look_serves_all_sockets,
    a_database_that_fails_ends_nothing,
    a_waiter_goes_on_when_the_runtime_of_the_look_ends,
    nobody_looks_when_nobody_waits,
    a_change_by_the_same_node_is_not_waited_for,
}

// Where the cache hears of other nodes.
cases! { @postgres_wrapped [it_ends_wherever_and_however_the_session_ends it_goes_on_where_another_session_ends] }
cases! { @sqlite_wrapped [it_ends_wherever_and_however_the_session_ends it_goes_on_where_another_session_ends] }

/// Longer than a look on a busy machine takes, shorter than a test may hang.
const PATIENCE: Duration = Duration::from_secs(20);

struct Socket {
    browser: Browser,
    session: Session,
    ended: JoinHandle<()>,
}

impl Socket {
    /// A socket of this user's on this node, which waits already.
    async fn of(node: &Sessions, user_id: &str) -> Self {
        let (browser, _) = Browser::logged_in(node, user_id).await;
        let session = browser.open(node).await;
        let ended = tokio::spawn(session.ended());
        Self { browser, session, ended }
    }

    async fn has_ended(self) {
        timeout(PATIENCE, self.ended).await.expect("the socket ends").unwrap();
    }
}

/// Returns when this node has looked twice more: whatever happened before, a waiter knows of it.
async fn looked(spy: &Spy, times: u32) {
    let mut looks = 0;
    let began = Instant::now();
    while looks < times {
        assert!(began.elapsed() < PATIENCE, "nobody looks");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let holding = |(verb, calls): (Verb, u32)| (verb == Verb::Holding).then_some(calls);
        looks += spy.calls().into_iter().find_map(holding).unwrap_or_default();
    }
}

/// The ways in which a session ends for a socket, and of those the ones that leave it to its browser.
const WAYS: [&str; 8] =
    ["log out", "revoke", "revoke user", "others", "log in", "renew", "again", "all"];
const REPLACED: [&str; 3] = ["log in", "renew", "again"];

async fn it_ends_wherever_and_however_the_session_ends(db: Db) {
    let here = db.sessions().await;
    for node in [here.clone(), db.sessions().await] {
        let mut ways = JoinSet::new();
        for way in &WAYS[..7] {
            ways.spawn(ends(here.clone(), node.clone(), way));
        }
        ways.join_all().await;
        // Alone, since it ends the others too.
        ends(here.clone(), node, "all").await;
    }
    let socket = Socket::of(&here, "ada").await;
    db.pass(hours(2)).await;
    socket.has_ended().await;
}

async fn ends(here: Sessions, node: Sessions, way: &'static str) {
    let socket = Socket::of(&here, way).await;
    let session = socket.browser.open(&node).await;
    match way {
        "log out" => drop(session.log_out().await.unwrap()),
        "revoke" => assert!(node.revoke(session.id().unwrap()).await.unwrap()),
        "revoke user" => drop(node.revoke_user(way).await.unwrap()),
        "others" => {
            let (_, kept) = Browser::logged_in(&node, way).await;
            node.revoke_others(way, kept).await.unwrap();
        }
        "log in" => session.log_in("another").await.unwrap(),
        "renew" => session.renew().await.unwrap(),
        "again" => session.reauthenticate().await.unwrap(),
        _ => drop(node.revoke_all().await.unwrap()),
    }
    let handle = socket.session.clone();
    socket.has_ended().await;
    // The handle has noticed, and why.
    assert_eq!(handle.user_id(), None, "{way}");
    let is_replaced = REPLACED.contains(&way);
    assert_eq!(handle.is_superseded(), is_replaced, "{way}");
    let kind = if is_replaced { ErrorKind::Superseded } else { ErrorKind::SessionEnded };
    assert_eq!(handle.refresh().await.unwrap_err().kind(), kind, "{way}");
}

async fn it_goes_on_where_another_session_ends(db: Db) {
    let spy = Spy::new();
    let here = db.tapped(&spy).build().unwrap();
    let elsewhere = db.sessions().await;
    let socket = Socket::of(&here, "ada").await;
    for node in [&here, &elsewhere] {
        let (_, of_ada) = Browser::logged_in(node, "ada").await;
        let (mut other, _) = Browser::logged_in(node, "bob").await;
        node.revoke(of_ada).await.unwrap();
        let session = other.open(node).await;
        session.renew().await.unwrap();
        other.finish(&session).await;
        node.revoke_user("bob").await.unwrap();
        // It works with its own session too.
        let session = socket.browser.open(node).await;
        session.insert("a", 1).unwrap();
        session.finish().await.unwrap();
    }
    looked(&spy, 2).await;
    assert!(!socket.ended.is_finished());
    elsewhere.revoke_user("ada").await.unwrap();
    socket.has_ended().await;
}

async fn waiting_does_not_prolong_the_session(db: Db) {
    let spy = Spy::new();
    let sessions = db.tapped(&spy).idle_timeout(minutes(30)).build().unwrap();
    let socket = Socket::of(&sessions, "ada").await;
    db.pass(minutes(29)).await;
    let before = sessions.find(socket.session.id().unwrap()).await.unwrap().unwrap();
    looked(&spy, 3).await;
    sessions.flush().await.unwrap();
    let after = sessions.find(socket.session.id().unwrap()).await.unwrap().unwrap();
    assert_eq!(before, after);
    db.pass(minutes(2)).await;
    socket.has_ended().await;
}

async fn a_handle_that_renews_its_own_session_waits_on(db: Db) {
    let spy = Spy::new();
    let sessions = db.tapped(&spy).build().unwrap();
    let mut socket = Socket::of(&sessions, "ada").await;
    socket.session.renew().await.unwrap();
    looked(&spy, 2).await;
    socket.session.reauthenticate().await.unwrap();
    looked(&spy, 2).await;
    assert!(!socket.ended.is_finished());
    socket.browser.finish(&socket.session).await;
    let session = socket.browser.open(&sessions).await;
    session.log_out().await.unwrap();
    socket.has_ended().await;
}

async fn a_handle_that_logs_out_has_ended(db: Db) {
    let sessions = db.sessions().await;
    let socket = Socket::of(&sessions, "ada").await;
    socket.session.log_out().await.unwrap();
    socket.has_ended().await;
}

async fn a_session_that_is_not_stored_yet_is_waited_for(db: Db) {
    let sessions = db.sessions().await;
    let session = Browser::default().open(&sessions).await;
    let ended = tokio::spawn(session.ended());
    session.update("a", |a: &mut u32| *a = 1).await.unwrap();
    let id = session.id().unwrap();
    assert!(!ended.is_finished());
    // Also where it ends before anybody has looked whether it is stored.
    sessions.revoke(id).await.unwrap();
    timeout(PATIENCE, ended).await.expect("the socket ends").unwrap();
}

async fn what_has_ended_before_is_ended_at_once(db: Db) {
    let spy = Spy::new();
    let sessions = db.tapped(&spy).build().unwrap();
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let superseded = browser.clone();
    let session = browser.open(&sessions).await;
    session.renew().await.unwrap();
    browser.finish(&session).await;
    let superseded = superseded.open(&sessions).await;
    let ended = browser.open(&sessions).await;
    sessions.revoke(id).await.unwrap();
    ended.refresh().await.unwrap_err();
    spy.calls();
    superseded.ended().await;
    ended.ended().await;
    assert_eq!(spy.calls(), []);
}

async fn one_look_serves_all_sockets(db: Db) {
    const SOCKETS: usize = 200;
    let spy = Spy::new();
    let sessions = db.tapped(&spy).build().unwrap();
    let mut sockets = Vec::new();
    for i in 0..SOCKETS {
        sockets.push(Socket::of(&sessions, if i % 2 == 0 { "ada" } else { "bob" }).await);
    }
    looked(&spy, 1).await;
    spy.calls();
    let began = Instant::now();
    looked(&spy, 2).await;
    assert!(began.elapsed() > Duration::from_secs(1), "it looks every second, whoever waits");
    assert_eq!(spy.calls(), []);
    db.sessions().await.revoke_user("ada").await.unwrap();
    for (i, socket) in sockets.into_iter().enumerate() {
        match i % 2 {
            0 => socket.has_ended().await,
            _ => {
                assert!(!socket.ended.is_finished());
                // It would keep the database open.
                socket.ended.abort();
            }
        }
    }
}

async fn a_database_that_fails_ends_nothing(db: Db) {
    let switch = Switch::new();
    let sessions = db.tapped(&switch).build().unwrap();
    let socket = Socket::of(&sessions, "ada").await;
    let id = socket.session.id().unwrap();
    switch.off();
    // Whatever is looked at now fails.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!socket.ended.is_finished());
    assert_eq!(socket.session.user_id().as_deref(), Some("ada"));
    switch.on();
    db.sessions().await.revoke(id).await.unwrap();
    socket.has_ended().await;
}

async fn a_waiter_goes_on_when_the_runtime_of_the_look_ends(db: Db) {
    let sessions = db.sessions().await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    let first = session.ended();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // The first waiter starts the task that looks, in its runtime.
    let of_runtime = runtime.spawn(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ended = tokio::spawn(session.ended());
    tokio::time::sleep(Duration::from_millis(100)).await;
    tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
    assert!(of_runtime.await.unwrap_err().is_cancelled());
    assert!(!ended.is_finished());
    db.sessions().await.revoke(id).await.unwrap();
    timeout(PATIENCE, ended).await.expect("the socket ends").unwrap();
}

async fn nobody_looks_when_nobody_waits(db: Db) {
    let spy = Spy::new();
    let sessions = db.tapped(&spy).batching(false).build().unwrap();
    let socket = Socket::of(&sessions, "ada").await;
    looked(&spy, 1).await;
    socket.ended.abort();
    socket.ended.await.unwrap_err();
    drop((socket.session, sessions));
    // The task was the last one that held the node.
    let began = Instant::now();
    while Arc::strong_count(&spy) > 1 {
        assert!(began.elapsed() < PATIENCE, "the task goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_change_by_the_same_node_is_not_waited_for(db: Db) {
    let sessions = db.sessions().await;
    // A busy machine may be slow for other reasons: it counts that the next look was not waited for each time.
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let (browser, id) = Browser::with(&sessions, "a", json!(1)).await;
        let session = browser.open(&sessions).await;
        let mut ended = pin!(session.ended());
        assert!(timeout(Duration::from_millis(60), &mut ended).await.is_err());
        let began = Instant::now();
        sessions.revoke(id).await.unwrap();
        ended.await;
        fastest = fastest.min(began.elapsed());
    }
    assert!(fastest < Duration::from_millis(500), "{fastest:?}");
}
