use crate::support::{Browser, Db, cases};
use serde_json::json;
use sessile::{ErrorKind, minutes};

cases! { a_cart_survives_a_log_in, revoked_stays_dead, time_ends_it }

async fn a_cart_survives_a_log_in(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::with(&sessions, "cart", json!({"tea": 1})).await;
    let old = browser.clone();
    let session = browser.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    assert_eq!(session.id(), Some(id));
    assert!(!old.is_in(&sessions).await);
    let session = browser.open(&sessions).await;
    assert_eq!(session.user_id().as_deref(), Some("ada"));
    assert_eq!(session.get::<serde_json::Value>("cart").unwrap(), Some(json!({"tea": 1})));
    session.update("cart", |c: &mut serde_json::Value| c["tea"] = json!(2)).await.unwrap();
    session.require_recent(minutes(5)).unwrap();
    session.reauthenticate().await.unwrap();
    browser.finish(&session).await;
    assert_eq!(
        browser.open(&sessions).await.get::<serde_json::Value>("cart").unwrap(),
        Some(json!({"tea": 2}))
    );
    assert_eq!(sessions.count().await.unwrap(), 1);
    assert_eq!(sessions.of_user("ada").all().await.unwrap().len(), 1);
}

async fn revoked_stays_dead(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 1);
    session.insert("x", 1).unwrap();
    assert_eq!(session.save().await.unwrap_err().kind(), ErrorKind::SessionEnded);
    assert_eq!(session.renew().await.unwrap_err().kind(), ErrorKind::SessionEnded);
    assert_eq!(db.rows().await, 0);
}

async fn time_ends_it(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "a", json!(1)).await;
    db.pass(minutes(61)).await;
    assert!(!browser.is_in(&sessions).await);
    db.pass(minutes(31)).await;
    assert_eq!(sessions.sweep().await.unwrap().rows, 1);
}
