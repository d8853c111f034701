//! Requests with one cookie that each try to give the session a new secret.

use std::sync::Arc;

use sessile::{CookieChange, ErrorKind, Session};

use crate::support::{
    Browser, Db, cases,
    tap::{Gate, Verb},
};

cases! {
    of_two_renewals_one_is_the_session,
    of_two_reauthentications_one_is_the_session,
    a_reauthentication_that_is_overtaken_by_a_renewal_is_told,
    many_renewals_leave_one_live_cookie,
}

/// Two requests with one cookie. A call of the second one will be held.
async fn two(db: &Db, browser: &Browser, verb: Verb) -> (Session, Session, Arc<Gate>) {
    let gate = Gate::before(verb);
    let second = browser.open(&db.tapped(&gate).build().unwrap()).await;
    (browser.open(&db.sessions().await).await, second, gate)
}

/// The second request failed as superseded. The browser is logged in, in whatever order it gets the two
/// answers. Its old cookie is dead.
async fn in_with_either_order(db: &Db, old: &Browser, first: &Session, second: &Session) {
    let sessions = db.sessions().await;
    assert!(second.is_superseded() && !first.is_superseded());
    let changes = [first.finish().await.unwrap(), second.finish().await.unwrap()];
    assert!(matches!(changes[0], CookieChange::Set { .. }));
    assert_eq!(changes[1], CookieChange::Keep);
    for order in [[0, 1], [1, 0]] {
        let mut browser = old.clone();
        for n in order {
            browser.keep(CookieChange::clone(&changes[n]));
        }
        assert!(browser.is_in(&sessions).await, "{order:?}");
    }
    assert!(!old.is_in(&sessions).await);
    assert_eq!(db.rows().await, 1);
}

async fn of_two_renewals_one_is_the_session(db: Db) {
    let (old, _) = Browser::logged_in(&db.sessions().await, "ada").await;
    let (first, second, gate) = two(&db, &old, Verb::Renew).await;
    let held = second.clone();
    let task = tokio::spawn(async move { held.renew().await });
    gate.reached().await;
    first.renew().await.unwrap();
    gate.open();
    assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Superseded);
    in_with_either_order(&db, &old, &first, &second).await;
}

async fn of_two_reauthentications_one_is_the_session(db: Db) {
    let (old, _) = Browser::logged_in(&db.sessions().await, "ada").await;
    db.pass(sessile::minutes(1)).await;
    let (first, second, gate) = two(&db, &old, Verb::Reauthenticate).await;
    let held = second.clone();
    let task = tokio::spawn(async move { held.reauthenticate().await });
    gate.reached().await;
    first.reauthenticate().await.unwrap();
    gate.open();
    // The user did authenticate, in the other request. But this handle may be a thief's.
    assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(second.authenticated_at(), None);
    first.require_recent(sessile::seconds(30)).unwrap();
    in_with_either_order(&db, &old, &first, &second).await;
}

async fn a_reauthentication_that_is_overtaken_by_a_renewal_is_told(db: Db) {
    let (old, _) = Browser::logged_in(&db.sessions().await, "ada").await;
    let (first, second, gate) = two(&db, &old, Verb::Reauthenticate).await;
    let held = second.clone();
    let task = tokio::spawn(async move { held.reauthenticate().await });
    gate.reached().await;
    first.renew().await.unwrap();
    gate.open();
    assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Superseded);
    in_with_either_order(&db, &old, &first, &second).await;
}

async fn many_renewals_leave_one_live_cookie(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    let (old, _) = Browser::logged_in(&nodes[0], "ada").await;
    let mut held = Vec::new();
    for n in 0..10 {
        held.push(old.open(&nodes[n % 2]).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for session in held {
        tasks.spawn(async move {
            let renewed = session.renew().await;
            let change = session.finish().await.unwrap();
            match renewed {
                Ok(()) => assert!(matches!(change, CookieChange::Set { .. })),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Superseded);
                    assert_eq!(change, CookieChange::Keep);
                }
            }
            change
        });
    }
    let mut live = 0;
    for change in tasks.join_all().await {
        let mut browser = Browser::default();
        browser.keep(change);
        live += u32::from(browser.is_in(&nodes[0]).await);
    }
    assert_eq!(live, 1);
    assert!(!old.is_in(&nodes[0]).await);
}
