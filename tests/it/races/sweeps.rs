//! The cleanup against what is alive after all.

use serde_json::json;
use sessile::{hours, minutes};

use crate::{
    support::{
        Browser, Db, cases,
        tap::{Gate, Verb},
    },
    tx::{Tx, until_waiting},
};

cases! {
    a_sweep_looks_again_before_it_deletes,
    a_touch_that_is_overtaken_by_the_sweep_brings_nothing_back,
    a_sweep_and_touches_at_once_end_nobody,
}

/// It found the row expired, waited for whoever was writing it, and must see what they wrote.
async fn a_sweep_looks_again_before_it_deletes(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    db.pass(hours(2)).await;
    let mut touch = Tx::begin(&db).await;
    let touched = touch
        .run(
            "update sessile.sessions set valid_until = now() + interval '1 hour', expires_at = now() + interval '1 hour'",
            "update sessions set valid_until = (unixepoch() + 3600) * 1000, expires_at = (unixepoch() + 3600) * 1000",
        )
        .await;
    assert_eq!(touched, 1);
    let node = db.sessions().await;
    let sweep = tokio::spawn(async move { node.sweep().await.unwrap() });
    until_waiting(&db, 1).await;
    touch.commit().await;
    assert_eq!(sweep.await.unwrap().rows, 0);
    assert!(browser.is_in(&sessions).await);
}

async fn a_touch_that_is_overtaken_by_the_sweep_brings_nothing_back(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    db.pass(minutes(50)).await;
    let gate = Gate::before(Verb::Touch);
    let node = db.tapped(&gate).build().unwrap();
    let session = browser.open(&node).await;
    let touch = tokio::spawn(async move {
        session.finish().await.unwrap();
        node.flush().await.unwrap();
    });
    gate.reached().await;
    db.pass(hours(1)).await;
    assert_eq!(sessions.sweep().await.unwrap().rows, 1);
    gate.open();
    touch.await.unwrap();
    assert_eq!(db.rows().await, 0);
}

async fn a_sweep_and_touches_at_once_end_nobody(db: Db) {
    let sessions = db.sessions().await;
    let mut browsers = Vec::new();
    for n in 0..20 {
        browsers.push(Browser::with(&sessions, "n", json!(n)).await.0);
    }
    db.pass(minutes(59)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for browser in browsers.clone() {
        let sessions = sessions.clone();
        tasks.spawn(async move {
            browser.open(&sessions).await.finish().await.unwrap();
            sessions.flush().await.unwrap();
            sessions.sweep().await.unwrap();
        });
    }
    tasks.join_all().await;
    db.pass(minutes(59)).await;
    assert_eq!(sessions.sweep().await.unwrap().rows, 0);
    for browser in browsers {
        assert!(browser.is_in(&sessions).await);
    }
}
