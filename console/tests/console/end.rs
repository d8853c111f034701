//! Ending sessions, and what the events say of it.

use axum::http::StatusCode;
use sessile_admin::{Database, Event, EventFilter};

use crate::{
    browser::{BASE, Browser},
    pages::{FIREFOX, shows},
    support::{self, Db, log_in, visit},
};

support::cases! {
    one_session,
    all_sessions_of_a_user_in_every_realm,
    all_sessions_of_everybody_in_one_realm,
    a_reason_is_needed,
    a_session_that_has_ended_already,
    a_user_without_sessions,
}

async fn revocations(db: &Db) -> Vec<Event> {
    let filter = EventFilter { events: vec!["revoked".into()], ..EventFilter::default() };
    Database::open(&db.url).await.unwrap().events(&filter).await.unwrap().events
}

async fn one_session(db: Db) {
    let (sessions, office) = (db.sessions().await, db.sessions_of("office").await);
    let stays = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    let browser = Browser::of(&db).await;
    for (sessions, realm) in [(&sessions, ""), (&office, "office")] {
        let id = log_in(sessions, "ada", "203.0.113.7", FIREFOX).await;
        let path = format!("/session/{id}/end?user=ada");
        let page = browser.page(&path).await;
        shows(
            &page,
            &[
                "This ends 1 session of <strong><bdi>ada</bdi></strong>",
                "Firefox on Linux",
                "console:grace",
            ],
        );
        assert!(
            sessions.find(id.into()).await.unwrap().is_some(),
            "to look at the page ends nothing"
        );
        let answer = browser.submit(&path, &[("reason", "  a lost laptop ")]).await;
        assert_eq!(answer.location(), format!("{BASE}/session/{id}?user=ada&ended=1"));
        let page = browser.page(answer.location()).await;
        shows(
            &page,
            &["1 session ended.", "A session that is over", "a lost laptop", "console:grace"],
        );
        assert!(sessions.find(id.into()).await.unwrap().is_none());
        let event =
            revocations(&db).await.into_iter().find(|event| event.session_id == Some(id)).unwrap();
        assert_eq!(
            (event.reason.as_deref(), event.actor.as_deref()),
            (Some("a lost laptop"), Some("console:grace"))
        );
        assert_eq!(event.realm, realm);
    }
    let anonymous = visit(&sessions).await;
    let path = format!("/session/{anonymous}/end");
    shows(&browser.page(&path).await, &["somebody who is not logged in"]);
    browser.submit(&path, &[("reason", "a test")]).await.location();
    assert!(sessions.find(anonymous.into()).await.unwrap().is_none());
    assert!(sessions.find(stays.into()).await.unwrap().is_some());
}

async fn all_sessions_of_a_user_in_every_realm(db: Db) {
    let (sessions, office) = (db.sessions().await, db.sessions_of("office").await);
    for sessions in [&sessions, &sessions, &office] {
        log_in(sessions, "ada", "203.0.113.7", FIREFOX).await;
    }
    log_in(&sessions, "bob", "203.0.113.7", FIREFOX).await;
    let browser = Browser::of(&db).await;
    let page = browser.page("/user/end?id=ada").await;
    shows(
        &page,
        &["<strong>3 sessions</strong> of <strong><bdi>ada</bdi></strong>", "End 3 sessions"],
    );
    let answer = browser.submit("/user/end?id=ada", &[("reason", "it was stolen")]).await;
    assert_eq!(answer.location(), format!("{BASE}/user?id=ada&ended=3"));
    shows(
        &browser.page(answer.location()).await,
        &["3 sessions ended.", "not logged in anywhere", "it was stolen"],
    );
    assert!(
        sessions.of_user("ada").await.unwrap().is_empty()
            && office.of_user("ada").await.unwrap().is_empty()
    );
    assert_eq!(sessions.of_user("bob").await.unwrap().len(), 1);
    let events = revocations(&db).await;
    assert_eq!(events.len(), 5, "one for each session, one for each realm");
    assert!(events.iter().all(|event| event.actor.as_deref() == Some("console:grace")));
}

