//! Connections to a server that no longer accepts writes.

use std::time::{Duration, Instant};

use serde_json::json;
use sessile::{ErrorKind, Sessions, store::Backend};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    proxy::Proxy,
    server::Server,
    support::Browser,
    visitors::{at_once, visit, whole},
};

/// The library's own connections, and an application's pool.
async fn both_pools(url: &str) -> [Sessions; 2] {
    let own: Backend = sessile::connect(url).await.unwrap();
    let shared: PgPool = PgPoolOptions::new().connect(url).await.unwrap();
    [own, shared.into()].map(|backend| Sessions::builder(backend).build().unwrap())
}

/// Every connection of the pool is open, and has been used for each kind of request.
async fn warm(sessions: &Sessions) {
    at_once(16, |i| {
        let sessions = sessions.clone();
        async move { visit(&sessions, &format!("user {i}")).await.unwrap() }
    })
    .await;
}

/// The address moves to the standby. The old server stays connected, but accepts no writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_the_next_writes_go_to_the_new_primary() {
    let old = Server::start("").await;
    let new = old.standby().await;
    let proxy = Proxy::to(&old).await;
    let pools = both_pools(&proxy.url).await;
    for sessions in &pools {
        warm(sessions).await;
    }
    let (ada, _) = Browser::logged_in(&pools[0], "ada").await;
    old.alter("set default_transaction_read_only = on").await;
    old.is_followed_by(&new).await;
    new.run_all(&["select pg_promote()"]).await;
    proxy.switch_to(&new);
    let switched = Instant::now();
    for sessions in &pools {
        assert!(ada.is_in(sessions).await);
        for i in 0..20 {
            visit(sessions, &format!("user {i}")).await.unwrap();
            let session = ada.open(sessions).await;
            session.update("visits", |visits: &mut i64| *visits += 1).await.unwrap();
        }
        sessions.revoke_user("user 1").await.unwrap();
    }
    assert!(switched.elapsed() < Duration::from_secs(10), "{:?}", switched.elapsed());
    let visits = "select (data->>'visits')::bigint from sessile.sessions where user_id = 'ada'";
    assert_eq!(new.number(visits).await, 40);
    // Only connections for reads may still exist: the first write on them finds out.
    let left = "select count(*) from pg_stat_activity
        where backend_type = 'client backend' and application_name <> 'test'";
    assert_eq!(old.number(left).await, 0, "connections to the old server");
}

/// At first the address leads to a standby, as in a deployment with a wrong address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_costs_no_write_once_the_address_is_the_primary_s() {
    let primary = Server::start("").await;
    let direct = Sessions::builder(sessile::connect(&primary.url).await.unwrap()).build().unwrap();
    let (ada, _) = Browser::with(&direct, "theme", json!("dark")).await;
    let standby = primary.standby().await;
    let proxy = Proxy::to(&standby).await;
    for sessions in both_pools(&proxy.url).await {
        proxy.switch_to(&standby);
        let session = ada.open(&sessions).await;
        session.insert("theme", "light").unwrap();
        let error = session.save().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Database, "nothing was done: {error:?}");
        assert!(error.is_transient());
        assert!(whole(&error).contains("read-only transaction (25006)"), "{}", whole(&error));
        proxy.switch_to(&primary);
        session.save().await.unwrap();
        for i in 0..10 {
            visit(&sessions, &format!("user {i}")).await.unwrap();
        }
    }
}

/// The setting changes back and forth while all requests write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_the_server_takes_writes_again_they_are_made() {
    let server = Server::start("").await;
    for sessions in both_pools(&server.url).await {
        warm(&sessions).await;
        let (ada, _) = Browser::logged_in(&sessions, "ada").await;
        server.alter("set default_transaction_read_only = on").await;
        let mut failures = at_once(16, |i| {
            let sessions = sessions.clone();
            async move {
                let session = Browser::default().open(&sessions).await;
                session.log_in(format!("user {i}")).await.unwrap_err()
            }
        })
        .await;
        let error = failures.pop().unwrap();
        assert_eq!(error.kind(), ErrorKind::Database, "{error:?}");
        assert!(error.is_transient());
        assert!(ada.is_in(&sessions).await, "whoever reads is served");
        server.alter("set default_transaction_read_only = off").await;
        let begun = Instant::now();
        while visit(&sessions, "grace").await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(2));
        }
        warm(&sessions).await;
    }
}
