//! The browser sends concurrent requests, and receives the answers in any order.

use serde_json::json;
use sessile::{Client, CookieChange, ErrorKind, Sessions, minutes, seconds, store::CacheOptions};

use crate::support::{Browser, Db, cases};

cases! {
    and_wrapped:
    promise_11_a_new_cookie_is_good_on_every_node_at_once,
    promise_11_a_request_with_a_replaced_secret_is_superseded,
    promise_11_the_answer_to_an_older_request_leaves_the_new_cookie_alone,
    promise_11_a_replaced_secret_is_a_wrong_one_after_a_minute,
    promise_11_only_the_last_replaced_secret_is_told_from_a_wrong_one,
    promise_11_a_log_in_with_a_replaced_secret_gets_a_session,
    promise_11_a_dead_cookie_is_left_alone_until_a_write_replaces_it,
    promise_11_only_log_out_removes_a_cookie,
    promise_11_a_handle_acts_only_while_it_has_the_secret,
}

/// Each way to replace the secret of a user's session.
const WAYS: [&str; 5] =
    ["log in", "log in as somebody else", "begin a log-in", "reauthenticate", "renew"];

/// The browser's next request replaces the secret. The browser keeps the answer.
async fn replace(way: &str, sessions: &Sessions, browser: &mut Browser) {
    let session = browser.open(sessions).await;
    match way {
        "log in" => session.log_in("ada").await,
        "log in as somebody else" => session.log_in("bob").await,
        "begin a log-in" => session.begin_log_in().user("ada").await,
        "reauthenticate" => session.reauthenticate().await,
        _ => session.renew().await,
    }
    .unwrap();
    browser.finish(&session).await;
}

/// Ada's browser with a cart, and a copy of it from before the secret was replaced.
async fn replaced(way: &str, db: &Db, sessions: &Sessions) -> (Browser, Browser) {
    let (mut browser, _) = Browser::logged_in(sessions, "ada").await;
    browser.open(sessions).await.update("cart", |n: &mut u64| *n += 1).await.unwrap();
    let before = browser.clone();
    replace(way, sessions, &mut browser).await;
    assert_ne!(before.cookie, browser.cookie);
    db.heard().await;
    (before, browser)
}

/// A node with an old copy of the row must not take the new secret for a wrong one, and the browser's next
/// write for another visitor's.
async fn promise_11_a_new_cookie_is_good_on_every_node_at_once(db: Db) {
    let node = async || db.builder().await.cache(CacheOptions::default()).build().unwrap();
    let nodes = [node().await, node().await];
    let (mut browser, _) = Browser::logged_in(&nodes[0], "ada").await;
    for n in 0..20 {
        for _ in 0..3 {
            assert!(browser.is_in(&nodes[1]).await);
        }
        replace(WAYS[n % 5], &nodes[0], &mut browser).await;
        let cookie = browser.cookie.clone();
        let next = browser.open(&nodes[1]).await;
        assert!(next.user_id().is_some() && !next.is_superseded(), "{}", WAYS[n % 5]);
        next.insert("n", n).unwrap();
        browser.finish(&next).await;
        assert_eq!(browser.cookie, cookie);
    }
}

async fn promise_11_a_request_with_a_replaced_secret_is_superseded(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    for way in WAYS {
        let (before, browser) = replaced(way, &db, &nodes[0]).await;
        for node in &nodes {
            let late = before.open(node).await;
            assert!(late.is_superseded(), "{way}");
            // The request reads as anonymous.
            assert_eq!((late.id(), late.user_id(), late.authenticated_at()), (None, None, None));
            assert_eq!((late.created_at(), late.expires_at()), (None, None));
            assert_eq!((late.keys(), late.get::<u64>("cart").unwrap()), (vec![], None));
            // The request's writes are refused, and its log-out ends nothing.
            for error in [
                late.update("cart", |n: &mut u64| *n += 1).await.unwrap_err(),
                late.renew().await.unwrap_err(),
                late.refresh().await.unwrap_err(),
                late.reauthenticate().await.unwrap_err(),
                late.require_recent(minutes(5)).unwrap_err(),
                late.devices().await.unwrap_err(),
                late.log_out().await.unwrap_err(),
                late.log_out_others().await.unwrap_err(),
                late.log_out_everywhere().await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Superseded, "{way}");
            }
            assert_eq!(late.finish().await.unwrap(), CookieChange::Keep, "{way}");
            late.insert("cart", 7).unwrap();
            let error = late.finish().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Superseded, "{way}");
            assert_eq!(late.abandon(), CookieChange::Keep, "{way}");
        }
        let after = browser.open(&nodes[1]).await;
        assert!(!after.is_superseded() && after.user_id().is_some());
        nodes[0].revoke_all().await.unwrap();
        db.pass_for_cutoffs(minutes(1)).await;
    }
}