async fn all_sessions_of_everybody_in_one_realm(db: Db) {
    let (sessions, office) = (db.sessions().await, db.sessions_of("office").await);
    for sessions in [&sessions, &office, &office] {
        log_in(sessions, "ada", "203.0.113.7", FIREFOX).await;
    }
    visit(&office).await;
    let browser = Browser::of(&db).await;
    let fields = [("reason", "a backup was stolen"), ("realm", "office")];
    for words in ["", "end all", "END ALL SESSIONS", "end all sessions of ada"] {
        let answer = browser.submit("/end", &[&fields[..], &[("words", words)]].concat()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        shows(&answer.body, &["The words are not the same", "value=\"office\" checked"]);
    }
    assert_eq!(office.count().await.unwrap(), 3);
    let words = [("words", " end all sessions ")];
    let answer = browser.submit("/end", &[&fields[..], &words].concat()).await;
    assert_eq!(answer.location(), format!("{BASE}/?ended=3"));
    shows(&browser.page(answer.location()).await, &["3 sessions ended."]);
    assert_eq!((office.count().await.unwrap(), sessions.count().await.unwrap()), (0, 1));
    let unknown = [("realm", "Not A Realm"), ("reason", "x"), ("words", "end all sessions")];
    assert_eq!(browser.submit("/end", &unknown).await.status, StatusCode::BAD_REQUEST);
    let rest = [("realm", ""), ("reason", "x"), ("words", "end all sessions")];
    assert_eq!(browser.submit("/end", &rest).await.location(), format!("{BASE}/?ended=1"));
    assert_eq!(sessions.count().await.unwrap(), 0);
}

async fn a_reason_is_needed(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    let browser = Browser::of(&db).await;
    let long = "ü".repeat(251);
    for path in [format!("/session/{id}/end"), "/user/end?id=ada".to_owned(), "/end".to_owned()] {
        for (reason, wrong) in [
            ("", "Give a reason"),
            ("   ", "Give a reason"),
            (long.as_str(), "too long"),
            ("a\nb", "control character"),
            ("a\0b", "control character"),
        ] {
            let answer =
                browser.submit(&path, &[("reason", reason), ("words", "end all sessions")]).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path} {reason:?}");
            shows(
                &answer.body,
                &[
                    wrong,
                    "role=\"alert\"",
                    "aria-invalid=\"true\"",
                    &format!("name=\"reason\" value=\"{reason}\""),
                ],
            );
        }
    }
    assert_eq!(sessions.count().await.unwrap(), 1);
    let longest = "ü".repeat(250);
    browser.submit("/user/end?id=ada", &[("reason", &longest)]).await.location();
    assert_eq!(revocations(&db).await[0].reason.as_deref(), Some(longest.as_str()));
}

async fn a_session_that_has_ended_already(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    let browser = Browser::of(&db).await;
    let path = format!("/session/{id}/end?user=ada");
    let token =
        crate::browser::between(&browser.page(&path).await, "name=\"token\" value=\"", "\"")
            .to_owned();
    sessions.revoke(id.into()).await.unwrap();
    let answer = browser.post(&path, &[], &[("token", &token), ("reason", "x")]).await;
    assert_eq!(answer.location(), format!("{BASE}/session/{id}?user=ada&ended=0"));
    shows(&browser.page(answer.location()).await, &["no active session left to end"]);
    assert_eq!(browser.get(&path).await.location(), answer.location(), "there is nothing to ask");
    assert_eq!(revocations(&db).await.len(), 1);
}

async fn a_user_without_sessions(db: Db) {
    db.sessions().await;
    let browser = Browser::of(&db).await;
    shows(&browser.page("/user/end?id=ada").await, &["<strong>0 sessions</strong>"]);
    let answer = browser.submit("/user/end?id=ada", &[("reason", "in flight")]).await;
    assert_eq!(answer.location(), format!("{BASE}/user?id=ada&ended=0"));
    assert_eq!(
        revocations(&db).await[0].reason.as_deref(),
        Some("in flight"),
        "it refuses log-ins in flight"
    );
}
