use serde_json::json;
use sessile::{ErrorKind, OnLimit};

use super::{events, log_in, lynx, new_events, sessions_of};
use crate::support::{Browser, Db, cases};

cases! {
    a_log_in_and_a_log_out_are_events,
    nothing_of_a_visitor_without_a_user_is_an_event,
    another_user_in_the_same_browser_is_a_log_out_of_the_first,
    a_confirmation_of_the_password_is_an_event,
    a_refused_log_in_is_an_event_and_nothing_else,
    the_limit_of_sessions_is_a_reason,
    a_log_in_whose_event_cannot_be_written_has_not_happened,
    nothing_is_recorded_if_the_policy_says_so,
}

async fn a_log_in_and_a_log_out_are_events(db: Db) {
    let sessions = db.sessions().await;
    let before = db.clock().await;
    let mut browser = Browser::default();
    log_in(&mut browser, &sessions, "ada").await;
    let id = browser.open(&sessions).await.id().unwrap();
    assert_eq!(events(&db).await, ["logged_in |  | session | ada | 192.0.2.7 | Lynx | - | user"]);
    assert_eq!(sessions_of(&db, "logged_in").await, [id.to_string()]);
    let at = db
        .number(
            "select (extract(epoch from at) * 1000000)::bigint from sessile.session_events",
            "select at from session_events_raw",
        )
        .await;
    assert!((before..=db.clock().await).contains(&at), "{before} {at}");

    new_events(&db).await;
    browser.open(&sessions).await.log_out().await.unwrap();
    assert_eq!(events(&db).await, ["logged_out |  | session | ada | 192.0.2.7 | Lynx | - | user"]);
    assert_eq!(sessions_of(&db, "logged_out").await, [id.to_string()]);
}

/// Nor is any write of a session.
async fn nothing_of_a_visitor_without_a_user_is_an_event(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    let session = browser.open(&sessions).await;
    session.update("n", |n: &mut u32| *n += 1).await.unwrap();
    session.renew().await.unwrap();
    browser.finish(&session).await;
    browser.open(&sessions).await.log_out().await.unwrap();
    let (ada, _) = Browser::logged_in(&sessions, "ada").await;
    new_events(&db).await;
    ada.open(&sessions).await.update("n", |n: &mut u32| *n += 1).await.unwrap();
    assert_eq!(events(&db).await, [""; 0]);
}

async fn another_user_in_the_same_browser_is_a_log_out_of_the_first(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = Browser::default();
    log_in(&mut browser, &sessions, "ada").await;
    log_in(&mut browser, &sessions, "ada").await;
    let again = "logged_in |  | session | ada | 192.0.2.7 | Lynx | - | user";
    assert_eq!(new_events(&db).await, [again, again]);
    log_in(&mut browser, &sessions, "bob").await;
    assert_eq!(
        events(&db).await,
        [
            "logged_in |  | session | bob | 192.0.2.7 | Lynx | - | user",
            "logged_out |  | session | ada | 192.0.2.7 | Lynx | another user logged in | user",
        ]
    );
}

async fn a_confirmation_of_the_password_is_an_event(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = Browser::default();
    log_in(&mut browser, &sessions, "ada").await;
    new_events(&db).await;
    let session = browser.open(&sessions).await;
    session.reauthenticate().await.unwrap();
    assert_eq!(
        events(&db).await,
        ["reauthenticated |  | session | ada | 192.0.2.7 | Lynx | - | user"]
    );
    // A failed one is none.
    sessions.revoke_user("ada").await.unwrap();
    new_events(&db).await;
    session.reauthenticate().await.unwrap_err();
    assert_eq!(events(&db).await, [""; 0]);
}

