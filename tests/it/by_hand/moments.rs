//! Moments that a person has written: `infinity` is a wish that the library respects.

use std::time::Duration;

use sessile::{CookieChange, minutes};

use super::damage::{row, update};
use crate::support::{Browser, Db, cases};

cases! {
    a_session_without_an_absolute_end_goes_on,
    a_session_that_never_ends_stays,
    an_end_that_was_brought_forward_during_a_request_stays,
    a_cookie_of_a_session_that_never_ends,
}

const ABSOLUTE: [&str; 2] =
    ["absolute_expires_at = 'infinity'", "absolute_expires_at = 9223372036854775807"];
const FOREVER: [&str; 2] = [
    "absolute_expires_at = 'infinity', valid_until = 'infinity', expires_at = 'infinity'",
    "absolute_expires_at = 9223372036854775807, valid_until = 9223372036854775807, expires_at = 9223372036854775807",
];

async fn set(db: &Db, id: sessile::SessionId, [postgres, sqlite]: [&str; 2]) {
    assert_eq!(update(db, "sessions", Some(postgres), Some(sqlite), &row(db, id)).await, 1);
}

/// Each request moves its idle end.
async fn a_session_without_an_absolute_end_goes_on(db: Db) {
    let sessions = db.sessions().await;
    let far = ["absolute_expires_at = '20000-01-01'", "absolute_expires_at = 568971820800000"];
    for absolute in [ABSOLUTE, far] {
        let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
        set(&db, id, absolute).await;
        for _ in 0..40 {
            db.pass(minutes(50)).await;
            let session = browser.open(&sessions).await;
            assert_eq!(session.id(), Some(id));
            browser.finish(&session).await;
            sessions.flush().await.unwrap();
        }
        db.pass(minutes(70)).await;
        assert!(!browser.is_in(&sessions).await);
    }
}

async fn a_session_that_never_ends_stays(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    set(&db, id, FOREVER).await;
    db.pass(Duration::from_secs(365 * 86_400)).await;
    set(&db, id, FOREVER).await;
    assert_eq!(sessions.sweep().await.unwrap().rows, 0);
    let session = browser.open(&sessions).await;
    assert_eq!(session.expires_at().unwrap().to_rfc3339(), "9999-12-31T23:59:59.999+00:00");
    session.insert("a", 1).unwrap();
    browser.finish(&session).await;
    assert!(browser.is_in(&sessions).await);
    // Until its user says so.
    let session = browser.open(&sessions).await;
    session.reauthenticate().await.unwrap();
    browser.finish(&session).await;
    db.pass(minutes(61)).await;
    assert!(!browser.is_in(&sessions).await);
}

/// No write moves it back, and none fails for it.
async fn an_end_that_was_brought_forward_during_a_request_stays(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    db.pass(minutes(10)).await;
    let session = browser.open(&sessions).await;
    let soon = [
        "absolute_expires_at = now() + interval '1 minute', valid_until = now() + interval '1 minute'",
        "absolute_expires_at = (unixepoch() + 60) * 1000, valid_until = (unixepoch() + 60) * 1000",
    ];
    set(&db, id, soon).await;
    session.insert("a", 1).unwrap();
    browser.finish(&session).await;
    assert_eq!(browser.open(&sessions).await.get("a").unwrap(), Some(1));
    db.pass(minutes(2)).await;
    assert!(!browser.is_in(&sessions).await);
}

async fn a_cookie_of_a_session_that_never_ends(db: Db) {
    let sessions = db.builder().await.remember_me(minutes(60), minutes(600)).build().unwrap();
    let session = Browser::default().open(&sessions).await;
    session.log_in("ada").remember_me(true).await.unwrap();
    let CookieChange::Set { value, .. } = session.finish().await.unwrap() else { unreachable!() };
    let browser = Browser { cookie: Some(value) };
    set(&db, session.id().unwrap(), FOREVER).await;
    let session = browser.open(&sessions).await;
    session.renew().await.unwrap();
    let CookieChange::Set { max_age, .. } = session.finish().await.unwrap() else { unreachable!() };
    assert!(max_age.unwrap() > Duration::from_secs(7_000 * 365 * 86_400));
}
