//! The console on Postgres as somebody who is a member of only one of the roles of docs/roles.sql.

use axum::http::StatusCode;
use sessile_admin::{Database, EventFilter};

use crate::{
    browser::{Browser, FORMS, ROUTES},
    pages::{FIREFOX, shows},
    shipped::Shipped,
    support::{Db, log_in},
};

/// The same database, as this member.
async fn as_member(db: &Db, roles: &Shipped, role: &str) -> Db {
    Db { url: roles.member_of(role).await, ..db.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_sees_every_page_and_ends_nothing() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await.to_string();
    let roles = Shipped::on(&db.url).await;
    let viewer = as_member(&db, &roles, "sessile_viewer").await;
    let browser = Browser::of(&viewer).await;
    for path in ROUTES.iter().filter(|path| !path.contains("nothing")) {
        let answer = browser.get(&path.replace("{id}", &id)).await;
        assert!(answer.status.is_success() || answer.status.is_redirection(), "{path}: {answer:?}");
    }
    for path in FORMS {
        let path = path.replace("{id}", &id);
        let fields = [("reason", "a test"), ("words", "end all sessions")];
        let answer = browser.submit(&path, &fields).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        shows(&answer.body, &["The database refuses", "permission denied"]);
    }
    assert_eq!(sessions.of_user("ada").await.unwrap().len(), 1);
    assert!(!Database::open(&viewer.url).await.unwrap().may_end().await.unwrap());
    db.drop().await;
    roles.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_sessions_with_each_form() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let roles = Shipped::on(&db.url).await;
    let operator = as_member(&db, &roles, "sessile_operator").await;
    let browser = Browser::of(&operator).await;
    let role = format!("role:{}", roles.name("of_sessile_operator"));
    for path in FORMS {
        let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
        let path = path.replace("{id}", &id.to_string());
        // The page tells the name that the events will have.
        shows(&browser.page(&path).await, &[&role]);
        let fields = [("reason", "a lost laptop"), ("words", "end all sessions")];
        let answer = browser.submit(&path, &fields).await;
        assert!(answer.location().ends_with("ended=1"), "{path}: {answer:?}");
        assert!(sessions.find(id.into()).await.unwrap().is_none(), "{path}");
    }
    let filter = EventFilter { events: vec!["revoked".into()], ..EventFilter::default() };
    let events = Database::open(&operator.url).await.unwrap().events(&filter).await.unwrap().events;
    assert!(events.iter().all(|event| event.actor.as_deref() == Some(&role)), "{events:?}");
    assert!(events.iter().all(|event| event.reason.as_deref() == Some("a lost laptop")));
    db.drop().await;
    roles.drop().await;
}
