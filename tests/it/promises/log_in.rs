use serde_json::json;
use sessile::{CookieChange, ErrorKind, Session, Sessions, minutes};

use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::support::{Browser, Db, cases};

cases! {
    and_wrapped:
    promise_04_a_log_in_renews_the_secret,
    promise_04_a_log_in_without_a_session_begins_one,
    promise_04_a_log_in_as_somebody_else_renews_the_secret,
    promise_04_a_reauthentication_renews_the_secret,
    promise_04_secret_user_and_authentication_change_together,
    promise_04_a_log_in_that_fails_renews_nothing,
    promise_04_a_request_from_before_the_log_in_does_not_become_the_user,
    promise_04_a_request_from_before_the_log_in_gets_no_new_secret,
    promise_04_a_request_from_before_a_renewal_gets_no_new_secret,
}

async fn promise_04_a_log_in_renews_the_secret(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::with(&sessions, "cart", json!({"tea": 2})).await;
    let old = browser.clone();
    let session = browser.open(&sessions).await;
    session.log_in("ada").await.unwrap();

    // Even before the response is sent.
    assert!(!old.is_in(&sessions).await);
    browser.finish(&session).await;
    assert_ne!(browser.cookie, old.cookie);
    let after = browser.open(&sessions).await;
    assert_eq!(after.id(), Some(id));
    assert_eq!(after.user_id().as_deref(), Some("ada"));
    assert_eq!(after.get("cart").unwrap(), Some(json!({"tea": 2})));
}

async fn promise_04_a_log_in_without_a_session_begins_one(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    session.insert("theme", "dark").unwrap();
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    let after = browser.open(&sessions).await;
    assert_eq!(after.user_id().as_deref(), Some("ada"));
    assert_eq!(after.keys(), ["theme"]);
    assert_eq!(db.rows().await, 1);
}

async fn promise_04_a_log_in_as_somebody_else_renews_the_secret(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let adas = browser.clone();
    let session = browser.open(&sessions).await;
    session.log_in("bob").await.unwrap();
    browser.finish(&session).await;
    assert!(!adas.is_in(&sessions).await);
    assert_eq!(browser.open(&sessions).await.user_id().as_deref(), Some("bob"));
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 0);
    assert_eq!(session.id(), Some(id));
}

async fn promise_04_a_reauthentication_renews_the_secret(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    db.pass(minutes(10)).await;
    let old = browser.clone();
    let session = browser.open(&sessions).await;
    let before = session.authenticated_at().unwrap();
    session.reauthenticate().await.unwrap();

    assert!(!old.is_in(&sessions).await);
    browser.finish(&session).await;
    let after = browser.open(&sessions).await;
    assert_eq!(after.id(), Some(id));
    assert_eq!(after.user_id().as_deref(), Some("ada"));
    assert!(after.authenticated_at().unwrap() >= before + minutes(10));
    after.require_recent(minutes(1)).unwrap();
}

/// Every reader of the row sees all three old values, or all three new ones.
async fn promise_04_secret_user_and_authentication_change_together(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "n", json!(0)).await;
    let before = row(&db).await;
    let (done, mut open) = oneshot::channel::<()>();
    let watched = db.clone();
    let watcher = tokio::spawn(async move {
        let mut seen = Vec::new();
        while open.try_recv() == Err(TryRecvError::Empty) {
            seen.push(row(&watched).await);
        }
        seen
    });
    let session = browser.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    let logged_in = row(&db).await;
    session.reauthenticate().await.unwrap();
    let reauthenticated = row(&db).await;
    drop(done);

    let columns = |row: &str| row.split('|').map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (columns(&before), columns(&logged_in));
    assert!(std::iter::zip(&first, &second).all(|(before, after)| before != after));
    assert_eq!((&*first[1], &*first[2]), ("-", "-"));
    assert_ne!(columns(&reauthenticated)[0], second[0]);
    let whole = [before, logged_in, reauthenticated];
    for seen in watcher.await.unwrap() {
        assert!(whole.contains(&seen), "{seen} is none of {whole:?}");
    }
}

