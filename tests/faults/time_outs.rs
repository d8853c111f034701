//! Time-outs of the database or the role, and other refusals of a server.

use std::time::{Duration, Instant};

use serde_json::json;
use sessile::{ErrorKind, Sessions};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::{
    patience::{DEADLINE, SLACK, failed, failed_for_now, within},
    proxy::Proxy,
    support::{Browser, Db, cases},
};

cases! {
    @postgres [
        a_batch_that_fails_for_statement_timeout_is_not_run_one_by_one
        a_lock_that_was_not_to_be_had_is_transient
        a_connection_that_was_ended_for_being_idle_fails_no_request
        a_violation_of_the_protocol_is_not_transient
    ]
}

async fn set(db: &Db, setting: &str) {
    let name = db.url.rsplit_once('/').unwrap().1;
    db.run(&format!("alter database {name} set {setting}"), "").await;
}

async fn lock_table(db: &Db) -> PgConnection {
    let mut psql = PgConnection::connect(&db.url).await.unwrap();
    for statement in ["set statement_timeout = 0", "begin", "lock table sessile.sessions"] {
        sqlx::query(statement).execute(&mut psql).await.unwrap();
    }
    psql
}

async fn a_batch_that_fails_for_statement_timeout_is_not_run_one_by_one(db: Db) {
    set(&db, "statement_timeout = '1s'").await;
    let own = PgPool::connect(&db.url).await.unwrap();
    for sessions in [db.sessions().await, Sessions::builder(own).build().unwrap()] {
        let mut making = JoinSet::new();
        for _ in 0..256 {
            let sessions = sessions.clone();
            making.spawn(async move {
                let (browser, _) = Browser::with(&sessions, "n", json!(0)).await;
                browser.open(&sessions).await
            });
        }
        let all = making.join_all().await;
        let psql = lock_table(&db).await;
        let mut writes = JoinSet::new();
        let begun = Instant::now();
        for session in all {
            writes.spawn(async move { session.update("n", |n: &mut i64| *n += 1).await });
        }
        while let Some(answer) = writes.join_next().await {
            let error = answer.unwrap().unwrap_err();
            let is_unknown = error.kind() == ErrorKind::OutcomeUnknown;
            assert!(error.is_transient() || is_unknown, "{error:?}");
        }
        let took = begun.elapsed();
        assert!(took < DEADLINE + SLACK, "the last answer came after {took:?}");
        psql.close().await.unwrap();
        let (browser, _) = Browser::with(&sessions, "n", json!(0)).await;
        assert!(browser.is_in(&sessions).await);
    }
}

async fn a_lock_that_was_not_to_be_had_is_transient(db: Db) {
    set(&db, "lock_timeout = '200ms'").await;
    let own = PgPool::connect(&db.url).await.unwrap();
    let sessions = Sessions::builder(own).build().unwrap();
    let (browser, id) = Browser::with(&sessions, "n", json!(0)).await;
    let session = browser.open(&sessions).await;
    let psql = lock_table(&db).await;
    failed_for_now(within(DEADLINE + SLACK, browser.try_open(&sessions)).await);
    let error = within(DEADLINE + SLACK, session.update("n", |n: &mut i64| *n += 1)).await;
    failed(error, ErrorKind::Contention);
    failed_for_now(within(DEADLINE + SLACK, sessions.revoke(id)).await);
    failed_for_now(within(DEADLINE + SLACK, sessions.find(id)).await);
    psql.close().await.unwrap();
    session.update("n", |n: &mut i64| *n += 1).await.unwrap();
}

async fn a_connection_that_was_ended_for_being_idle_fails_no_request(db: Db) {
    set(&db, "idle_session_timeout = '300ms'").await;
    let sessions = db.sessions().await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let idle = Duration::from_millis(600);
    for round in 0..2 {
        tokio::time::sleep(idle).await;
        let session = browser.open(&sessions).await;
        assert!(session.id().is_some());
        tokio::time::sleep(idle).await;
        session.update("n", |n: &mut i64| *n += 1).await.unwrap();
        tokio::time::sleep(idle).await;
        Browser::logged_in(&sessions, "ada").await;
        tokio::time::sleep(idle).await;
        Browser::with(&sessions, "n", json!(round)).await;
    }
    tokio::time::sleep(idle).await;
    assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 3);
}

async fn a_violation_of_the_protocol_is_not_transient(db: Db) {
    let proxy = Proxy::before(&db).await;
    let sessions = Sessions::builder(sessile::connect(&proxy.url).await.unwrap()).build().unwrap();
    let (browser, _) = Browser::with(&sessions, "n", json!(0)).await;
    let session = browser.open(&sessions).await;
    session.update("n", |n: &mut i64| *n += 1).await.unwrap();
    let of = async |code: &str| {
        proxy.fails("marked", code);
        let error = session.update("m", |m: &mut String| *m = "marked".to_owned()).await;
        error.unwrap_err()
    };
    let error = of("08P01").await;
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Database, false), "{error:?}");
    for code in ["57014", "53300"] {
        assert!(of(code).await.is_transient(), "{code}");
    }
    // With these codes the statement did nothing, and is tried again.
    for code in ["40P01", "40001", "25006", "25P03"] {
        proxy.fails("marked again", code);
        session.update("m", |m: &mut String| *m = "marked again".to_owned()).await.unwrap();
    }
    assert_eq!(proxy.sprung(), 7);
}