async fn a_refused_log_in_is_an_event_and_nothing_else(db: Db) {
    let sessions = db.builder().await.sessions_per_user(1, OnLimit::Refuse).build().unwrap();
    Browser::logged_in(&sessions, "ada").await;
    new_events(&db).await;
    let session = sessions.open([] as [&[u8]; 0], lynx()).await.unwrap();
    let error = session.log_in("ada").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManySessions);
    assert_eq!(
        new_events(&db).await,
        ["refused |  | - | ada | 192.0.2.7 | Lynx | limit of sessions | user"]
    );
    sessions.revoke_user("ada").await.unwrap();
    new_events(&db).await;
    let error = session.log_in("ada").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LogInRefused);
    assert_eq!(
        events(&db).await,
        ["refused |  | - | ada | 192.0.2.7 | Lynx | revoked since the authentication began | user"]
    );
    assert_eq!(db.rows().await, 0);
}

async fn the_limit_of_sessions_is_a_reason(db: Db) {
    let sessions = db.builder().await.sessions_per_user(2, OnLimit::EndOldest).build().unwrap();
    let mut first = Browser::default();
    log_in(&mut first, &sessions, "ada").await;
    let id = first.open(&sessions).await.id().unwrap();
    Browser::logged_in(&sessions, "ada").await;
    new_events(&db).await;
    Browser::logged_in(&sessions, "ada").await;
    assert_eq!(
        events(&db).await,
        [
            "logged_in |  | session | ada | - | - | - | user",
            "revoked |  | session | ada | 192.0.2.7 | Lynx | limit of sessions | application",
        ]
    );
    assert_eq!(sessions_of(&db, "revoked").await, [id.to_string()]);
}

/// They are one transaction.
async fn a_log_in_whose_event_cannot_be_written_has_not_happened(db: Db) {
    let sessions = db.sessions().await;
    let (ada, _) = Browser::logged_in(&sessions, "ada").await;
    let (guest, _) = Browser::with(&sessions, "n", json!(1)).await;
    db.run(
        "alter table sessile.session_event_inbox add check (event = 'never') not valid",
        "create trigger never before insert on session_event_inbox begin select raise(abort, 'never'); end",
    )
    .await;
    for browser in [&guest, &Browser::default()] {
        let session = browser.open(&sessions).await;
        assert_eq!(session.log_in("bob").await.unwrap_err().kind(), ErrorKind::Database);
    }
    assert_eq!(sessions.count_of_user("bob").await.unwrap(), 0);
    assert_eq!(guest.open(&sessions).await.user_id(), None);
    let session = ada.open(&sessions).await;
    session.log_out().await.unwrap_err();
    session.reauthenticate().await.unwrap_err();
    session.log_out_everywhere().await.unwrap_err();
    sessions.revoke_user("ada").await.unwrap_err();
    sessions.revoke_all().await.unwrap_err();
    db.pass(sessile::days(60)).await;
    sessions.sweep().await.unwrap_err();
    assert_eq!(db.rows().await, 2);
}

async fn nothing_is_recorded_if_the_policy_says_so(db: Db) {
    let sessions = db
        .builder()
        .await
        .sessions_per_user(1, OnLimit::EndOldest)
        .record_events(false)
        .build()
        .unwrap();
    let (mut ada, _) = Browser::logged_in(&sessions, "ada").await;
    let old = ada.clone();
    let session = ada.open(&sessions).await;
    session.reauthenticate().await.unwrap();
    ada.finish(&session).await;
    assert!(old.open(&sessions).await.is_superseded());
    ada.open(&sessions).await.log_out_others().await.unwrap();
    Browser::logged_in(&sessions, "ada").await;
    let (bob, id) = Browser::logged_in(&sessions, "bob").await;
    bob.open(&sessions).await.log_out().await.unwrap();
    sessions.revoke(id).await.unwrap();
    sessions.revoke_user("ada").reason("none is kept").await.unwrap();
    sessions.revoke_all().await.unwrap();
    Browser::logged_in(&sessions, "eve").await;
    db.pass(sessile::days(60)).await;
    assert_eq!(sessions.sweep().await.unwrap().rows, 1);
    assert_eq!(events(&db).await, [""; 0]);
}
