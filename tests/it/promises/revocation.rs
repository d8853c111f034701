use std::{future::Future, pin::Pin};

use serde_json::json;
use sessile::{CookieChange, ErrorKind, Result, Session, SessionId, Sessions};

use crate::support::{Browser, Db, cases};

cases! {
    and_wrapped:
    promise_01_a_revoked_session_stays_dead,
    promise_01_a_request_that_ends_after_the_revocation_is_told,
    promise_01_a_log_in_after_the_revocation_makes_another_session,
    promise_01_an_ended_session_is_gone_on_every_node,
}

type Act = fn(&Session) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>>;

/// Every action with which a request that still holds the session could restore it.
const ACTS: [(&str, Act); 7] = [
    ("save", |session| {
        Box::pin(async {
            session.insert("late", true)?;
            session.save().await
        })
    }),
    ("update", |session| Box::pin(async { session.update("late", |n: &mut u64| *n += 1).await })),
    ("renew", |session| Box::pin(session.renew())),
    ("reauthenticate", |session| Box::pin(session.reauthenticate())),
    ("refresh", |session| Box::pin(session.refresh())),
    ("remove", |session| {
        Box::pin(async {
            session.remove("cart");
            session.save().await
        })
    }),
    ("clear", |session| {
        Box::pin(async {
            session.clear();
            session.save().await
        })
    }),
];

async fn promise_01_a_revoked_session_stays_dead(db: Db) {
    for (name, act) in ACTS {
        let (node, other_node) = (db.sessions().await, db.sessions().await);
        for way in 0..WAYS {
            let (browser, id) = with_cart(&node, "ada").await;
            let held = browser.open(&node).await;
            end(way, &other_node, &browser, id).await;
            if name == "refresh" {
                // The action only reads, from a copy as long as there may be one.
                db.heard().await;
            }

            let error = act(&held).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SessionEnded, "{name} after {way}");
            let again = act(&held).await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::SessionEnded, "{name} after {way}, again");

            held.insert("later", 1).unwrap();
            let at_the_end = held.finish().await.unwrap_err();
            assert_eq!(at_the_end.kind(), ErrorKind::SessionEnded, "{name} after {way}, finish");
            // The browser keeps its dead cookie, and gets no other one.
            assert_eq!(held.abandon(), CookieChange::Keep, "{name} after {way}");
            db.heard().await;
            assert!(!browser.is_in(&node).await, "{name} after {way}");
            assert_eq!(db.rows().await, 0, "{name} after {way}");
            db.pass_for_cutoffs(sessile::minutes(1)).await;
        }
    }
}

const WAYS: u32 = 7;

/// Each way to end a session from outside the request that holds it.
async fn end(way: u32, sessions: &Sessions, browser: &Browser, id: SessionId) {
    match way {
        0 => assert!(sessions.revoke(id).await.unwrap()),
        1 => assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 1),
        2 => assert_eq!(sessions.revoke_all().await.unwrap().ended, 1),
        3 => {
            let another_tab = browser.open(sessions).await;
            assert_eq!(another_tab.log_out().await.unwrap().ended, 1);
        }
        4 => {
            let another_tab = browser.open(sessions).await;
            assert_eq!(another_tab.log_out_everywhere().await.unwrap().ended, 1);
        }
        5 => {
            let (device, its_id) = Browser::logged_in(sessions, "ada").await;
            let device = device.open(sessions).await;
            assert_eq!(device.log_out_others().await.unwrap().ended, 1);
            assert!(sessions.revoke(its_id).await.unwrap());
        }
        _ => {
            let (device, its_id) = Browser::logged_in(sessions, "ada").await;
            let device = device.open(sessions).await;
            assert!(device.log_out_device(id).await.unwrap());
            assert!(sessions.revoke(its_id).await.unwrap());
        }
    }
}

async fn promise_01_a_request_that_ends_after_the_revocation_is_told(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = with_cart(&sessions, "ada").await;
    let held = browser.open(&sessions).await;
    let reading = browser.open(&sessions).await;
    sessions.revoke(id).await.unwrap();
    held.insert("late", 1).unwrap();
    assert_eq!(held.finish().await.unwrap_err().kind(), ErrorKind::SessionEnded);
    assert_eq!(held.abandon(), CookieChange::Keep);
    // A request that wrote nothing lost nothing.
    assert_eq!(reading.finish().await.unwrap(), CookieChange::Keep);

    // The next request of the browser is anonymous, and its write replaces the dead cookie.
    let dead = browser.cookie.clone();
    let next = browser.open(&sessions).await;
    assert_eq!((next.id(), next.user_id()), (None, None));
    assert!(!next.is_superseded());
    assert_eq!(next.keys(), [""; 0]);
    next.insert("new", 1).unwrap();
    browser.finish(&next).await;
    assert_ne!(browser.cookie, dead);
    assert_eq!(browser.open(&sessions).await.keys(), ["new"]);
    assert_eq!(db.rows().await, 1);
}

async fn promise_01_a_log_in_after_the_revocation_makes_another_session(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::with(&sessions, "cart", json!(1)).await;
    let held = browser.open(&sessions).await;
    sessions.revoke(id).await.unwrap();
    let dead = browser.clone();

    held.log_in("ada").await.unwrap();
    browser.finish(&held).await;

    assert_ne!(held.id(), Some(id));
    assert!(!dead.is_in(&sessions).await);
    assert!(browser.is_in(&sessions).await);
    assert!(sessions.find(id).await.unwrap().is_none());
    // It has no data of the revoked session.
    assert_eq!(browser.open(&sessions).await.keys(), [""; 0]);
    assert_eq!(db.rows().await, 1);
}

async fn promise_01_an_ended_session_is_gone_on_every_node(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await, db.sessions().await];
    let (browser, id) = with_cart(&nodes[0], "ada").await;
    for node in &nodes {
        assert!(browser.is_in(node).await);
    }
    nodes[1].revoke(id).await.unwrap();
    db.heard().await;
    for node in &nodes {
        assert!(!browser.is_in(node).await);
        assert!(node.find(id).await.unwrap().is_none());
        assert!(node.of_user("ada").await.unwrap().is_empty());
        assert_eq!(node.count().await.unwrap(), 0);
    }
}

async fn with_cart(sessions: &Sessions, user_id: &str) -> (Browser, SessionId) {
    let (browser, id) = Browser::logged_in(sessions, user_id).await;
    let session = browser.open(sessions).await;
    session.update("cart", |n: &mut u64| *n += 1).await.unwrap();
    (browser, id)
}
