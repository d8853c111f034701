//! Each event of the table in the docs of the crate that does not concern HTTP, in each of its forms.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use sessile::{Client, Error, OnLimit, Result, SessionId, minutes};

use crate::{
    capture::Capture,
    leak::token,
    support::{
        Browser, Db, cases,
        tap::{Hook, Verb},
    },
};

cases! {
    a_refused_cookie_is_told_with_its_reason,
    a_refused_write_is_told_with_its_reason,
    a_refused_log_in_is_told_with_its_reason,
    a_log_in_of_several_requests_is_told_from_its_beginning,
    touches_that_are_lost_are_told,
    every_revocation_is_told_with_its_reason,
    a_sweep_is_told_by_its_rows,
    a_failing_database_is_told_by_its_verb,
}

/// A user id that no other test has.
fn user_id() -> String {
    format!("user {}", uuid::Uuid::now_v7())
}

/// None of these events is above debug level, because every client can cause them.
async fn a_refused_cookie_is_told_with_its_reason(db: Db) {
    let logs = Capture::begin();
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::with(&sessions, "n", json!(1)).await;
    let old = browser.clone();
    let session = browser.open(&sessions).await;
    session.renew().await.unwrap();
    browser.finish(&session).await;
    old.open(&sessions).await;
    db.pass(minutes(1)).await;
    old.open(&sessions).await;
    let (other, other_id) = Browser::with(&sessions, "n", json!(2)).await;
    let both = [&browser, &other].map(|browser| browser.cookie.as_deref().unwrap().as_bytes());
    sessions.open(both, Client::new()).await.unwrap();
    sessions.revoke(id).await.unwrap();
    browser.open(&sessions).await;
    let expected = ["superseded", "wrong secret", "the request brought another live one", "ended"]
        .map(|reason| json!({"message": "DEBUG", "session_id": id, "reason": reason}));
    assert_eq!(logs.events("cookie refused", &id.to_string()), expected);
    assert_eq!(logs.events("cookie refused", &other_id.to_string()).len(), 1);

    sessions.open([&b"nonsense"[..]], Client::new()).await.unwrap();
    let malformed = json!({"message": "DEBUG", "reason": "malformed"});
    assert!(logs.events("cookie refused", "malformed").contains(&malformed));
    let many: Vec<String> = (0..5).map(|n| token(&id.as_uuid().into_bytes(), &[n; 32])).collect();
    sessions.open(many.iter().map(String::as_bytes), Client::new()).await.unwrap();
    let many = json!({"message": "DEBUG", "reason": "more than four of that name"});
    assert!(logs.events("cookie refused", "more than four").contains(&many));
}

async fn a_refused_write_is_told_with_its_reason(db: Db) {
    let logs = Capture::begin();
    let sessions = db.sessions().await;
    let (browser, id) = Browser::with(&sessions, "n", json!(1)).await;
    let (overtaken, ended) = (browser.open(&sessions).await, browser.open(&sessions).await);
    browser.open(&sessions).await.renew().await.unwrap();
    for write in ["renew", "save"] {
        overtaken.insert("n", 2).unwrap();
        match write {
            "renew" => overtaken.renew().await.unwrap_err(),
            _ => overtaken.save().await.unwrap_err(),
        };
    }
    sessions.revoke(id).await.unwrap();
    ended.insert("n", 3).unwrap();
    ended.save().await.unwrap_err();
    // The second write of the superseded handle asked no store, because the handle knew already.
    let expected = ["superseded", "ended"]
        .map(|reason| json!({"message": "DEBUG", "session_id": id, "reason": reason}));
    assert_eq!(logs.events("write refused", &id.to_string()), expected);
}

/// Only a client with the password can cause these events.
async fn a_refused_log_in_is_told_with_its_reason(db: Db) {
    let logs = Capture::begin();
    let user_id = user_id();
    let builder = db.builder().await.sessions_per_user(1, OnLimit::Refuse);
    let sessions = builder.build().unwrap();
    let late = Browser::default().open(&sessions).await;
    sessions.revoke_user(&user_id).await.unwrap();
    late.log_in(&user_id).await.unwrap_err();
    db.pass_for_cutoffs(minutes(1)).await;
    Browser::logged_in(&sessions, &user_id).await;
    Browser::default().open(&sessions).await.log_in(&user_id).await.unwrap_err();
    let expected = ["revoked since the authentication began", "limit of sessions"]
        .map(|reason| json!({"message": "WARN", "user_id": user_id, "reason": reason}));
    assert_eq!(logs.events("log-in refused", &user_id), expected);
}

async fn a_log_in_of_several_requests_is_told_from_its_beginning(db: Db) {
    let logs = Capture::begin();
    let sessions = db.sessions().await;
    let user_id = user_id();
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    // The call creates the session, …
    session.begin_log_in().user(&user_id).await.unwrap();
    browser.finish(&session).await;
    let id = session.id().unwrap();
    // … or begins again in an existing one.
    let session = browser.open(&sessions).await;
    session.begin_log_in().await.unwrap();
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    session.complete_log_in_as(&user_id).await.unwrap();
    let about = id.to_string();
    let begun = [
        json!({"message": "DEBUG", "session_id": id, "user_id": user_id}),
        json!({"message": "DEBUG", "session_id": id}),
    ];
    assert_eq!(logs.events("log-in begun", &about), begun);
    assert_eq!(
        logs.events("session created", &about),
        [json!({"message": "DEBUG", "session_id": id})]
    );
    assert!(logs.events("session renewed", &about).is_empty(), "it is no renewal");
    let logged_in = json!({"message": "INFO", "session_id": id, "user_id": user_id, "ended": 0});
    assert_eq!(logs.events("logged in", &about), [logged_in]);
}

