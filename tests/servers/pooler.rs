//! PgBouncer in transaction mode.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use sessile::{
    ConnectOptions, Error, ErrorKind, Sessions, connect, connect_with,
    store::{Backend, CacheOptions, postgres::PostgresStore},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    bouncer::Bouncer,
    capture::Capture,
    server::Server,
    support::Browser,
    visitors::{at_once, visit, whole},
};

const IGNORES_DIGITS: &str = "ignore_startup_parameters = extra_float_digits";
/// An older PgBouncer does not know the setting, and refuses to start with it.
fn not_apart(settings: &str) -> String {
    match keeps_prepared_statements() {
        true => format!("max_prepared_statements = 0\n{settings}"),
        false => settings.to_owned(),
    }
}

const WARNING: &str = "a pooler such as PgBouncer is between";

async fn sessions(bouncer: &Bouncer, options: ConnectOptions) -> Sessions {
    patient(connect_with(&bouncer.url, options).await.unwrap())
}

/// These tests do not limit how long 32 requests wait for four connections.
fn patient(backend: Backend) -> Sessions {
    let long = Duration::from_secs(30);
    Sessions::builder(backend).deadline(long).log_in_deadline(long).build().unwrap()
}

fn behind_pooler() -> ConnectOptions {
    ConnectOptions::new().behind_pooler(true)
}

/// Every verb from 32 requests at once, on four connections. A statement that is confused with another one,
/// or runs twice, shows in one of the sums.
async fn everything_works(server: &Server, sessions: &Sessions) {
    sessions.migrate().await.unwrap();
    server.run_all(&["truncate sessile.sessions"]).await;
    let (cart, _) = Browser::with(sessions, "items", json!(0)).await;
    // First these alone, because an update gives up after ten seconds of others' updates, even on a slow
    // machine.
    let results = at_once(32, |_| {
        let (sessions, cart) = (sessions.clone(), cart.clone());
        async move {
            let session = cart.open(&sessions).await;
            session.update("items", |items: &mut i64| *items += 1).await
        }
    });
    results.await.into_iter().for_each(|result| result.unwrap());
    let items: i64 = cart.open(sessions).await.get("items").unwrap().unwrap();
    assert_eq!(items, 32);

    let results = at_once(32, |i| {
        let sessions = sessions.clone();
        async move {
            for _ in 0..2 {
                every_verb(&sessions, &format!("user {i}")).await?;
                Browser::logged_in(&sessions, "ada").await;
                sessions.sweep().await?;
            }
            Ok::<_, Error>(())
        }
    });
    results.await.into_iter().for_each(|result| result.unwrap());
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 64);
    assert_eq!(sessions.count().await.unwrap(), 65);
    server.pass("2 days", "user_id = 'ada'").await;
    assert_eq!(sessions.sweep().await.unwrap().rows, 64);
    assert_eq!(server.number("select count(*) from sessile.sessions").await, 1);
    assert_eq!(sessions.revoke_all().await.unwrap().ended, 1);
}

/// Leaves nothing behind.
async fn every_verb(sessions: &Sessions, user: &str) -> Result<(), Error> {
    visit(sessions, user).await?;
    let found = sessions.of_user(user).await?;
    assert_eq!(found.len(), 1);
    assert!(sessions.find(found[0].id).await?.is_some());
    assert!(sessions.revoke(found[0].id).await?);
    assert_eq!(sessions.count_of_user(user).await?, 0);

    let mut browser = Browser::default();
    let session = browser.open(sessions).await;
    session.begin_log_in().user(user).await?;
    browser.keep(session.finish().await?);
    let session = browser.open(sessions).await;
    session.complete_log_in().await?;
    browser.keep(session.finish().await?);
    let (_, other) = Browser::logged_in(sessions, user).await;
    Browser::logged_in(sessions, user).await;
    assert_eq!(sessions.count_of_user(user).await?, 3);
    assert_eq!(sessions.count_of_user(user).await?, 3, "counting ends nothing");

    let session = browser.open(sessions).await;
    session.reauthenticate().await?;
    browser.keep(session.finish().await?);
    let session = browser.open(sessions).await;
    session.renew().await?;
    browser.keep(session.finish().await?);
    let session = browser.open(sessions).await;
    assert!(session.log_out_device(other).await?);
    assert_eq!(session.log_out_others().await?.ended, 1);
    browser.keep(session.finish().await?);
    let session = browser.open(sessions).await;
    session.log_out().await?;
    browser.keep(session.finish().await?);
    Browser::logged_in(sessions, user).await;
    assert_eq!(sessions.revoke_user(user).await?.ended, 1);
    Ok(())
}

