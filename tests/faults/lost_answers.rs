//! Answers that are lost after the server has done its work.

use serde_json::json;
use sessile::{ErrorKind, Sessions};

use crate::{
    patience::{DEADLINE, LOG_IN_DEADLINE, SLACK, failed, within},
    proxy::Proxy,
    support::{Browser, Db, cases},
};

cases! {
    @postgres [
        a_save_whose_answer_is_lost_is_not_made_twice
        a_log_in_whose_commit_is_not_answered_can_be_made_again
        a_log_in_that_was_lost_before_its_commit_can_be_made_again
        a_log_out_whose_answer_is_lost_can_be_made_again
    ]
}

async fn over(proxy: &Proxy) -> Sessions {
    Sessions::builder(sessile::connect(&proxy.url).await.unwrap()).build().unwrap()
}

async fn a_save_whose_answer_is_lost_is_not_made_twice(db: Db) {
    let proxy = Proxy::before(&db).await;
    let sessions = over(&proxy).await;
    let (mut browser, id) = Browser::with(&sessions, "n", json!(0)).await;
    let session = browser.open(&sessions).await;
    // First without a fault, so that the statement is prepared and the row is known.
    session.update("n", |n: &mut i64| *n += 1).await.unwrap();
    let revision = format!("select revision from sessile.sessions where id = '{id}'");
    let before = db.number(&revision, "").await;

    proxy.loses_the_answer_to("a mark");
    session.insert("m", "a mark").unwrap();
    let error = within(DEADLINE + SLACK, session.save()).await;
    let error = failed(error, ErrorKind::OutcomeUnknown);
    assert!(!error.is_transient());
    assert_eq!(proxy.sprung(), 1);
    assert_eq!(db.number(&revision, "").await, before + 1, "it was made, and once");
    let node = db.sessions().await;
    assert_eq!(browser.open(&node).await.get::<String>("m").unwrap().as_deref(), Some("a mark"));

    // A second call writes the same data: no other request has written meanwhile.
    browser.finish(&session).await;
    assert_eq!(db.number(&revision, "").await, before + 2);
    assert_eq!(browser.open(&node).await.keys(), ["m", "n"]);
}

async fn a_log_in_whose_commit_is_not_answered_can_be_made_again(db: Db) {
    let proxy = Proxy::before(&db).await;
    let sessions = over(&proxy).await;
    Browser::logged_in(&sessions, "bob").await;
    let (mut browser, id) = Browser::with(&sessions, "cart", json!(1)).await;
    let session = browser.open(&sessions).await;
    proxy.loses_the_answer_to("COMMIT");
    let error = within(LOG_IN_DEADLINE + SLACK, session.log_in("ada")).await;
    failed(error, ErrorKind::OutcomeUnknown);
    assert_eq!(proxy.sprung(), 1);
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1, "it was made");
    drop(session);

    // The browser still has the old cookie.
    let session = browser.open(&sessions).await;
    within(SLACK, session.log_in("ada")).await.unwrap();
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    assert_eq!((session.user_id().as_deref(), session.id()), (Some("ada"), Some(id)));
    assert_eq!(session.get::<i64>("cart").unwrap(), Some(1));
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
}

/// The server waits for the next statement, and holds the user's lock.
async fn a_log_in_that_was_lost_before_its_commit_can_be_made_again(db: Db) {
    let proxy = Proxy::before(&db).await;
    let sessions = over(&proxy).await;
    Browser::logged_in(&sessions, "bob").await;
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    proxy.loses_the_answer_to("ada");
    let error = within(LOG_IN_DEADLINE + SLACK, session.log_in("ada")).await;
    failed(error, ErrorKind::OutcomeUnknown);
    assert_eq!(proxy.sprung(), 1);

    within(LOG_IN_DEADLINE, session.log_in("ada")).await.unwrap();
    browser.finish(&session).await;
    assert!(browser.is_in(&sessions).await);
    assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 1);
}

async fn a_log_out_whose_answer_is_lost_can_be_made_again(db: Db) {
    let proxy = Proxy::before(&db).await;
    let sessions = over(&proxy).await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    // Prepares the statement.
    sessions.revoke(uuid::Uuid::now_v7().to_string().parse().unwrap()).await.unwrap();
    let id: uuid::Uuid = id.to_string().parse().unwrap();
    proxy.loses_the_answer_to(id.as_bytes());
    let error = within(DEADLINE + SLACK, session.log_out()).await;
    failed(error, ErrorKind::OutcomeUnknown);
    assert_eq!((proxy.sprung(), db.rows().await), (1, 0), "it was made");
    assert_eq!(session.log_out().await.unwrap().ended, 0);
    browser.finish(&session).await;
    assert_eq!(browser.cookie, None);
}
