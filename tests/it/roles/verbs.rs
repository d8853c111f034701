//! Each role against each verb of the library.

use std::{error::Error as _, iter::successors};

use serde_json::json;
use sessile::{
    Client, Error, ErrorKind, Result, SessionId, Sessions,
    store::{CleanupRun, Store, SupersededUse, postgres::PostgresStore},
};
use sqlx::PgPool;

use super::{DENIED, EVERYBODY, installed};
use crate::support::{Browser, up_to};

/// Each verb, and who may use it.
const VERBS: [(&str, &[&str]); 26] = [
    ("migrate", &["app", "cleanup"]),
    ("create", &["app"]),
    ("load", &["app"]),
    ("save", &["app"]),
    ("renew", &["app"]),
    ("begin_log_in", &["app"]),
    ("log_in", &["app"]),
    ("reauthenticate", &["app"]),
    ("devices", &["app"]),
    ("log_out", &["app"]),
    ("log_out_others", &["app"]),
    ("revoke", &["app"]),
    ("revoke_user", &["app"]),
    ("revoke_others", &["app"]),
    ("revoke_all", &["app"]),
    ("find", &["app"]),
    ("count", &["app", "cleanup"]),
    ("list", &["app"]),
    ("update_of_user", &["app"]),
    ("forget_user", &["app"]),
    ("log_superseded", &["app", "cleanup"]),
    ("survey", &["app", "cleanup"]),
    ("sweep", &["app", "cleanup"]),
    ("sweep_pages", &["app", "cleanup"]),
    ("file_events", &["app", "cleanup"]),
    ("log_cleanup", &["app", "cleanup"]),
];

/// Two nodes of one role: the library's own connections, and a store.
struct Node {
    sessions: Sessions,
    store: PostgresStore,
}

/// Uses a verb. The browser is logged in as ada, with this session.
async fn run(verb: &str, node: &Node, browser: &Browser, id: SessionId) -> Result<()> {
    let Node { sessions, store } = node;
    let handle = async || browser.try_open(sessions).await;
    match verb {
        "migrate" => sessions.migrate().await,
        "create" => {
            let session = sessions.open([], Client::new()).await?;
            session.insert("a", 1)?;
            session.save().await
        }
        "load" => handle().await.map(drop),
        "save" => handle().await?.update("a", |a: &mut u32| *a += 1).await,
        "renew" => handle().await?.renew().await,
        "begin_log_in" => handle().await?.begin_log_in().user("ada").await.map(drop),
        "log_in" => sessions.open([], Client::new()).await?.log_in("ada").await.map(drop),
        "reauthenticate" => handle().await?.reauthenticate().await,
        "devices" => handle().await?.devices().await.map(drop),
        "log_out" => handle().await?.log_out().await.map(drop),
        "log_out_others" => handle().await?.log_out_others().await.map(drop),
        "revoke" => sessions.revoke(id).await.map(drop),
        "revoke_user" => sessions.revoke_user("ada").await.map(drop),
        "revoke_others" => sessions.revoke_others("ada", id).await.map(drop),
        "revoke_all" => sessions.revoke_all().await.map(drop),
        "find" => sessions.find(id).await.map(drop),
        "count" => sessions.count().await.map(drop),
        "list" => sessions.of_user("ada").all().await.map(drop),
        "update_of_user" => {
            sessions.update_of_user("ada", "a", |a: &mut u32| *a += 1).await.map(drop)
        }
        "forget_user" => sessions.forget_user("ada").await.map(drop),
        "log_superseded" => {
            let used = SupersededUse {
                id,
                realm: sessions.realm().clone(),
                user_id: Some("ada".to_owned()),
                client: Client::new(),
                reason: "a test",
            };
            store.log_superseded(&used).await
        }
        "survey" => store.survey().await.map(drop),
        "sweep" => store.sweep(&up_to(10)).await.map(drop),
        "sweep_pages" => store.sweep_pages(0..10, true).await.map(drop),
        "file_events" => store.file_events(0, 10).await.map(drop),
        "log_cleanup" => {
            let run = CleanupRun {
                elapsed: std::time::Duration::ZERO,
                sessions: 0,
                statements: 1,
                error: None,
                keeps_runs_for: 60,
            };
            store.log_cleanup(&run).await
        }
        _ => unreachable!("{verb}"),
    }
}

/// Whether the role lacks a right. `migrate` asks for its rights before it needs them.
fn is_denied(error: &Error) -> bool {
    let causes = successors(error.source(), |&cause| cause.source());
    error.kind() == ErrorKind::Schema
        || causes.map(ToString::to_string).any(|cause| cause.contains(DENIED))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_may_use_the_verbs_that_the_matrix_says() {
    let roles = installed().await;
    let app = roles.sessions("app").await;
    for who in EVERYBODY {
        let pool = PgPool::connect(&roles.url(who)).await.unwrap();
        let node =
            Node { sessions: roles.sessions(who).await, store: PostgresStore::new(pool.clone()) };
        for (verb, may) in VERBS {
            // The verbs before may have ended the session.
            let (mut browser, id) = Browser::with(&app, "a", json!(1)).await;
            let session = browser.open(&app).await;
            session.log_in("ada").await.unwrap();
            browser.finish(&session).await;
            match run(verb, &node, &browser, id).await {
                Ok(()) => assert!(may.contains(&who), "{who}: {verb}"),
                Err(error) => {
                    assert!(!may.contains(&who), "{who}: {verb}: {error:?}");
                    assert!(is_denied(&error), "{who}: {verb}: {error:?}");
                }
            }
        }
        pool.close().await;
    }
    roles.drop().await;
}

/// What the cleanup has to do is done under its role, by the index and by the pages of the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cleanup_s_role_cleans_up() {
    let roles = installed().await;
    let app = roles.sessions("app").await;
    let cleanup = roles.sessions("cleanup").await;
    for expired in [1, 3000] {
        let old = format!(
            "insert into sessile.sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at,
                valid_until, expires_at, idle_timeout, secret_hash, data, user_id)
            select gen_random_uuid(), 1, old, old, old, old, old, old, 60, sha256(n::text::bytea), '{{}}', 'ada'
            from generate_series(1, {expired}) n, (select now() - interval '1 day') as moment (old)"
        );
        roles.run([old]).await;
        let report = cleanup.sweep().await.unwrap();
        assert_eq!((report.rows, report.busy), (expired, false));
    }
    Browser::logged_in(&app, "bob").await;
    roles
        .run([
            "insert into sessile.session_event_log (at, event) values (now() - interval '1 year', 'refused')",
            "insert into sessile.session_cutoffs (user_id, used_at) values ('old', now() - interval '1 year')",
        ])
        .await;
    // The events of the last run, and bob's log-in.
    assert_eq!(cleanup.sweep().await.unwrap().filed, 3001 + 1 - 1);
    let left = "select (select count(*) from sessile.session_event_inbox) + (select count(*) from sessile.session_event_log where event = 'refused')
        + (select count(*) from sessile.session_cutoffs where user_id = 'old')";
    assert_eq!(roles.db.number(left, "").await, 0);
    assert_eq!(app.count().await.unwrap(), 1);
    roles.drop().await;
}