/// Whether or not the pooler ignores the setting that sqlx asks for when it connects.
/// Whether this version can keep its clients' prepared statements apart.
fn keeps_prepared_statements() -> bool {
    let output = Command::new("pgbouncer").arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.lines().next().and_then(|line| line.strip_prefix("PgBouncer ")).unwrap();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(1), Some(21))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_option_everything_works() {
    let server = Server::start("").await;
    for settings in ["", IGNORES_DIGITS] {
        let bouncer = Bouncer::before(&server.url, settings);
        let options = behind_pooler().max_connections(32);
        everything_works(&server, &sessions(&bouncer, options).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_s_pool_works_as_it_is_documented() {
    let server = Server::start("").await;
    let bouncer = Bouncer::before(&server.url, &not_apart(""));
    let options: PgConnectOptions = bouncer.url.parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(32);
    let pool = pool.connect_with(options.extra_float_digits(None)).await.unwrap();
    let store = PostgresStore::new(pool).behind_pooler();
    let backend = Backend::new(store);
    everything_works(&server, &patient(backend)).await;
}

/// PgBouncer keeps prepared statements apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_statements_are_kept_apart_no_option_is_needed() {
    // A version before 1.21 does so only if a client keeps its server's connection.
    let apart = match keeps_prepared_statements() {
        true => "max_prepared_statements = 100",
        false => "pool_mode = session\ndefault_pool_size = 100",
    };
    let server = Server::start("").await;
    for settings in ["", IGNORES_DIGITS] {
        let settings = format!("{apart}\n{settings}");
        let bouncer = Bouncer::before(&server.url, &settings);
        let options = ConnectOptions::new().max_connections(32);
        everything_works(&server, &sessions(&bouncer, options).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_option_the_start_warns_and_errors_name_it() {
    let server = Server::start("").await;
    for settings in ["", IGNORES_DIGITS] {
        let bouncer = Bouncer::before(&server.url, &not_apart(settings));
        assert!(warns(&bouncer.url).await, "{settings}");
        let sessions = sessions(&bouncer, ConnectOptions::new().max_connections(32)).await;
        let direct = Sessions::builder(connect(&server.url).await.unwrap()).build().unwrap();
        let (_, id) = Browser::logged_in(&direct, "ada").await;
        let results: Vec<Result<(), Error>> = at_once(32, |i| {
            let sessions = sessions.clone();
            async move {
                for _ in 0..4 {
                    sessions.count_of_user("ada").await?;
                    visit(&sessions, &format!("user {i}")).await?;
                }
                Ok(())
            }
        })
        .await;
        let of_pooler = results.iter().filter_map(|result| result.as_ref().err()).filter(|error| {
            let is_of_pooler =
                ["26000", "42P05", "08P01"].iter().any(|code| whole(error).contains(code));
            if is_of_pooler {
                assert_eq!(error.kind(), ErrorKind::Database);
                assert!(error.to_string().contains("PgBouncer"), "{error}");
                assert!(error.to_string().contains("behind_pooler"), "{error}");
            }
            is_of_pooler
        });
        assert!(of_pooler.count() > 0, "{results:?}");
        let of_ada = format!("select count(*) from sessile.sessions where id = '{id}'");
        assert_eq!(server.number(&of_ada).await, 1, "nothing is taken for a revocation");
    }
}

/// Whether the start logs the warning about a pooler.
async fn warns(url: &str) -> bool {
    // Other tests log this warning too. The span identifies this test's line.
    let name = format!("start {}", Uuid::now_v7());
    let log = Capture::begin();
    let start = tracing::info_span!("start", name);
    connect_with(url, ConnectOptions::new()).instrument(start).await.unwrap();
    let text = log.text();
    let mut warnings = text.lines().filter(|line| line.contains(WARNING) && line.contains("WARN"));
    warnings.any(|line| line.contains(&name))
}

#[tokio::test]
async fn a_server_itself_is_not_taken_for_a_pooler() {
    let server = Server::start("").await;
    assert!(!warns(&server.url).await);
}

/// Through a pooler a cache cannot listen: the server would send the notifications to the connection's next
/// client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_goes_by_its_bound() {
    let server = Server::start("-c log_statement=all").await;
    // With one connection on both sides, no statements are confused even without the option.
    for options in [ConnectOptions::new().max_connections(1), behind_pooler()] {
        let settings = format!("{IGNORES_DIGITS}\ndefault_pool_size = 1");
        let bouncer = Bouncer::before(&server.url, &settings);
        let backend = connect_with(&bouncer.url, options).await.unwrap();
        let cached = Sessions::builder(backend).cache(CacheOptions::default()).build().unwrap();
        let (browser, _) = Browser::logged_in(&cached, "ada").await;
        assert!(browser.is_in(&cached).await);
        let direct = Sessions::builder(connect(&server.url).await.unwrap()).build().unwrap();
        direct.revoke_user("ada").await.unwrap();
        let ended = Instant::now();
        while browser.is_in(&cached).await {
            assert!(ended.elapsed() < Duration::from_millis(1_500), "its bound is a second");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(server.logged("LISTEN").await, 0);
    }
}
