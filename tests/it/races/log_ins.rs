//! Log-ins that meet each other, and other calls with the same cookie.

use serde_json::json;
use sessile::{CookieChange, ErrorKind};

use crate::support::{
    Browser, Db, cases,
    tap::{Gate, Verb},
};

cases! {
    two_log_ins_of_one_user_with_one_cookie_are_one_session,
    two_users_who_log_in_with_one_cookie_share_nothing_new,
    a_log_in_that_is_overtaken_by_a_renewal_gets_a_session_of_its_own,
    a_log_in_that_is_overtaken_by_a_log_out_gets_a_session_of_its_own,
    a_renewal_that_is_overtaken_by_a_log_in_changes_nothing,
    log_ins_and_revocations_of_all_kinds_do_not_stop_each_other,
}

/// A log-in of this user in flight with the browser's cookie, the browser's later state, and the handle.
async fn held_log_in(
    db: &Db,
    browser: &Browser,
    user_id: &'static str,
) -> (std::sync::Arc<Gate>, tokio::task::JoinHandle<(Browser, sessile::Session)>) {
    let gate = Gate::before(Verb::LogIn);
    let node = db.tapped(&gate).build().unwrap();
    let mut browser = browser.clone();
    let session = browser.open(&node).await;
    let task = tokio::spawn(async move {
        session.log_in(user_id).await.unwrap();
        browser.finish(&session).await;
        (browser, session)
    });
    gate.reached().await;
    (gate, task)
}

async fn two_log_ins_of_one_user_with_one_cookie_are_one_session(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::with(&sessions, "cart", json!("tea")).await;
    let old = browser.clone();
    let (gate, task) = held_log_in(&db, &browser, "ada").await;
    let first = browser.open(&sessions).await;
    first.log_in("ada").await.unwrap();
    first.insert("new", 1).unwrap();
    browser.finish(&first).await;
    gate.open();
    let (second_browser, second) = task.await.unwrap();

    assert_eq!((first.id(), second.id()), (Some(id), Some(id)));
    assert!(!old.is_in(&sessions).await);
    assert_ne!(browser.cookie, second_browser.cookie);
    // Whichever answer the browser keeps, it is logged in, and has the data of both requests.
    for browser in [&browser, &second_browser] {
        let session = browser.open(&sessions).await;
        assert_eq!(session.user_id().as_deref(), Some("ada"));
        assert_eq!(session.keys(), ["cart", "new"]);
    }
    let session = second_browser.open(&sessions).await;
    session.update("newer", |n: &mut u64| *n += 1).await.unwrap();
    assert_eq!(browser.open(&sessions).await.keys(), ["cart", "new", "newer"]);
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
    assert_eq!(db.rows().await, 1);
}

async fn two_users_who_log_in_with_one_cookie_share_nothing_new(db: Db) {
    let sessions = db.sessions().await;
    let (mut adas, _) = Browser::with(&sessions, "cart", json!("tea")).await;
    let (gate, task) = held_log_in(&db, &adas, "bob").await;
    let session = adas.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    session.insert("adas", 1).unwrap();
    adas.finish(&session).await;
    gate.open();
    let (bobs, _) = task.await.unwrap();

    let (ada, bob) = (adas.open(&sessions).await, bobs.open(&sessions).await);
    assert_eq!((ada.user_id().as_deref(), bob.user_id().as_deref()), (Some("ada"), Some("bob")));
    assert_eq!(ada.keys(), ["adas", "cart"]);
    assert_eq!(bob.keys(), ["cart"]);
    assert_ne!(ada.id(), bob.id());
}

async fn a_log_in_that_is_overtaken_by_a_renewal_gets_a_session_of_its_own(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::with(&sessions, "cart", json!("tea")).await;
    let (gate, task) = held_log_in(&db, &browser, "ada").await;
    let renewing = browser.open(&sessions).await;
    renewing.renew().await.unwrap();
    browser.finish(&renewing).await;
    gate.open();
    let (user, session) = task.await.unwrap();

    assert_ne!(session.id(), Some(id));
    assert_eq!(user.open(&sessions).await.keys(), ["cart"]);
    // The renewed session is still anonymous, for every holder of its cookie.
    let anonymous = browser.open(&sessions).await;
    assert_eq!((anonymous.id(), anonymous.user_id()), (Some(id), None));
}

async fn a_log_in_that_is_overtaken_by_a_log_out_gets_a_session_of_its_own(db: Db) {
    let sessions = db.sessions().await;
    let (browser, id) = Browser::with(&sessions, "cart", json!("tea")).await;
    let (gate, task) = held_log_in(&db, &browser, "ada").await;
    browser.open(&sessions).await.log_out().await.unwrap();
    gate.open();
    let (user, session) = task.await.unwrap();
    assert_ne!(session.id(), Some(id));
    let after = user.open(&sessions).await;
    assert_eq!((after.user_id().as_deref(), after.keys()), (Some("ada"), vec![]));
    assert_eq!(db.rows().await, 1);
}

async fn a_renewal_that_is_overtaken_by_a_log_in_changes_nothing(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, _) = Browser::with(&sessions, "cart", json!("tea")).await;
    let gate = Gate::before(Verb::Renew);
    let held = browser.open(&db.tapped(&gate).build().unwrap()).await;
    let renewing = held.clone();
    let task = tokio::spawn(async move { renewing.renew().await });
    gate.reached().await;
    let session = browser.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    gate.open();
    assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(held.finish().await.unwrap(), CookieChange::Keep);
    assert!(browser.is_in(&sessions).await);
    assert_eq!(db.rows().await, 1);
}

/// They take the same locks in many orders. A transaction that loses a deadlock runs again.
async fn log_ins_and_revocations_of_all_kinds_do_not_stop_each_other(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_usize {
        let node = nodes[task % 2].clone();
        tasks.spawn(async move {
            for round in 0..8 {
                let user_id = ["ada", "bob", "eve"][(task + round) % 3];
                let mut browser = Browser::default();
                let session = browser.open(&node).await;
                match session.log_in(user_id).await {
                    Err(error) => assert_eq!(error.kind(), ErrorKind::LogInRefused, "{error:?}"),
                    Ok(()) => browser.finish(&session).await,
                }
                match (task, round) {
                    (0, _) => drop(node.revoke_all().await.unwrap()),
                    (1, _) => drop(node.revoke_user(user_id).await.unwrap()),
                    (2, _) => drop(session.log_out_others().await.ok()),
                    (3, _) => drop(node.sweep().await.unwrap()),
                    _ => drop(session.log_out().await.unwrap()),
                }
            }
        });
    }
    tasks.join_all().await;
    nodes[0].revoke_all().await.unwrap();
    assert_eq!(db.rows().await, 0);
}