/// Every action of a request that left with the old cookie and is in flight while the secret is replaced.
async fn promise_11_the_answer_to_an_older_request_leaves_the_new_cookie_alone(db: Db) {
    let sessions = db.sessions().await;
    for way in WAYS {
        for act in ["read", "touch", "insert", "update", "clear", "renew", "log out"] {
            let (mut browser, _) = Browser::logged_in(&sessions, "ada").await;
            browser.open(&sessions).await.update("cart", |n: &mut u64| *n += 1).await.unwrap();
            if act == "touch" {
                db.pass(minutes(10)).await;
            }
            let older = browser.open(&sessions).await;
            replace(way, &sessions, &mut browser).await;
            db.heard().await;
            let acted = match act {
                "insert" => older.insert("late", 1),
                "update" => older.update("late", |n: &mut u64| *n += 1).await,
                "clear" => {
                    older.clear();
                    Ok(())
                }
                "renew" => older.renew().await,
                "log out" => older.log_out().await.map(drop),
                _ => Ok(()),
            };
            let finished = older.finish().await;
            let error = acted.err().or(finished.as_ref().err().cloned());
            let told = error.map(|error| error.kind());
            let writes = !["read", "touch"].contains(&act);
            assert_eq!(told, writes.then_some(ErrorKind::Superseded), "{act} beside {way}");
            // The older answer arrives last.
            let change = finished.unwrap_or_else(|_| older.abandon());
            assert_eq!(change, CookieChange::Keep, "{act} beside {way}");
            browser.keep(change);
            let after = browser.open(&sessions).await;
            assert!(after.user_id().is_some(), "{act} beside {way}");
            assert!(!after.contains("late"));
            sessions.revoke_all().await.unwrap();
            db.pass_for_cutoffs(minutes(1)).await;
        }
    }
}

async fn promise_11_a_replaced_secret_is_a_wrong_one_after_a_minute(db: Db) {
    let sessions = db.sessions().await;
    for way in WAYS {
        let (mut before, browser) = replaced(way, &db, &sessions).await;
        db.pass(seconds(50)).await;
        assert!(before.open(&sessions).await.is_superseded(), "{way}");
        db.pass(seconds(10)).await;
        let late = before.open(&sessions).await;
        assert!(!late.is_superseded(), "{way}");
        assert_eq!((late.id(), late.user_id()), (None, None));
        late.refresh().await.unwrap();
        // A browser that still has the old cookie is another visitor by now.
        late.insert("n", 1).unwrap();
        before.finish(&late).await;
        assert_eq!(before.open(&sessions).await.keys(), ["n"]);
        assert!(browser.open(&sessions).await.user_id().is_some(), "{way}");
        sessions.revoke_all().await.unwrap();
        db.pass_for_cutoffs(minutes(1)).await;
    }
}

async fn promise_11_only_the_last_replaced_secret_is_told_from_a_wrong_one(db: Db) {
    let sessions = db.sessions().await;
    let (first, mut browser) = replaced("renew", &db, &sessions).await;
    let second = browser.clone();
    replace("reauthenticate", &sessions, &mut browser).await;
    assert!(!first.open(&sessions).await.is_superseded());
    assert!(second.open(&sessions).await.is_superseded());
    assert!(!first.is_in(&sessions).await && !second.is_in(&sessions).await);
    assert!(browser.is_in(&sessions).await);
}

async fn promise_11_a_log_in_with_a_replaced_secret_gets_a_session(db: Db) {
    let sessions = db.sessions().await;
    for way in WAYS {
        for user_id in ["ada", "eve"] {
            let (mut late, browser) = replaced(way, &db, &sessions).await;
            let owner = browser.open(&sessions).await.user_id();
            let session = late.open(&sessions).await;
            assert!(session.is_superseded());
            session.log_in(user_id).await.unwrap();
            assert!(!session.is_superseded());
            late.finish(&session).await;
            db.heard().await;
            let after = late.open(&sessions).await;
            assert_eq!(after.user_id().as_deref(), Some(user_id), "{way}");
            // The other request's session is for its user only.
            let shares = owner.as_deref() == Some(user_id);
            assert_eq!(after.contains("cart"), shares, "{way} {user_id}");
            assert_eq!(browser.open(&sessions).await.user_id(), owner, "{way}");
            sessions.revoke_all().await.unwrap();
            db.pass_for_cutoffs(minutes(1)).await;
        }
    }
}

