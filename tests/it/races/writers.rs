//! Writers of one session.

use serde_json::json;
use sessile::{ErrorKind, Sessions};

use crate::support::{
    Browser, Db, cases,
    tap::{Gate, Verb},
};

cases! {
    a_save_that_is_overtaken_keeps_both_keys,
    an_update_that_is_overtaken_is_made_again,
    of_two_that_take_a_value_one_gets_it,
    a_take_that_is_overtaken_by_another_key_gets_its_value,
    of_many_that_take_a_value_one_gets_it,
    a_save_that_is_overtaken_by_a_log_in_is_told,
    a_save_that_is_overtaken_by_another_users_log_in_is_told,
    two_first_writes_without_a_cookie_are_two_sessions,
    many_writers_of_one_session_lose_nothing,
    clones_of_a_handle_write_one_after_the_other,
    a_handle_reads_what_it_is_just_writing,
}

async fn a_save_that_is_overtaken_keeps_both_keys(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "first", json!(0)).await;
    overtaken(&db, &browser, &sessions, |session| async move {
        session.insert("fast", 1).unwrap();
        session.remove("first");
        session.save().await.unwrap();
    })
    .await
    .unwrap();
    assert_eq!(browser.open(&sessions).await.keys(), ["fast", "slow"]);
}

/// A request saves `slow`. While its statement is in flight, another request changes the session.
async fn overtaken<F: Future<Output = ()>>(
    db: &Db,
    browser: &Browser,
    sessions: &Sessions,
    by: impl FnOnce(sessile::Session) -> F,
) -> sessile::Result<()> {
    let gate = Gate::before(Verb::Save);
    let slow = browser.open(&db.tapped(&gate).build().unwrap()).await;
    slow.insert("slow", 1).unwrap();
    let task = tokio::spawn(async move { slow.save().await });
    gate.reached().await;
    by(browser.open(sessions).await).await;
    gate.open();
    task.await.unwrap()
}

/// A request takes `flash`. While its statement is in flight, another request changes the session.
async fn overtaken_take<F: Future<Output = ()>>(
    db: &Db,
    by: impl FnOnce(sessile::Session) -> F,
) -> (Option<String>, Vec<String>) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "flash", json!("saved")).await;
    let gate = Gate::before(Verb::Save);
    let slow = browser.open(&db.tapped(&gate).build().unwrap()).await;
    let task = tokio::spawn(async move { slow.take("flash").await });
    gate.reached().await;
    by(browser.open(&sessions).await).await;
    gate.open();
    (task.await.unwrap().unwrap(), browser.open(&sessions).await.keys())
}

async fn of_two_that_take_a_value_one_gets_it(db: Db) {
    let (taken, keys) = overtaken_take(&db, |session| async move {
        session.insert("other", 1).unwrap();
        session.save().await.unwrap();
        assert_eq!(session.take::<String>("flash").await.unwrap().as_deref(), Some("saved"));
    })
    .await;
    assert_eq!((taken, keys), (None, vec!["other".to_owned()]));
}

async fn a_take_that_is_overtaken_by_another_key_gets_its_value(db: Db) {
    let (taken, keys) = overtaken_take(&db, |session| async move {
        session.update("other", |n: &mut u64| *n += 1).await.unwrap();
    })
    .await;
    assert_eq!((taken.as_deref(), keys), (Some("saved"), vec!["other".to_owned()]));
}

async fn of_many_that_take_a_value_one_gets_it(db: Db) {
    let sessions = db.sessions().await;
    for round in 0..20 {
        let (browser, _) = Browser::with(&sessions, "flash", json!(round)).await;
        let mut requests = Vec::new();
        for _ in 0..8 {
            requests.push(browser.open(&sessions).await);
        }
        let takes = requests.into_iter().map(|session| {
            tokio::spawn(async move { session.take::<u64>("flash").await.unwrap() })
        });
        let mut got = Vec::new();
        for take in takes.collect::<Vec<_>>() {
            got.extend(take.await.unwrap());
        }
        assert_eq!(got, [round]);
    }
}

