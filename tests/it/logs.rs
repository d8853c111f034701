//! The events of a session's life. Promise 3 covers that none of them contains a secret.

use serde_json::{Value, json};
use sessile::{OnLimit, Schedule, hours};

use crate::{
    capture::Capture,
    support::{Browser, Db, cases},
};

cases! { a_life_is_logged_by_public_id, spans_have_the_names_of_opentelemetry }

async fn a_life_is_logged_by_public_id(db: Db) {
    let capture = Capture::begin();
    let sessions = db.builder().await.sessions_per_user(1, OnLimit::EndOldest).build().unwrap();
    let ada = format!("ada of {}", uuid::Uuid::now_v7());
    let (mut browser, id) = Browser::with(&sessions, "a", json!(1)).await;
    let id = id.to_string();
    let old = browser.clone();
    let session = browser.open(&sessions).await;
    session.log_in(&ada).await.unwrap();
    session.renew().await.unwrap();
    session.reauthenticate().await.unwrap();
    browser.finish(&session).await;
    old.open(&sessions).await;
    let held = browser.open(&sessions).await;
    let (_, other) = Browser::logged_in(&sessions, &ada).await;
    held.insert("late", 1).unwrap();
    held.save().await.unwrap_err();
    let late = Browser::default().open(&sessions).await;
    sessions.revoke_user(&ada).await.unwrap();
    late.log_in(&ada).await.unwrap_err();
    Browser { cookie: Some("nonsense".to_owned()) }.open(&sessions).await;
    sessions.cleanup(Schedule::every(hours(1))).run_once().await.unwrap();

    let expected = [
        ("session created", &id, json!({"message": "DEBUG", "session_id": id})),
        (
            "logged in",
            &id,
            json!({"message": "INFO", "session_id": id, "user_id": ada, "ended": 0}),
        ),
        ("session renewed", &id, json!({"message": "INFO", "session_id": id, "user_id": ada})),
        ("reauthenticated", &id, json!({"message": "INFO", "session_id": id, "user_id": ada})),
        (
            "cookie refused",
            &id,
            json!({"message": "DEBUG", "session_id": id, "reason": "wrong secret"}),
        ),
        (
            "sessions revoked",
            &id,
            json!({"message": "INFO", "scope": "session", "session_id": id,
            "user_id": ada, "reason": "limit", "ended": 1}),
        ),
        ("write refused", &id, json!({"message": "DEBUG", "session_id": id, "reason": "ended"})),
        (
            "log-in refused",
            &ada,
            json!({"message": "WARN", "user_id": ada,
            "reason": "revoked since the authentication began"}),
        ),
    ];
    for (message, about, fields) in expected {
        assert_eq!(capture.events(message, about), [fields], "{message}");
    }
    let other = other.to_string();
    assert_eq!(capture.events("logged in", &other)[0]["ended"], json!(1));
    let revoked: Vec<Value> = capture.events("sessions revoked", &ada);
    assert!(
        revoked.contains(
            &json!({"message": "INFO", "scope": "user", "user_id": ada, "reason": "revoked",
        "ended": 1})
        ),
        "{revoked:?}"
    );
    assert!(!capture.events("cookie refused", "malformed").is_empty());
    assert!(!capture.events("swept", "batches").is_empty());
}

async fn spans_have_the_names_of_opentelemetry(db: Db) {
    let capture = Capture::begin();
    let sessions = db.sessions().await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    browser.open(&sessions).await;
    db.run("drop table sessile.sessions cascade", "drop table sessions").await;
    browser.try_open(&sessions).await.unwrap_err();

    let system = if db.is_postgres() { "postgresql" } else { "sqlite" };
    let (lines, id) = (capture.text(), id.to_string());
    let ended = |verb: &str| -> Vec<Value> {
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .filter(|line| line["target"] == "sessile" && line["fields"]["message"] == "close")
            .map(|mut line| line["span"].take())
            .filter(|span| span["name"] == verb && span["session_id"] == *id)
            .collect()
    };
    let span = |verb: &str| {
        json!({"name": verb, "session_id": id, "otel.name": format!("{verb} sessions"), "otel.kind": "client",
            "db.system.name": system, "db.operation.name": verb})
    };
    assert_eq!(ended("log_in"), [span("log_in")]);
    let mut failed = span("load");
    failed["error.type"] = json!("schema");
    failed["otel.status_code"] = json!("ERROR");
    assert_eq!(ended("load"), [span("load"), failed]);
}
