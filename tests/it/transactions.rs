//! Ending sessions in the application's own transaction.

use sessile::{SessionId, Sessions};

use crate::{
    support::{Browser, Db, cases},
    tx::Tx,
};

cases! {
    disabling_an_account_and_ending_its_sessions_commits_as_one,
    disabling_an_account_and_ending_its_sessions_rolls_back_as_one,
    every_scope_ends_what_it_says,
}

async fn account(db: &Db) -> (Sessions, Browser, SessionId) {
    let create = "create table accounts (name text, enabled integer)";
    db.run(create, create).await;
    let insert = "insert into accounts values ('ada', 1)";
    db.run(insert, insert).await;
    let sessions = db.sessions().await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    (sessions, browser, id)
}

async fn enabled(db: &Db) -> i64 {
    let select = "select count(*) from accounts where enabled = 1";
    db.number(select, select).await
}

async fn disabling_an_account_and_ending_its_sessions_commits_as_one(db: Db) {
    let (sessions, browser, _) = account(&db).await;
    let mut tx = Tx::begin(&db).await;
    tx.execute("update accounts set enabled = 0").await;
    assert_eq!(tx.revoke_user("ada").await.unwrap().ended, 1);
    assert!(browser.is_in(&sessions).await, "not yet");
    tx.commit().await;
    assert!(!browser.is_in(&sessions).await);
    assert_eq!(enabled(&db).await, 0);
}

async fn disabling_an_account_and_ending_its_sessions_rolls_back_as_one(db: Db) {
    let (sessions, browser, _) = account(&db).await;
    let mut tx = Tx::begin(&db).await;
    tx.execute("update accounts set enabled = 0").await;
    assert_eq!(tx.revoke_user("ada").await.unwrap().ended, 1);
    tx.roll_back().await;
    assert!(browser.is_in(&sessions).await);
    assert_eq!(enabled(&db).await, 1);
    // No cut-off either.
    browser.open(&sessions).await.log_in("ada").await.unwrap();
}

async fn every_scope_ends_what_it_says(db: Db) {
    let sessions = db.sessions().await;
    let mut browsers = Vec::new();
    let mut ids = Vec::new();
    for user in ["ada", "ada", "ada", "bob"] {
        let (browser, id) = Browser::logged_in(&sessions, user).await;
        browsers.push(browser);
        ids.push(id);
    }
    let live = async || {
        let mut live = Vec::new();
        for browser in &browsers {
            live.push(browser.is_in(&sessions).await);
        }
        live
    };
    let mut tx = Tx::begin(&db).await;
    assert_eq!(tx.revoke(ids[0]).await.unwrap().ended, 1);
    tx.commit().await;
    assert_eq!(live().await, [false, true, true, true]);

    let mut tx = Tx::begin(&db).await;
    assert_eq!(tx.revoke_others("ada", ids[1]).await.unwrap().ended, 1);
    tx.commit().await;
    assert_eq!(live().await, [false, true, false, true]);

    let mut tx = Tx::begin(&db).await;
    assert_eq!(tx.revoke_all().await.unwrap().ended, 2);
    tx.commit().await;
    assert_eq!(live().await, [false; 4]);
}
