//! The server has fewer connections than the pools ask for.

use std::{
    sync::{Arc, Barrier},
    time::Duration,
};

use sessile::{Sessions, connect};
use sqlx::{Connection, PgConnection, PgPool};

use crate::{
    server::Server,
    support::Browser,
    visitors::{at_once, visit, whole},
};

async fn visits(sessions: &Sessions, requests: usize, each: usize) {
    let results = at_once(requests, |i| {
        let sessions = sessions.clone();
        async move {
            for _ in 0..each {
                visit(&sessions, &format!("user {i}")).await?;
            }
            Ok::<_, sessile::Error>(())
        }
    })
    .await;
    for result in results {
        assert!(result.is_ok(), "{}", whole(&result.unwrap_err()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_limit_of_three_under_a_pool_of_ten_is_enough() {
    let server = Server::alone("").await;
    server.make_role("few").await;
    server.run_all(&["alter role few connection limit 3"]).await;
    let backend = connect(&server.url_of("few")).await.unwrap();
    visits(&Sessions::builder(backend).build().unwrap(), 64, 5).await;
}

/// The connection goes back to the pool every few moments. While sqlx tries to connect, it does not look for
/// it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_under_an_application_s_pool() {
    let server = Server::alone("").await;
    server.make_role("few").await;
    server.run_all(&["alter role few connection limit 3"]).await;
    let pool = PgPool::connect(&server.url_of("few")).await.unwrap();
    visits(&Sessions::builder(pool).build().unwrap(), 64, 5).await;
}

/// As with eight processes that know nothing of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_pools_of_ten_share_seventeen_connections() {
    // The test itself uses two of the three connections that are reserved for superusers.
    let server = Server::alone("-c max_connections=20 -c superuser_reserved_connections=3").await;
    server.make_role("application").await;
    let (url, all) = (server.url_of("application"), Arc::new(Barrier::new(8)));
    let processes: Vec<_> = (0..8)
        .map(|_| {
            let (url, all) = (url.clone(), all.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    // Eight processes on two processors: this test does not measure their speed.
                    let long = Duration::from_secs(30);
                    let builder = Sessions::builder(connect(&url).await.unwrap());
                    let sessions = builder.deadline(long).log_in_deadline(long).build().unwrap();
                    all.wait();
                    visits(&sessions, 16, 5).await;
                });
            })
        })
        .collect();
    let failed = processes.into_iter().filter_map(|process| process.join().err()).count();
    assert_eq!(failed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_none_at_all_the_error_shows_what_the_server_said() {
    let server = Server::start("").await;
    server.make_role("one").await;
    server.run_all(&["alter role one connection limit 1"]).await;
    let url = server.url_of("one");
    let sessions = Sessions::builder(connect(&url).await.unwrap()).build().unwrap();
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    server.kill_all().await;
    let other = PgConnection::connect(&url).await.unwrap();
    let failed_to_load = browser.try_open(&sessions).await.map(|_| ()).unwrap_err();
    let session = Browser::default().open(&sessions).await;
    let failed_to_log_in = session.log_in("ada").await.unwrap_err();
    for error in [failed_to_load, failed_to_log_in] {
        assert!(whole(&error).contains("too many connections for role"), "{}", whole(&error));
        assert!(whole(&error).contains("53300"), "{}", whole(&error));
        assert!(error.is_transient());
    }
    other.close().await.unwrap();
    assert!(browser.is_in(&sessions).await);
}
