use std::collections::BTreeMap;

use serde_json::json;
use sessile::ErrorKind;

use crate::support::{Browser, Db, cases};

cases! {
    and_wrapped:
    promise_02_requests_that_write_different_keys_lose_nothing,
    promise_02_updates_of_one_key_add_up_across_nodes,
    promise_02_an_update_runs_again_on_the_value_as_it_is_by_then,
    promise_02_an_update_is_durable_when_it_returns,
    promise_02_a_removal_and_a_write_of_another_key_lose_nothing,
    promise_02_of_two_writes_of_one_key_the_later_holds,
    promise_02_a_clearing_drops_what_others_wrote_meanwhile,
    promise_02_what_was_recorded_before_an_update_is_written_with_it,
    promise_02_a_write_that_fails_leaves_the_row_alone,
}

async fn promise_02_requests_that_write_different_keys_lose_nothing(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    let (browser, _) = Browser::with(&nodes[0], "first", json!(0)).await;
    let mut held = Vec::new();
    for n in 0..10 {
        let session = browser.open(&nodes[n % 2]).await;
        session.insert(&format!("key {n}"), n).unwrap();
        held.push(session);
    }
    for session in &held {
        session.finish().await.unwrap();
    }
    let session = browser.open(&nodes[0]).await;
    let all: BTreeMap<String, usize> = session.data().unwrap();
    assert_eq!(all.len(), 11);
    for n in 0..10 {
        assert_eq!(all[&format!("key {n}")], n);
    }
}

async fn promise_02_updates_of_one_key_add_up_across_nodes(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    let (browser, _) = Browser::with(&nodes[0], "n", json!(0)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let (browser, node) = (browser.clone(), nodes[task % 2].clone());
        tasks.spawn(async move {
            for _ in 0..5 {
                let session = browser.open(&node).await;
                session.update("n", |n: &mut u64| *n += 1).await.unwrap();
                session.finish().await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(browser.open(&nodes[0]).await.get::<u64>("n").unwrap(), Some(40));
}

async fn promise_02_an_update_runs_again_on_the_value_as_it_is_by_then(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    let (slow, fast) = (browser.open(&sessions).await, browser.open(&sessions).await);
    fast.update("n", |n: &mut u64| *n = 10).await.unwrap();

    let mut seen = Vec::new();
    let returned = slow
        .update("n", |n: &mut u64| {
            seen.push(*n);
            *n += 1;
            *n
        })
        .await
        .unwrap();

    assert_eq!(seen, [1, 10]);
    assert_eq!(returned, 11);
    assert_eq!(slow.get("n").unwrap(), Some(11));
    assert_eq!(browser.open(&sessions).await.get("n").unwrap(), Some(11));
}

async fn promise_02_an_update_is_durable_when_it_returns(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    let (browser, _) = Browser::with(&nodes[0], "n", json!(0)).await;
    let session = browser.open(&nodes[0]).await;
    for n in 1..=5_u64 {
        session.update("n", |value: &mut u64| *value = n).await.unwrap();
        db.heard().await;
        assert_eq!(browser.open(&nodes[1]).await.get("n").unwrap(), Some(n));
    }
}

async fn promise_02_a_removal_and_a_write_of_another_key_lose_nothing(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "old", json!(1)).await;
    let (one, other) = (browser.open(&sessions).await, browser.open(&sessions).await);
    assert!(one.remove("old"));
    other.insert("new", 2).unwrap();
    one.finish().await.unwrap();
    other.finish().await.unwrap();
    assert_eq!(browser.open(&sessions).await.keys(), ["new"]);
}

async fn promise_02_of_two_writes_of_one_key_the_later_holds(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "k", json!("before")).await;
    let (one, other) = (browser.open(&sessions).await, browser.open(&sessions).await);
    one.insert("k", "one").unwrap();
    other.insert("k", "other").unwrap();
    other.finish().await.unwrap();
    one.finish().await.unwrap();
    let last = browser.open(&sessions).await.get::<String>("k").unwrap();
    assert_eq!(last.as_deref(), Some("one"));
}

async fn promise_02_a_clearing_drops_what_others_wrote_meanwhile(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "a", json!(1)).await;
    let (one, other) = (browser.open(&sessions).await, browser.open(&sessions).await);
    one.clear();
    one.insert("b", 2).unwrap();
    other.insert("c", 3).unwrap();
    other.finish().await.unwrap();
    one.finish().await.unwrap();
    assert_eq!(browser.open(&sessions).await.keys(), ["b"]);
}

async fn promise_02_what_was_recorded_before_an_update_is_written_with_it(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    let (slow, fast) = (browser.open(&sessions).await, browser.open(&sessions).await);
    slow.insert("n", 100).unwrap();
    slow.insert("another key", 1).unwrap();
    fast.update("n", |n: &mut u64| *n = 50).await.unwrap();

    assert_eq!(
        slow.update("n", |n: &mut u64| {
            *n += 1;
            *n
        })
        .await
        .unwrap(),
        101
    );
    // The other key is written at the end of the request.
    assert_eq!(browser.open(&sessions).await.keys(), ["n"]);
    slow.finish().await.unwrap();
    let after = browser.open(&sessions).await;
    assert_eq!(after.get("n").unwrap(), Some(101));
    assert_eq!(after.keys(), ["another key", "n"]);
}

async fn promise_02_a_write_that_fails_leaves_the_row_alone(db: Db) {
    let sessions = db.builder().await.data_limit(100).build().unwrap();
    let (browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    let session = browser.open(&sessions).await;
    session.insert("m", 1).unwrap();
    let error = session.update("n", |n: &mut String| n.push('x')).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
    let error = session.update("s", |s: &mut String| *s = "x".repeat(100)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(browser.open(&sessions).await.keys(), ["n"]);
    // The recorded change is still recorded.
    session.finish().await.unwrap();
    assert_eq!(browser.open(&sessions).await.keys(), ["m", "n"]);
}
