//! What a request gets whose row cannot be read.

use std::time::Duration;

use serde_json::Value;
use sessile::{Error, ErrorKind, Session, SessionId};

use super::damage::{Damage, SECRET, row};
use crate::{
    capture::Capture,
    support::{Browser, Db, cases},
};

cases! {
    and_wrapped:
    every_call_names_the_session_and_the_column,
    nobody_loses_a_cookie,
    a_log_in_begins_another_session,
    a_log_in_of_several_requests_begins_another_session,
    a_log_out_ends_the_row_and_removes_the_cookie,
    a_secret_that_cannot_be_read_is_nobodys,
    a_realm_that_is_none_is_nobodys,
    an_operator_is_told,
}

/// A browser whose row was ada's and cannot be read any more.
async fn unreadable(db: &Db, sessions: &sessile::Sessions, damage: Damage) -> (Browser, SessionId) {
    let (browser, id) = Browser::logged_in(sessions, "ada").await;
    damage.to(db, id).await;
    (browser, id)
}

async fn every_call_names_the_session_and_the_column(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::unreadable(&db) {
        let (browser, id) = unreadable(&db, &sessions, damage).await;
        let session = browser.open(&sessions).await;
        assert_eq!((session.id(), session.user_id(), session.expires_at()), (None, None, None));
        assert!(session.keys().is_empty() && !session.contains("a") && !session.is_superseded());
        for error in every_error(&session).await {
            damage.check(&error, id);
        }
        assert_eq!(session.complete_log_in().await.unwrap_err().kind(), ErrorKind::WrongType);
    }
}

async fn every_error(session: &Session) -> Vec<Error> {
    session.insert("a", 1).unwrap();
    vec![
        session.get::<Value>("a").unwrap_err(),
        session.data::<Value>().unwrap_err(),
        session.require_recent(Duration::from_secs(60)).unwrap_err(),
        session.save().await.unwrap_err(),
        session.finish().await.unwrap_err(),
        session.update("a", |n: &mut u32| *n += 1).await.unwrap_err(),
        session.take::<Value>("a").await.unwrap_err(),
        session.refresh().await.unwrap_err(),
        session.renew().await.unwrap_err(),
        session.reauthenticate().await.unwrap_err(),
        session.devices().await.unwrap_err(),
        session.log_out_others().await.unwrap_err(),
        session.log_out_everywhere().await.unwrap_err(),
        session.log_out_device(session_id()).await.unwrap_err(),
    ]
}

fn session_id() -> SessionId {
    uuid::Uuid::now_v7().into()
}

/// The error is the person's who edited the row. Once it is corrected, the session goes on.
async fn nobody_loses_a_cookie(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    for damage in Damage::unreadable(&db).chain(Damage::harmless(&db)) {
        let cookie = browser.cookie.clone();
        let kept = copy(&db, id).await;
        damage.to(&db, id).await;
        let session = browser.open(&sessions).await;
        browser.finish(&session).await;
        assert_eq!(browser.cookie, cookie, "{damage:?}");
        put_back(&db, id, &kept).await;
        let session = browser.open(&sessions).await;
        assert_eq!((session.id(), session.user_id().as_deref()), (Some(id), Some("ada")));
    }
}

/// All columns of a row, under a name of its own.
async fn copy(db: &Db, id: SessionId) -> String {
    let name = format!("kept_{}", session_id().as_uuid().simple());
    let condition = row(db, id);
    db.run(
        &format!("create table sessile.{name} as select * from sessile.sessions where {condition}"),
        &format!("create table {name} as select * from sessions where {condition}"),
    )
    .await;
    name
}

async fn put_back(db: &Db, id: SessionId, kept: &str) {
    let condition = row(db, id);
    db.run(
        &format!("delete from sessile.sessions where {condition}"),
        &format!("delete from sessions where {condition}"),
    )
    .await;
    db.run(
        &format!("insert into sessile.sessions select * from sessile.{kept}"),
        &format!("insert into sessions select * from {kept}"),
    )
    .await;
}

async fn a_log_in_begins_another_session(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::unreadable(&db) {
        let (mut browser, id) = unreadable(&db, &sessions, damage).await;
        let session = browser.open(&sessions).await;
        session.log_in("ada").await.unwrap();
        assert_ne!(session.id(), Some(id));
        session.insert("a", 1).unwrap();
        browser.finish(&session).await;
        let session = browser.open(&sessions).await;
        assert_eq!((session.user_id().as_deref(), session.keys()), (Some("ada"), vec!["a".into()]));
        // Nothing was done to the row.
        assert!(sessions.revoke(id).await.unwrap(), "{damage:?}");
    }
}