async fn promise_11_a_dead_cookie_is_left_alone_until_a_write_replaces_it(db: Db) {
    let sessions = db.sessions().await;
    for logs_in in [false, true] {
        let (mut browser, id) = Browser::with(&sessions, "n", json!(1)).await;
        // A poll that began earlier is answered after the new log-in.
        let poll = browser.open(&sessions).await;
        assert!(sessions.revoke(id).await.unwrap());
        let late_poll = browser.open(&sessions).await;
        assert_eq!(late_poll.id(), None);

        let dead = browser.cookie.clone();
        let session = browser.open(&sessions).await;
        match logs_in {
            true => session.log_in("ada").await.unwrap(),
            false => session.insert("m", 2).unwrap(),
        }
        browser.finish(&session).await;
        assert_ne!(browser.cookie, dead);
        browser.finish(&poll).await;
        browser.finish(&late_poll).await;
        assert_eq!(browser.open(&sessions).await.id(), session.id());
        assert!(session.id().is_some_and(|new| new != id));
    }
}

async fn promise_11_only_log_out_removes_a_cookie(db: Db) {
    let sessions = db.sessions().await;
    let logged_in = async || Browser::logged_in(&sessions, "ada").await;
    let finish = async |session: &sessile::Session| session.finish().await.unwrap();

    let (ended, id) = logged_in().await;
    sessions.revoke(id).await.unwrap();
    let (expired, _) = logged_in().await;
    db.pass(minutes(90)).await;
    let (forged, other) = (logged_in().await.0, logged_in().await.0);
    // Another session's secret with this session's id.
    let forged = format!("{}{}", &forged.cookie.unwrap()[..22], &other.cookie.unwrap()[22..]);
    let dead = [ended.cookie.unwrap(), expired.cookie.unwrap(), forged, "malformed".to_owned()];
    for cookie in dead {
        let browser = Browser { cookie: Some(cookie) };
        let session = browser.open(&sessions).await;
        session.refresh().await.unwrap();
        assert_eq!(finish(&session).await, CookieChange::Keep);
        let session = browser.open(&sessions).await;
        assert_eq!(session.log_out().await.unwrap().ended, 0);
        assert_eq!(finish(&session).await, CookieChange::Remove);
    }
    let nobodys = sessions.open(None, Client::new()).await.unwrap();
    nobodys.log_out().await.unwrap();
    assert_eq!(finish(&nobodys).await, CookieChange::Keep);

    // Another request ended the session while this request held it.
    let (browser, id) = logged_in().await;
    let held = browser.open(&sessions).await;
    sessions.revoke(id).await.unwrap();
    db.heard().await;
    assert_eq!(held.refresh().await.unwrap_err().kind(), ErrorKind::SessionEnded);
    assert_eq!(finish(&held).await, CookieChange::Keep);

    for way in 0..3 {
        let (browser, id) = logged_in().await;
        let session = browser.open(&sessions).await;
        match way {
            0 => assert_eq!(session.log_out().await.unwrap().ended, 1),
            1 => assert!(session.log_out_everywhere().await.unwrap().ended > 0),
            _ => assert!(session.log_out_device(id).await.unwrap()),
        }
        assert_eq!(finish(&session).await, CookieChange::Remove);
    }
    let (browser, _) = logged_in().await;
    let (_, other) = logged_in().await;
    let session = browser.open(&sessions).await;
    assert!(session.log_out_device(other).await.unwrap());
    session.log_out_others().await.unwrap();
    assert_eq!(finish(&session).await, CookieChange::Keep);
}

/// `handles.rs` goes through every call.
async fn promise_11_a_handle_acts_only_while_it_has_the_secret(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    for way in ["log in", "begin a log-in", "reauthenticate", "renew"] {
        let (mut browser, _) = Browser::logged_in(&nodes[0], "ada").await;
        db.pass(minutes(10)).await;
        let held = browser.open(&nodes[1]).await;
        replace(way, &nodes[0], &mut browser).await;
        db.heard().await;
        for error in [
            held.update("late", |n: &mut u64| *n += 1).await.unwrap_err(),
            held.refresh().await.unwrap_err(),
            held.log_out().await.unwrap_err(),
            held.require_recent(minutes(5)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Superseded, "{way}");
        }
        assert_eq!((held.user_id(), held.authenticated_at()), (None, None), "{way}");
        let after = browser.open(&nodes[0]).await;
        assert_eq!((after.user_id().as_deref(), after.keys()), (Some("ada"), vec![]), "{way}");
    }
}