async fn an_update_that_is_overtaken_is_made_again(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    let gate = Gate::before(Verb::Save);
    let slow = browser.open(&db.tapped(&gate).build().unwrap()).await;
    let task = tokio::spawn(async move {
        slow.update("n", |n: &mut u64| {
            *n *= 10;
            *n
        })
        .await
    });
    gate.reached().await;
    let fast = browser.open(&sessions).await;
    fast.update("n", |n: &mut u64| *n += 1).await.unwrap();
    gate.open();
    assert_eq!(task.await.unwrap().unwrap(), 20);
    assert_eq!(browser.open(&sessions).await.get("n").unwrap(), Some(20));
}

/// The visitor puts an item into the cart in one tab while logging in in another one. The first request has
/// the old cookie, which is superseded, and gets the answer "try again".
async fn a_save_that_is_overtaken_by_a_log_in_is_told(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "cart", json!(1)).await;
    let mut user = browser.clone();
    let keep = &mut user;
    let result = overtaken(&db, &browser, &sessions, |session| async move {
        session.log_in("ada").await.unwrap();
        keep.finish(&session).await;
    })
    .await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Superseded);
    let session = user.open(&sessions).await;
    assert_eq!(session.user_id().as_deref(), Some("ada"));
    assert_eq!(session.keys(), ["cart"]);
}

async fn a_save_that_is_overtaken_by_another_users_log_in_is_told(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let mut user = browser.clone();
    let keep = &mut user;
    let result = overtaken(&db, &browser, &sessions, |session| async move {
        session.log_in("bob").await.unwrap();
        keep.finish(&session).await;
    })
    .await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Superseded);
    let session = user.open(&sessions).await;
    assert_eq!(session.user_id().as_deref(), Some("bob"));
    assert_eq!(session.keys(), [""; 0]);
}

async fn two_first_writes_without_a_cookie_are_two_sessions(db: Db) {
    let sessions = db.sessions().await;
    let ((one, _), (other, _)) = tokio::join!(
        Browser::with(&sessions, "n", json!(1)),
        Browser::with(&sessions, "n", json!(2)),
    );
    assert_eq!(one.open(&sessions).await.get("n").unwrap(), Some(1));
    assert_eq!(other.open(&sessions).await.get("n").unwrap(), Some(2));
    assert_eq!(db.rows().await, 2);
}

async fn many_writers_of_one_session_lose_nothing(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    let (browser, _) = Browser::with(&nodes[0], "first", json!(0)).await;
    // All requests have read the same row before the first of them writes.
    let mut held = Vec::new();
    for n in 0..12 {
        held.push(browser.open(&nodes[n % 2]).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (n, session) in held.into_iter().enumerate() {
        tasks.spawn(async move {
            session.insert(&format!("key {n}"), n).unwrap();
            session.update("sum", |sum: &mut usize| *sum += n).await.unwrap();
            session.finish().await.unwrap();
        });
    }
    tasks.join_all().await;
    let after = browser.open(&nodes[0]).await;
    assert_eq!(after.keys().len(), 14);
    assert_eq!(after.get("sum").unwrap(), Some(66));
    for n in 0..12 {
        assert_eq!(after.get(&format!("key {n}")).unwrap(), Some(n));
    }
}

async fn clones_of_a_handle_write_one_after_the_other(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let session = session.clone();
        tasks.spawn(async move { session.update("n", |n: &mut u64| *n += 1).await.unwrap() });
    }
    tasks.join_all().await;
    browser.finish(&session).await;
    assert_eq!(browser.open(&sessions).await.get("n").unwrap(), Some(10));
    // There was no row before the first request, and now there is one.
    assert_eq!(db.rows().await, 1);
}

/// A socket's reader and writer hold the same session.
async fn a_handle_reads_what_it_is_just_writing(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    let gate = Gate::before(Verb::Save);
    let session = browser.open(&db.tapped(&gate).build().unwrap()).await;
    session.insert("n", 2).unwrap();
    let writer = session.clone();
    let task = tokio::spawn(async move { writer.save().await });
    gate.reached().await;
    let meanwhile = session.get::<u64>("n").unwrap();
    gate.open();
    task.await.unwrap().unwrap();
    assert_eq!(session.get("n").unwrap(), Some(2));
    assert_eq!(meanwhile, Some(2));
}
