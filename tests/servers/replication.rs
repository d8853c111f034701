//! A standby with a short delay.

use std::time::{Duration, Instant};

use serde_json::json;
use sessile::{Error, ErrorKind, Sessions, connect};

use crate::{capture::Capture, server::Server, support::Browser, visitors::whole};

async fn on(server: &Server) -> Sessions {
    Sessions::builder(connect(&server.url).await.unwrap()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_read_and_its_touches_are_lost_with_one_warning() {
    let primary = Server::start("").await;
    let standby = primary.standby().await;
    let sessions = on(&primary).await;
    let (ada, id) = Browser::logged_in(&sessions, "ada").await;
    let (visitor, _) = Browser::with(&sessions, "theme", json!("dark")).await;
    primary.pass("5 minutes", "true").await;
    primary.is_followed_by(&standby).await;

    let there = on(&standby).await;
    there.migrate().await.unwrap();
    assert!(there.find(id).await.unwrap().is_some());
    assert_eq!(there.of_user("ada").await.unwrap().len(), 1);
    assert_eq!(there.count_of_user("ada").await.unwrap(), 1);
    assert_eq!(there.count().await.unwrap(), 2);
    let log = Capture::begin();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let session = visitor.open(&there).await;
        assert_eq!(session.get::<String>("theme").unwrap().as_deref(), Some("dark"));
        session.finish().await.unwrap();
        let session = ada.open(&there).await;
        assert_eq!(session.user_id().as_deref(), Some("ada"));
        session.finish().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let lost = log.events("touches lost", "");
    assert_eq!(lost.len(), 1, "{lost:?}");
    // On the primary, the touches are written.
    ada.open(&sessions).await.finish().await.unwrap();
    sessions.flush().await.unwrap();
    let touched = "select count(*) from sessile.sessions where now() - last_seen_at < '1 minute'";
    assert_eq!(primary.number(touched).await, 1);
}

/// A standby refuses writes, and may be the primary a moment later: nothing was done.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Database, "{error:?}");
    assert!(error.is_transient(), "{error:?}");
    assert!(whole(&error).contains("read-only transaction (25006)"), "{}", whole(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_writes_is_refused_by_a_standby() {
    let primary = Server::start("").await;
    let (ada, id) = Browser::logged_in(&on(&primary).await, "ada").await;
    let standby = primary.standby().await;
    let there = on(&standby).await;
    let session = ada.open(&there).await;
    session.insert("theme", "light").unwrap();
    refused(session.save().await);
    refused(session.update("visits", |visits: &mut i64| *visits += 1).await);
    refused(session.reauthenticate().await);
    refused(session.renew().await);
    refused(session.log_out_others().await);
    let session = Browser::default().open(&there).await;
    session.insert("theme", "light").unwrap();
    refused(session.save().await);
    session.abandon();
    refused(session.log_in("grace").await);
    refused(there.revoke(id).await);
    refused(there.revoke_user("ada").await);
    refused(there.revoke_all().await);
    assert!(ada.is_in(&there).await);
}

/// `docs/operations.md` says: only synchronous replication, or an end of all sessions after the failover,
/// makes sure that every logged-out user stays logged out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_was_not_replicated_is_undone_by_a_failover() {
    let primary = Server::start("").await;
    let standby = primary.standby().await;
    let sessions = on(&primary).await;
    let (early, _) = Browser::logged_in(&sessions, "ada").await;
    let (late, _) = Browser::logged_in(&sessions, "grace").await;
    sessions.revoke_user("ada").await.unwrap();
    primary.is_followed_by(&standby).await;
    standby.alter("set primary_conninfo = ''").await;
    primary.wait_for("select count(*) from pg_stat_replication", 0).await;
    sessions.revoke_user("grace").await.unwrap();
    assert!(!late.is_in(&sessions).await);
    drop(primary);
    standby.run_all(&["select pg_promote()"]).await;

    let after = on(&standby).await;
    assert!(!early.is_in(&after).await, "what was replicated holds");
    assert!(late.is_in(&after).await, "the session is back");
    after.revoke_all().await.unwrap();
    assert!(!late.is_in(&after).await);
    Browser::logged_in(&after, "grace").await;
}
