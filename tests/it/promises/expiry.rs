use serde_json::json;
use sessile::{ErrorKind, Sessions, days, hours, minutes, seconds};

use crate::support::{Browser, Db, cases};

cases! {
    and_wrapped:
    promise_07_an_idle_session_ends_without_a_sweep,
    promise_07_an_active_session_ends_at_its_absolute_timeout,
    promise_07_an_expired_session_cannot_be_written,
    promise_07_an_expired_session_is_in_no_list,
    promise_07_an_expired_session_binds_no_user,
}

async fn promise_07_an_idle_session_ends_without_a_sweep(db: Db) {
    let sessions = policy(&db).await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    db.pass(seconds(3590)).await;
    assert!(browser.is_in(&sessions).await);
    db.pass(seconds(10)).await;
    assert!(!browser.is_in(&sessions).await);
    assert_eq!(db.rows().await, 1);
}

async fn promise_07_an_active_session_ends_at_its_absolute_timeout(db: Db) {
    let sessions = policy(&db).await;
    let (mut browser, _) = Browser::logged_in(&sessions, "ada").await;
    for half_hour in 1..48 {
        db.pass(minutes(30)).await;
        let session = browser.open(&sessions).await;
        assert!(session.id().is_some(), "after {half_hour} half hours");
        // Neither a touch nor a save moves the absolute end.
        if half_hour % 2 == 0 {
            session.insert("n", half_hour).unwrap();
        }
        browser.finish(&session).await;
        sessions.flush().await.unwrap();
    }
    db.pass(minutes(30)).await;
    assert!(!browser.is_in(&sessions).await);
    assert_eq!(db.rows().await, 1);
}

async fn promise_07_an_expired_session_cannot_be_written(db: Db) {
    let sessions = policy(&db).await;
    let (browser, id) = Browser::with(&sessions, "n", json!(1)).await;
    let anonymous = browser.open(&sessions).await;
    let (browser, users_id) = Browser::logged_in(&sessions, "ada").await;
    let users = browser.open(&sessions).await;
    let before = db.dump().await;
    db.pass(hours(1)).await;

    for session in [&anonymous, &users] {
        let handle = sessions.find(session.id().unwrap()).await.unwrap();
        assert!(handle.is_none());
    }
    let error = anonymous.update("n", |n: &mut u64| *n += 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    let error = users.reauthenticate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    assert!(!sessions.revoke(id).await.unwrap());
    assert!(!sessions.revoke(users_id).await.unwrap());
    assert!(!before.is_empty());
}

async fn promise_07_an_expired_session_is_in_no_list(db: Db) {
    let sessions = policy(&db).await;
    let (_, old) = Browser::logged_in(&sessions, "ada").await;
    db.pass(hours(1)).await;
    let (browser, new) = Browser::logged_in(&sessions, "ada").await;
    let devices = browser.open(&sessions).await.devices().await.unwrap();
    assert_eq!(devices.iter().map(|device| device.id).collect::<Vec<_>>(), [new]);
    assert_eq!(sessions.of_user("ada").all().await.unwrap().len(), 1);
    assert_eq!(sessions.count().await.unwrap(), 1);
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
    assert!(sessions.find(old).await.unwrap().is_none());
    assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 1);
    assert_eq!(db.rows().await, 0);
}

async fn promise_07_an_expired_session_binds_no_user(db: Db) {
    let sessions = policy(&db).await;
    let (mut browser, id) = Browser::with(&sessions, "n", json!(1)).await;
    let session = browser.open(&sessions).await;
    db.pass(hours(1)).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    assert_ne!(session.id(), Some(id));
    let after = browser.open(&sessions).await;
    assert_eq!(after.user_id().as_deref(), Some("ada"));
    assert_eq!(after.keys(), [""; 0]);
}

async fn policy(db: &Db) -> Sessions {
    let builder = db.builder().await.idle_timeout(hours(1)).absolute_timeout(days(1));
    builder.build().unwrap()
}
