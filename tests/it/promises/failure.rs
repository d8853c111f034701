use serde_json::json;
use sessile::{Client, CookieChange, ErrorKind, Schedule, Session, minutes};

use crate::support::{Browser, Db, Pool, cases, tap::Switch};

cases! {
    promise_09_a_failing_database_is_an_error_and_not_an_anonymous_visitor,
    promise_09_a_failing_write_keeps_the_cookie_and_what_was_recorded,
    promise_09_a_failing_touch_fails_no_request,
    promise_09_a_failing_log_in_changes_nothing,
    promise_09_everything_works_again_when_the_database_does,
    promise_09_a_pool_that_is_closed_is_an_error,
}

#[track_caller]
fn is_a_failure<T: std::fmt::Debug>(result: sessile::Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Database);
    assert!(error.is_transient());
    assert!(std::error::Error::source(&error).is_some());
}

async fn promise_09_a_failing_database_is_an_error_and_not_an_anonymous_visitor(db: Db) {
    let switch = Switch::new();
    let sessions = db.tapped(&switch).build().unwrap();
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    switch.off();
    is_a_failure(browser.try_open(&sessions).await);
    is_a_failure(sessions.of_user("ada").await);
    is_a_failure(sessions.find(id).await);
    is_a_failure(sessions.count().await);
    is_a_failure(sessions.revoke(id).await);
    is_a_failure(sessions.revoke_user("ada").await);
    is_a_failure(sessions.sweep().await);
    is_a_failure(sessions.cleanup(Schedule::every(minutes(1))).run_once().await);
    is_a_failure(sessions.migrate().await);
    // A request without a cookie needs no database.
    assert_eq!(sessions.open(None, Client::new()).await.unwrap().id(), None);
}

async fn promise_09_a_failing_write_keeps_the_cookie_and_what_was_recorded(db: Db) {
    let switch = Switch::new();
    let sessions = db.tapped(&switch).build().unwrap();
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    session.insert("n", 1).unwrap();
    switch.off();
    is_a_failure(session.save().await);
    is_a_failure(session.update("m", |m: &mut u64| *m += 1).await);
    is_a_failure(session.finish().await);
    still_hers(&session, Some(id));

    switch.on();
    browser.finish(&session).await;
    let after = browser.open(&sessions).await;
    assert_eq!((after.keys(), after.get("n").unwrap()), (vec!["n".to_owned()], Some(1)));

    // The layer does this instead of trying again.
    let session = browser.open(&sessions).await;
    session.insert("n", 2).unwrap();
    switch.off();
    is_a_failure(session.finish().await);
    assert_eq!(session.abandon(), CookieChange::Keep);
    switch.on();
    session.finish().await.unwrap();
    assert_eq!(browser.open(&sessions).await.get("n").unwrap(), Some(1));
}

async fn promise_09_a_failing_touch_fails_no_request(db: Db) {
    let switch = Switch::new();
    let sessions = db.tapped(&switch).build().unwrap();
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    db.pass(minutes(30)).await;
    let session = browser.open(&sessions).await;
    switch.off();
    assert_eq!(session.finish().await.unwrap(), CookieChange::Keep);
    still_hers(&session, Some(id));
    switch.on();
    browser.finish(&session).await;
    assert!(browser.is_in(&sessions).await);
}

async fn promise_09_a_failing_log_in_changes_nothing(db: Db) {
    let switch = Switch::new();
    let sessions = db.tapped(&switch).build().unwrap();
    let (mut browser, id) = Browser::with(&sessions, "cart", json!(1)).await;
    let session = browser.open(&sessions).await;
    switch.off();
    is_a_failure(session.log_in("ada").await);
    is_a_failure(session.renew().await);
    is_a_failure(session.log_out().await);
    assert_eq!((session.id(), session.user_id()), (Some(id), None));
    switch.on();
    let cookie = browser.cookie.clone();
    browser.finish(&session).await;
    assert_eq!(browser.cookie, cookie);
    assert!(browser.is_in(&sessions).await);
}

async fn promise_09_everything_works_again_when_the_database_does(db: Db) {
    let switch = Switch::new();
    let sessions = db.tapped(&switch).build().unwrap();
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    session.insert("n", 1).unwrap();
    for _ in 0..3 {
        switch.off();
        is_a_failure(session.save().await);
        is_a_failure(session.log_in("ada").await);
        is_a_failure(session.update("n", |n: &mut u64| *n += 1).await);
        switch.on();
    }
    session.log_in("ada").await.unwrap();
    session.update("n", |n: &mut u64| *n += 1).await.unwrap();
    browser.finish(&session).await;
    let after = browser.open(&sessions).await;
    assert_eq!(after.get("n").unwrap(), Some(2));
    assert_eq!(after.user_id().as_deref(), Some("ada"));
}

async fn promise_09_a_pool_that_is_closed_is_an_error(db: Db) {
    let sessions = sessile::Sessions::builder(db.backend()).build().unwrap();
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    match &db.pool {
        Pool::Postgres(pool) => pool.close().await,
        Pool::Sqlite(pool) => pool.close().await,
    }
    assert_eq!(browser.try_open(&sessions).await.unwrap_err().kind(), ErrorKind::Database);
    session.insert("n", 1).unwrap();
    assert_eq!(session.save().await.unwrap_err().kind(), ErrorKind::Database);
    assert_eq!(session.abandon(), CookieChange::Keep);
}

fn still_hers(session: &Session, id: Option<sessile::SessionId>) {
    assert_eq!(session.id(), id);
    assert_eq!(session.user_id().as_deref(), Some("ada"));
}