/// Hash, user and authentication of the only row.
async fn row(db: &Db) -> String {
    db.texts(
        "select concat_ws('|', encode(secret_hash, 'hex'), coalesce(user_id, '-'), coalesce(authenticated_at::text, '-')) from sessile.sessions",
        "select hex(secret_hash) || '|' || coalesce(user_id, '-') || '|' || coalesce(authenticated_at, '-') from sessions",
    )
    .await
    .pop()
    .unwrap()
}

async fn promise_04_a_log_in_that_fails_renews_nothing(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, _) = Browser::with(&sessions, "n", json!(0)).await;
    let (before, old) = (row(&db).await, browser.clone());
    let session = browser.open(&sessions).await;
    sessions.revoke_user("ada").await.unwrap();
    let refused = session.log_in("ada").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LogInRefused);
    let invalid = session.log_in("").await.unwrap_err();
    assert_eq!(invalid.kind(), ErrorKind::InvalidUserId);
    let anonymous = session.reauthenticate().await.unwrap_err();
    assert_eq!(anonymous.kind(), ErrorKind::NotLoggedIn);
    assert_eq!(row(&db).await, before);
    browser.finish(&session).await;
    assert_eq!(browser.cookie, old.cookie);
    assert_eq!(session.user_id(), None);
}

/// An attacker who has planted an anonymous cookie in a visitor's browser sends a slow request with it, and
/// waits for the visitor to log in.
async fn promise_04_a_request_from_before_the_log_in_does_not_become_the_user(db: Db) {
    let sessions = db.sessions().await;
    let (planted, held) = held_while_ada_logs_in(&sessions).await;
    // The request writes, finds the row changed, and reads it again.
    held.update("n", |n: &mut u64| *n += 1).await.ok();
    held.refresh().await.ok();

    assert_eq!(held.user_id(), None);
    assert_eq!(held.authenticated_at(), None);
    assert!(held.require_recent(minutes(5)).is_err());
    assert!(held.devices().await.is_err());
    assert!(held.log_out_others().await.is_err());
    assert!(held.log_out_everywhere().await.is_err());
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
    assert!(!planted.is_in(&sessions).await);
}

async fn promise_04_a_request_from_before_the_log_in_gets_no_new_secret(db: Db) {
    let sessions = db.sessions().await;
    let (mut planted, held) = held_while_ada_logs_in(&sessions).await;
    held.update("n", |n: &mut u64| *n += 1).await.ok();
    held.renew().await.ok();
    held.reauthenticate().await.ok();
    gets_nothing(&sessions, &mut planted, &held).await;
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
}

/// A stolen cookie is in use while its owner renews.
async fn promise_04_a_request_from_before_a_renewal_gets_no_new_secret(db: Db) {
    let sessions = db.sessions().await;
    for by_reauthentication in [false, true] {
        let (owner, _) = Browser::logged_in(&sessions, "ada").await;
        let mut thief = owner.clone();
        let held = thief.open(&sessions).await;
        let owners = owner.open(&sessions).await;
        match by_reauthentication {
            true => owners.reauthenticate().await.unwrap(),
            false => owners.renew().await.unwrap(),
        }
        owners.update("n", |n: &mut u64| *n += 1).await.unwrap();

        held.update("n", |n: &mut u64| *n += 1).await.ok();
        held.renew().await.ok();
        held.renew().await.ok();
        held.reauthenticate().await.ok();
        gets_nothing(&sessions, &mut thief, &held).await;
    }
}

async fn held_while_ada_logs_in(sessions: &Sessions) -> (Browser, Session) {
    let (planted, _) = Browser::with(sessions, "n", json!(0)).await;
    let held = planted.open(sessions).await;
    let visitor = planted.open(sessions).await;
    visitor.log_in("ada").await.unwrap();
    (planted, held)
}

async fn gets_nothing(sessions: &Sessions, browser: &mut Browser, held: &Session) {
    let change = held.finish().await.unwrap();
    assert!(!matches!(change, CookieChange::Set { .. }), "it was handed a live cookie");
    browser.keep(change);
    assert!(!browser.is_in(sessions).await);
}
