//! The functions for the tests of applications, on their own pool too.

use serde_json::json;
use sessile::{
    ErrorKind, SessionCookie, Sessions, hours, minutes, seconds,
    store::CacheOptions,
    testing::{self, TestSession},
};

use crate::support::{Browser, Db, cases};

cases! {
    a_user_is_logged_in_and_a_visitor_has_data,
    a_session_grows_older_by_as_much_as_is_said,
    a_session_expires_and_no_other_one_does,
    everything_that_happened_to_it_is_older,
    a_copy_in_the_cache_grows_older_too,
    what_is_not_there_cannot_grow_older,
}

fn browser(session: &TestSession) -> Browser {
    Browser { cookie: Some(session.token().to_owned()) }
}

/// On the application's own pool.
fn own_pool(db: &Db) -> Sessions {
    Sessions::builder(db.backend()).idle_timeout(minutes(30)).build().unwrap()
}

#[tokio::test]
async fn sessions_in_memory_are_ready_to_use() {
    let (one, other) = (testing::sessions().await.unwrap(), testing::sessions().await.unwrap());
    let user = testing::log_in(&one, 7).await.unwrap();
    assert!(browser(&user).is_in(&one).await);
    assert!(!browser(&user).is_in(&other).await, "each is a database of its own");

    let database = testing::database().await.unwrap();
    let office = Sessions::builder(database).realm("office").build().unwrap();
    let user = testing::log_in(&office, "ada").await.unwrap();
    assert_eq!(user.cookie(), format!("__Host-office={}", user.token()));
    let plain = SessionCookie::insecure_for_development();
    assert_eq!(user.cookie_named(&plain), format!("office={}", user.token()));
    let named = plain.named("sid").unwrap();
    assert_eq!(user.cookie_named(&named), format!("sid={}", user.token()));
    assert!(!format!("{user:?}").contains(user.token()));
}

async fn a_user_is_logged_in_and_a_visitor_has_data(db: Db) {
    let sessions = own_pool(&db);
    let user = testing::log_in(&sessions, "ada").await.unwrap();
    let session = browser(&user).open(&sessions).await;
    assert_eq!((session.id(), session.user_id().as_deref()), (Some(user.id()), Some("ada")));
    let visitor = testing::visit(&sessions, "cart", ["tea"]).await.unwrap();
    let session = browser(&visitor).open(&sessions).await;
    assert_eq!((session.id(), session.user_id()), (Some(visitor.id()), None));
    assert_eq!(session.data::<serde_json::Value>().unwrap(), json!({"cart": ["tea"]}));
}

async fn a_session_grows_older_by_as_much_as_is_said(db: Db) {
    let sessions = own_pool(&db);
    let user = testing::log_in(&sessions, "ada").await.unwrap();
    let other = testing::log_in(&sessions, "bob").await.unwrap();
    testing::age(&sessions, user.id(), minutes(29)).await.unwrap();
    assert!(browser(&user).is_in(&sessions).await);
    testing::age(&sessions, user.id(), minutes(1)).await.unwrap();
    assert!(!browser(&user).is_in(&sessions).await);
    assert!(browser(&other).is_in(&sessions).await);
    assert_eq!(sessions.sweep().await.unwrap().rows, 0, "the cleanup comes a little later");
    testing::age(&sessions, user.id(), hours(1)).await.unwrap();
    assert_eq!(sessions.sweep().await.unwrap().rows, 1);
}

async fn a_session_expires_and_no_other_one_does(db: Db) {
    let sessions = own_pool(&db);
    let user = testing::log_in(&sessions, "ada").await.unwrap();
    let other = testing::log_in(&sessions, "ada").await.unwrap();
    testing::expire(&sessions, user.id()).await.unwrap();
    assert!(!browser(&user).is_in(&sessions).await);
    assert!(browser(&other).is_in(&sessions).await);
    let error = testing::expire(&sessions, user.id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
}

async fn everything_that_happened_to_it_is_older(db: Db) {
    let sessions = own_pool(&db);
    let user = testing::log_in(&sessions, "ada").await.unwrap();
    let before = sessions.find(user.id()).await.unwrap().unwrap();
    let superseded = browser(&user);
    let mut renewed = browser(&user);
    let session = renewed.open(&sessions).await;
    session.begin_log_in().user("ada").await.unwrap();
    renewed.finish(&session).await;
    assert!(superseded.open(&sessions).await.is_superseded());
    session.require_recent(minutes(5)).unwrap();

    testing::age(&sessions, user.id(), minutes(11)).await.unwrap();
    let after = sessions.find(user.id()).await.unwrap().unwrap();
    for (before, after) in [
        (before.created_at, after.created_at),
        (before.authenticated_at.unwrap(), after.authenticated_at.unwrap()),
        (before.last_seen_at, after.last_seen_at),
        (before.expires_at, after.expires_at),
    ] {
        assert_eq!(before - after, chrono::TimeDelta::minutes(11));
    }
    let session = renewed.open(&sessions).await;
    assert_eq!(session.pending_log_in(), None, "it has lapsed");
    let error = session.require_recent(minutes(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReauthenticationRequired);
    assert!(!superseded.open(&sessions).await.is_superseded());
}

async fn a_copy_in_the_cache_grows_older_too(db: Db) {
    let options = CacheOptions::default().bound(seconds(60));
    let sessions = db.builder().await.cache(options).build().unwrap();
    let user = testing::log_in(&sessions, "ada").await.unwrap();
    for _ in 0..3 {
        assert!(browser(&user).is_in(&sessions).await);
    }
    testing::expire(&sessions, user.id()).await.unwrap();
    assert!(!browser(&user).is_in(&sessions).await);
}

async fn what_is_not_there_cannot_grow_older(db: Db) {
    let sessions = own_pool(&db);
    let office = db.builder().await.realm("office").build().unwrap();
    let user = testing::log_in(&office, "ada").await.unwrap();
    for error in [
        testing::age(&sessions, user.id(), minutes(1)).await.unwrap_err(),
        testing::expire(&sessions, user.id()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::SessionEnded);
    }
    let error = testing::age(&office, user.id(), std::time::Duration::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(browser(&user).is_in(&office).await);
}