async fn a_log_in_of_several_requests_begins_another_session(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::unreadable(&db) {
        let (mut browser, id) = unreadable(&db, &sessions, damage).await;
        let session = browser.open(&sessions).await;
        session.begin_log_in().user("ada").await.unwrap();
        browser.finish(&session).await;
        let session = browser.open(&sessions).await;
        session.complete_log_in().await.unwrap();
        browser.finish(&session).await;
        let session = browser.open(&sessions).await;
        assert_ne!(session.id(), Some(id));
        assert_eq!(session.user_id().as_deref(), Some("ada"));
    }
}

async fn a_log_out_ends_the_row_and_removes_the_cookie(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::unreadable(&db) {
        let (mut browser, _) = unreadable(&db, &sessions, damage).await;
        let thief = Browser { cookie: browser.cookie.clone().map(|cookie| other_secret(&cookie)) };
        thief.open(&sessions).await.log_out().await.unwrap();
        assert_eq!(db.rows().await, 1, "{damage:?}");

        let session = browser.open(&sessions).await;
        assert_eq!(session.log_out().await.unwrap().ended, 1, "{damage:?}");
        assert_eq!(db.rows().await, 0, "{damage:?}");
        session.insert("message", "good bye").unwrap();
        browser.finish(&session).await;
        assert_eq!(browser.open(&sessions).await.keys(), ["message"]);
        browser.open(&sessions).await.log_out().await.unwrap();

        let (mut browser, _) = unreadable(&db, &sessions, damage).await;
        let session = browser.open(&sessions).await;
        session.log_out().await.unwrap();
        browser.finish(&session).await;
        assert_eq!(browser.cookie, None);
    }
}

/// The same id with another secret.
fn other_secret(cookie: &str) -> String {
    let last = if cookie.ends_with('A') { 'B' } else { 'A' };
    format!("{}{last}", &cookie[..cookie.len() - 1])
}

/// The browser is a visitor's, and gets a session with the next log-in.
async fn a_secret_that_cannot_be_read_is_nobodys(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::hash(&db) {
        let (mut browser, id) = unreadable(&db, &sessions, damage).await;
        let session = browser.open(&sessions).await;
        assert_eq!((session.id(), session.get::<Value>("a").unwrap()), (None, None));
        session.log_in("ada").await.unwrap();
        browser.finish(&session).await;
        let session = browser.open(&sessions).await;
        assert_eq!(session.devices().await.unwrap().len(), 2);
        assert!(session.log_out_device(id).await.unwrap());
        session.log_out().await.unwrap();
    }
}

/// No application can have such a realm: the row is like another application's.
async fn a_realm_that_is_none_is_nobodys(db: Db) {
    let sessions = db.sessions().await;
    let invalid = (!db.is_postgres()).then_some("realm = cast(x'ff' as text)");
    for set in ["realm = 'Back Office'", "realm = 'id'"].into_iter().chain(invalid) {
        let damage = Damage { postgres: Some(set), sqlite: Some(set), column: None };
        let (mut browser, id) = unreadable(&db, &sessions, damage).await;
        let session = browser.open(&sessions).await;
        assert_eq!((session.id(), session.get::<Value>("a").unwrap()), (None, None));
        assert!(sessions.find(id).await.unwrap().is_none());
        assert!(!sessions.revoke(id).await.unwrap());
        session.log_in("ada").await.unwrap();
        browser.finish(&session).await;
        assert_eq!(browser.open(&sessions).await.devices().await.unwrap().len(), 1);
        sessions.revoke_all().await.unwrap();
        db.pass(Duration::from_secs(90_000)).await;
        assert_eq!(sessions.sweep().await.unwrap().rows, 1);
    }
}

async fn an_operator_is_told(db: Db) {
    let capture = Capture::begin();
    let sessions = db.sessions().await;
    for damage in Damage::unreadable(&db).chain(Damage::hash(&db)) {
        let (browser, id) = unreadable(&db, &sessions, damage).await;
        browser.open(&sessions).await;
        let events = capture.events("a row cannot be read", &id.to_string());
        assert_eq!(events.len(), 1, "{damage:?}");
        assert_eq!(events[0]["message"], "WARN");
        let error = events[0]["error"].as_str().unwrap();
        assert!(error.contains(damage.column.unwrap()) && !error.contains(SECRET), "{error}");
    }
}