async fn every_revocation_is_told_with_its_reason(db: Db) {
    let logs = Capture::begin();
    let builder = db.builder().await.sessions_per_user(2, OnLimit::EndOldest);
    let sessions = builder.build().unwrap();
    let user_id = user_id();
    let log_in = async || {
        db.pass_for_cutoffs(minutes(1)).await;
        let (browser, id) = Browser::logged_in(&sessions, &user_id).await;
        (browser.open(&sessions).await, id)
    };
    let told = |scope: &str, id: Option<SessionId>, reason: &str, ended: u32| {
        let mut event = json!({"message": "INFO", "scope": scope, "user_id": user_id, "reason": reason, "ended": ended});
        if let Some(id) = id {
            event["session_id"] = json!(id);
        }
        event
    };
    let (_, first) = log_in().await;
    let (_, second) = log_in().await;
    let (session, third) = log_in().await;
    session.log_out_device(second).await.unwrap();
    session.log_out_others().await.unwrap();
    session.log_out_everywhere().await.unwrap();
    let (_, fourth) = log_in().await;
    sessions.revoke_others(&user_id, fourth).await.unwrap();
    sessions.revoke_user(&user_id).await.unwrap();
    let expected = [
        told("session", Some(first), "limit", 1),
        told("session", Some(second), "logged out from another device", 1),
        told("others", Some(third), "logged out others", 0),
        told("user", None, "logged out everywhere", 1),
        told("others", Some(fourth), "revoked", 0),
        told("user", None, "revoked", 1),
    ];
    assert_eq!(logs.events("sessions revoked", &user_id), expected);

    // None of these events names a user.
    for reason in ["logged out", "revoked"] {
        let (session, id) = log_in().await;
        match reason {
            "revoked" => drop(sessions.revoke(id).await.unwrap()),
            _ => drop(session.log_out().await.unwrap()),
        }
        assert_eq!(
            logs.events("sessions revoked", &id.to_string()),
            [
                json!({"message": "INFO", "scope": "session", "session_id": id, "reason": reason, "ended": 1})
            ]
        );
    }
    sessions.revoke_all().await.unwrap();
    let all = json!({"message": "INFO", "scope": "all", "reason": "revoked", "ended": 0});
    assert!(logs.events("sessions revoked", "all").contains(&all));
}

async fn a_sweep_is_told_by_its_rows(db: Db) {
    // A number of rows that no other test deletes.
    const ROWS: usize = 37;
    let sessions = db.sessions().await;
    for n in 0..ROWS {
        Browser::with(&sessions, "n", json!(n)).await;
    }
    db.pass(sessile::hours(2)).await;
    let logs = Capture::begin();
    sessions.sweep().await.unwrap();
    sessions.sweep().await.unwrap();
    let swept = logs.events("swept", "rows");
    let ours = swept.iter().find(|event| event["rows"] == ROWS).expect("the sweep was told");
    assert_eq!((&ours["message"], &ours["batches"]), (&json!("INFO"), &json!(1)));
    assert!(ours["elapsed_ms"].is_u64());
    let nothing = |event: &Value| event["rows"] == 0 && event["message"] == "DEBUG";
    assert!(swept.iter().any(nothing));
}

/// A database that says why it fails.
#[derive(Debug)]
struct Broken(String);

#[async_trait]
impl Hook for Broken {
    async fn before(&self, _: Verb) -> Result<()> {
        Err(Error::database(sqlx::Error::Protocol(self.0.clone())))
    }
}

async fn a_failing_database_is_told_by_its_verb(db: Db) {
    let (browser, _) = Browser::with(&db.sessions().await, "n", json!(1)).await;
    let why = user_id();
    let sessions = db.tapped(&Arc::new(Broken(why.clone()))).build().unwrap();
    let logs = Capture::begin();
    browser.try_open(&sessions).await.unwrap_err();
    sessions.sweep().await.unwrap_err();
    let mut events = logs.events("session database failed", &why);
    for event in &mut events {
        assert!(event["source"].take().as_str().unwrap().contains(&why));
    }
    let expected = ["load", "file_events"].map(|verb| {
        json!({"message": "ERROR", "verb": verb, "error": "the session database failed", "source": null})
    });
    assert_eq!(events, expected);
}

/// A database that refuses every touch, and says why.
#[derive(Debug)]
struct Untouched(String);

#[async_trait]
impl Hook for Untouched {
    async fn before(&self, verb: Verb) -> Result<()> {
        match verb {
            Verb::Touch => Err(Error::database(sqlx::Error::Protocol(self.0.clone()))),
            _ => Ok(()),
        }
    }
}

async fn touches_that_are_lost_are_told(db: Db) {
    let sessions = db.tapped(&Arc::new(Untouched("no touch".to_owned()))).build().unwrap();
    let (browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    db.pass(minutes(10)).await;
    let logs = Capture::begin();
    browser.open(&sessions).await.finish().await.unwrap();
    let told = async {
        while logs.events("touches lost", "error").is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), told).await.expect("it is told");
    let expected = json!({"message": "WARN", "error": "the session database failed"});
    assert!(logs.events("touches lost", "error").contains(&expected));
}
