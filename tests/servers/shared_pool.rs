//! An application that shares its pool with sessions.

use std::time::{Duration, Instant};

use sessile::Sessions;
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    server::Server,
    support::Browser,
    visitors::{at_once, visit},
};

/// The time until the application has all connections of the pool at once.
async fn wait_for_all(pool: &PgPool) -> Duration {
    let begun = Instant::now();
    let mut all = Vec::new();
    for _ in 0..pool.options().get_max_connections() {
        all.push(pool.acquire().await.unwrap());
    }
    begun.elapsed()
}

/// Other work of the machine may delay some of them.
fn assert_bound(mut waits: Vec<Duration>) {
    waits.sort_unstable();
    assert!(waits[waits.len() / 2] <= Duration::from_millis(50), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_waits_50_ms_for_what_rests() {
    let server = Server::alone("").await;
    let pool = PgPoolOptions::new().max_connections(10).connect(&server.url).await.unwrap();
    let sessions = Sessions::builder(pool.clone()).build().unwrap();
    let mut waits = Vec::new();
    for _ in 0..20 {
        at_once(10, |i| {
            let sessions = sessions.clone();
            async move { visit(&sessions, &format!("user {i}")).await.unwrap() }
        })
        .await;
        waits.push(wait_for_all(&pool).await);
    }
    assert_bound(waits);
}

/// One request after the other: the connection never rests for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_waits_50_ms_for_what_is_used_again_and_again() {
    let server = Server::alone("").await;
    let pool = PgPoolOptions::new().max_connections(5).connect(&server.url).await.unwrap();
    let sessions = Sessions::builder(pool.clone()).build().unwrap();
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let stream = tokio::spawn(async move {
        loop {
            assert!(browser.is_in(&sessions).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let mut waits = Vec::new();
    for _ in 0..20 {
        waits.push(wait_for_all(&pool).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stream.abort();
    assert_bound(waits);
}
