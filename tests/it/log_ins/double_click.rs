//! The same user logs in twice from the same anonymous session. The browser may keep either answer.

use serde_json::json;
use sessile::{CookieChange, ErrorKind, OnLimit, Session, SessionId, Sessions, minutes, seconds};

use crate::support::{
    Browser, Db, cases,
    tap::{Gate, Verb},
};

cases! {
    and_wrapped:
    whatever_answer_the_browser_keeps_it_is_in_and_has_one_device,
    two_clicks_at_the_same_moment_are_one_session,
    a_click_that_is_held_before_its_statement_joins_the_session,
    a_click_whose_answer_is_held_is_in_all_the_same,
    both_write_to_the_one_cart,
    a_write_settles_too,
    the_other_cookie_lives_until_a_minute_has_passed,
    the_same_user_a_minute_later_gets_a_session_of_their_own,
    another_users_click_is_a_session_of_its_own,
    many_clicks_are_one_session_and_then_another,
    log_out_others_from_one_twin_ends_the_other,
    log_out_of_one_twin_ends_both,
    a_renewal_of_one_twin_ends_the_other,
    the_limit_counts_twins_once,
    with_the_old_cookie_a_third_request_is_superseded,
}

/// A visitor with a cart, before the click.
async fn visitor(sessions: &Sessions) -> (Browser, SessionId) {
    Browser::with(sessions, "cart", json!("tea")).await
}

/// Both requests have left, and log in one after the other. Returns their answers, in that order.
async fn double_click(
    nodes: [&Sessions; 2],
    browser: &Browser,
    user_id: &str,
) -> [CookieChange; 2] {
    let first = browser.open(nodes[0]).await;
    let second = browser.open(nodes[1]).await;
    first.log_in(user_id).await.unwrap();
    second.log_in(user_id).await.unwrap();
    [first.finish().await.unwrap(), second.finish().await.unwrap()]
}

/// A browser with the first answer's cookie, and one with the second answer's.
async fn twins(sessions: &Sessions, browser: &Browser, user_id: &str) -> [Browser; 2] {
    double_click([sessions, sessions], browser, user_id).await.map(|change| {
        let mut twin = Browser::default();
        twin.keep(change);
        twin
    })
}

/// The number of secrets in the database beyond the first one of each row.
async fn further_secrets(db: &Db) -> i64 {
    db.number(
        "select coalesce(sum(length(twin_hashes)), 0)::bigint / 32 from sessile.sessions",
        "select coalesce(sum(length(twin_hashes)), 0) / 32 from sessions",
    )
    .await
}

/// A whole request that only reads.
async fn visit(sessions: &Sessions, browser: &mut Browser) -> Session {
    let session = browser.open(sessions).await;
    browser.finish(&session).await;
    sessions.flush().await.unwrap();
    session
}

async fn whatever_answer_the_browser_keeps_it_is_in_and_has_one_device(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    // The answers that arrive, in their order.
    for arrivals in [&[0, 1][..], &[1, 0], &[0], &[1]] {
        for comes_late in [false, true] {
            let user_id = format!("{arrivals:?} {comes_late}");
            let (mut browser, id) = visitor(&nodes[0]).await;
            let answers = if comes_late {
                // The second request loads its session after the first one has finished.
                let mut answers = Vec::new();
                for node in &nodes {
                    let session = browser.open(node).await;
                    session.log_in(&user_id).await.unwrap();
                    answers.push(session.finish().await.unwrap());
                    db.heard().await;
                }
                <[CookieChange; 2]>::try_from(answers).unwrap()
            } else {
                double_click([&nodes[0], &nodes[1]], &browser, &user_id).await
            };
            for &n in arrivals {
                browser.keep(answers[n].clone());
            }
            db.heard().await;
            for node in &nodes {
                let session = browser.open(node).await;
                assert_eq!(session.user_id().as_ref(), Some(&user_id));
                assert_eq!(session.id(), Some(id));
                assert_eq!(session.get::<String>("cart").unwrap().as_deref(), Some("tea"));
                assert_eq!(session.devices().await.unwrap().len(), 1, "{user_id}");
            }
            assert_eq!(further_secrets(&db).await, 1);

            db.pass(minutes(1)).await;
            visit(&nodes[1], &mut browser).await;
            db.heard().await;
            // Exactly one secret is left: the browser's.
            assert_eq!(further_secrets(&db).await, 0, "{user_id}");
            let mut live = 0;
            for answer in answers {
                let mut twin = Browser::default();
                twin.keep(answer);
                for node in &nodes {
                    live += u32::from(twin.is_in(node).await);
                }
            }
            assert_eq!(live, 2, "{user_id}");
            let session = browser.open(&nodes[0]).await;
            assert_eq!(session.user_id().as_ref(), Some(&user_id));
            assert_eq!(session.devices().await.unwrap().len(), 1, "{user_id}");
            assert_eq!(nodes[0].count_of_user(&user_id).await.unwrap(), 1);
        }
    }
}

async fn two_clicks_at_the_same_moment_are_one_session(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    for n in 0..10 {
        let user_id = format!("user {n}");
        let (browser, id) = visitor(&nodes[0]).await;
        let mut clicks = tokio::task::JoinSet::new();
        for node in nodes.clone() {
            let (mut browser, user_id) = (browser.clone(), user_id.clone());
            let session = browser.open(&node).await;
            clicks.spawn(async move {
                session.log_in(&user_id).await.unwrap();
                browser.finish(&session).await;
                browser
            });
        }
        for browser in clicks.join_all().await {
            db.heard().await;
            let session = browser.open(&nodes[0]).await;
            assert_eq!((session.id(), session.user_id()), (Some(id), Some(user_id.clone())));
            assert!(session.contains("cart"));
        }
        assert_eq!(nodes[0].count_of_user(&user_id).await.unwrap(), 1);
    }
}

async fn a_click_that_is_held_before_its_statement_joins_the_session(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = visitor(&sessions).await;
    let gate = Gate::before(Verb::LogIn);
    let held = browser.open(&db.tapped(&gate).build().unwrap()).await;
    let clicked = held.clone();
    let task = tokio::spawn(async move { clicked.log_in("ada").await });
    gate.reached().await;
    // Meanwhile the other answer has arrived, and the browser has sent a request with it.
    let first = browser.open(&sessions).await;
    first.log_in("ada").await.unwrap();
    browser.finish(&first).await;
    browser.open(&sessions).await.update("sugar", |n: &mut u64| *n += 1).await.unwrap();
    gate.open();
    task.await.unwrap().unwrap();
    assert_eq!(held.id(), Some(id));
    assert_eq!(held.keys(), ["cart", "sugar"]);
    assert!(browser.is_in(&sessions).await);
    browser.finish(&held).await;
    assert_eq!(browser.open(&sessions).await.keys(), ["cart", "sugar"]);
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
}

async fn a_click_whose_answer_is_held_is_in_all_the_same(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = visitor(&sessions).await;
    let gate = Gate::after(Verb::LogIn);
    let held = browser.open(&db.tapped(&gate).build().unwrap()).await;
    let clicked = held.clone();
    let task = tokio::spawn(async move { clicked.log_in("ada").await });
    gate.reached().await;
    let second = browser.open(&sessions).await;
    second.log_in("ada").await.unwrap();
    browser.finish(&second).await;
    assert_eq!(second.id(), Some(id));
    gate.open();
    task.await.unwrap().unwrap();
    browser.finish(&held).await;
    db.heard().await;
    assert_eq!(browser.open(&sessions).await.id(), Some(id));
    // The handle continues with its own secret.
    held.update("sugar", |n: &mut u64| *n += 1).await.unwrap();
    second.update("sugar", |n: &mut u64| *n += 1).await.unwrap();
    assert_eq!(browser.open(&sessions).await.get("sugar").unwrap(), Some(2));
}

async fn both_write_to_the_one_cart(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = visitor(&sessions).await;
    let twins = twins(&sessions, &browser, "ada").await;
    for twin in [&twins[0], &twins[1], &twins[0]] {
        let session = twin.open(&sessions).await;
        session.update("n", |n: &mut u64| *n += 1).await.unwrap();
        session.refresh().await.unwrap();
        session.require_recent(minutes(1)).unwrap();
        session.insert("theme", "dark").unwrap();
        assert_eq!(session.finish().await.unwrap(), CookieChange::Keep);
    }
    for twin in &twins {
        let session = twin.open(&sessions).await;
        assert_eq!(session.get("n").unwrap(), Some(3));
        assert_eq!(session.keys(), ["cart", "n", "theme"]);
    }
}

/// The first request after a minute may be one that writes.
async fn a_write_settles_too(db: Db) {
    let sessions = db.sessions().await;
    for way in ["update", "insert", "refresh"] {
        let (browser, _) = visitor(&sessions).await;
        let [other, mut kept] = twins(&sessions, &browser, way).await;
        db.pass(minutes(1)).await;
        let session = kept.open(&sessions).await;
        match way {
            "update" => session.update("n", |n: &mut u64| *n += 1).await.unwrap(),
            "insert" => session.insert("n", 1).unwrap(),
            _ => session.refresh().await.unwrap(),
        }
        kept.finish(&session).await;
        sessions.flush().await.unwrap();
        db.heard().await;
        assert_eq!(further_secrets(&db).await, 0, "{way}");
        assert!(!other.is_in(&sessions).await && kept.is_in(&sessions).await, "{way}");
    }
}

async fn the_other_cookie_lives_until_a_minute_has_passed(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = visitor(&sessions).await;
    let [mut first, mut second] = twins(&sessions, &browser, "ada").await;
    db.pass(seconds(50)).await;
    for _ in 0..2 {
        for twin in [&mut first, &mut second] {
            assert!(visit(&sessions, twin).await.user_id().is_some());
        }
    }
    db.pass(seconds(10)).await;
    assert!(visit(&sessions, &mut first).await.user_id().is_some());
    db.heard().await;
    assert!(!second.is_in(&sessions).await);
    assert!(!second.open(&sessions).await.is_superseded());
    assert!(first.is_in(&sessions).await);
}

async fn the_same_user_a_minute_later_gets_a_session_of_their_own(db: Db) {
    let sessions = db.sessions().await;
    let (browser, id) = visitor(&sessions).await;
    let held = browser.open(&sessions).await;
    let mut first = browser.clone();
    let session = first.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    first.finish(&session).await;
    db.pass(minutes(1)).await;
    let late = browser.open(&sessions).await;
    for session in [held, late] {
        session.log_in("ada").await.unwrap();
        assert_ne!(session.id(), Some(id));
    }
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 3);
    assert_eq!(further_secrets(&db).await, 0);
    assert_eq!(first.open(&sessions).await.id(), Some(id));
}

async fn another_users_click_is_a_session_of_its_own(db: Db) {
    let sessions = db.sessions().await;
    for comes_late in [false, true] {
        let (browser, id) = visitor(&sessions).await;
        let [mut adas, mut bobs] = [browser.clone(), browser.clone()];
        let held = bobs.open(&sessions).await;
        let session = adas.open(&sessions).await;
        session.log_in("ada").await.unwrap();
        session.insert("adas", 1).unwrap();
        adas.finish(&session).await;
        let session = if comes_late { bobs.open(&sessions).await } else { held };
        session.log_in("bob").await.unwrap();
        bobs.finish(&session).await;
        let (ada, bob) = (adas.open(&sessions).await, bobs.open(&sessions).await);
        assert_eq!((ada.id(), ada.user_id().as_deref()), (Some(id), Some("ada")));
        assert_ne!(bob.id(), Some(id));
        assert_eq!(bob.user_id().as_deref(), Some("bob"));
        assert!(!bob.contains("adas"));
        assert_eq!(ada.keys(), ["adas", "cart"]);
    }
    assert_eq!(further_secrets(&db).await, 0);
}

async fn many_clicks_are_one_session_and_then_another(db: Db) {
    let sessions = db.sessions().await;
    let (browser, id) = visitor(&sessions).await;
    let mut handles = Vec::new();
    for _ in 0..7 {
        handles.push(browser.open(&sessions).await);
    }
    let mut browsers = Vec::new();
    for session in &handles {
        session.log_in("ada").await.unwrap();
        let mut browser = Browser::default();
        browser.finish(session).await;
        browsers.push(browser);
    }
    for browser in &browsers {
        assert_eq!(browser.open(&sessions).await.user_id().as_deref(), Some("ada"));
    }
    let joined = handles.iter().filter(|session| session.id() == Some(id)).count();
    assert_eq!((joined, further_secrets(&db).await), (5, 4));
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 3);
}

async fn log_out_others_from_one_twin_ends_the_other(db: Db) {
    let sessions = db.sessions().await;
    for (acting, n) in [(0, 0), (1, 1)] {
        let (browser, id) = visitor(&sessions).await;
        let twins = twins(&sessions, &browser, &format!("user {n}")).await;
        let (thief, held) = (&twins[1 - acting], twins[1 - acting].open(&sessions).await);
        let session = twins[acting].open(&sessions).await;
        assert_eq!(session.log_out_others().await.unwrap().ended, 0);
        db.heard().await;
        assert!(!thief.is_in(&sessions).await);
        let error = held.update("n", |n: &mut u64| *n += 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Superseded);
        assert_eq!(twins[acting].open(&sessions).await.id(), Some(id));
        session.update("n", |n: &mut u64| *n += 1).await.unwrap();
        assert_eq!(further_secrets(&db).await, 0);
    }
}

async fn log_out_of_one_twin_ends_both(db: Db) {
    let sessions = db.sessions().await;
    for leaving in 0..2 {
        let (browser, _) = visitor(&sessions).await;
        let twins = twins(&sessions, &browser, "ada").await;
        let session = twins[leaving].open(&sessions).await;
        assert_eq!(session.log_out().await.unwrap().ended, 1);
        assert_eq!(session.finish().await.unwrap(), CookieChange::Remove);
        for twin in &twins {
            assert!(!twin.is_in(&sessions).await);
        }
        assert_eq!(sessions.count_of_user("ada").await.unwrap(), 0);
    }
}

async fn a_renewal_of_one_twin_ends_the_other(db: Db) {
    let sessions = db.sessions().await;
    for reauthenticates in [false, true] {
        for acting in 0..2 {
            let (browser, id) = visitor(&sessions).await;
            let mut twins = twins(&sessions, &browser, "ada").await;
            let old = twins[acting].clone();
            let session = twins[acting].open(&sessions).await;
            match reauthenticates {
                true => session.reauthenticate().await.unwrap(),
                false => session.renew().await.unwrap(),
            }
            twins[acting].finish(&session).await;
            session.update("n", |n: &mut u64| *n += 1).await.unwrap();
            assert_eq!(twins[acting].open(&sessions).await.id(), Some(id));
            assert!(old.open(&sessions).await.is_superseded());
            assert!(!twins[1 - acting].is_in(&sessions).await);
            assert_eq!(further_secrets(&db).await, 0);
        }
    }
}

async fn the_limit_counts_twins_once(db: Db) {
    for on_limit in [OnLimit::Refuse, OnLimit::EndOldest] {
        let builder = db.builder().await.sessions_per_user(1, on_limit);
        let sessions = builder.build().unwrap();
        let user_id = format!("{on_limit:?}");
        let (browser, _) = visitor(&sessions).await;
        for twin in twins(&sessions, &browser, &user_id).await {
            assert!(twin.is_in(&sessions).await, "{on_limit:?}");
        }
        assert_eq!(sessions.count_of_user(&user_id).await.unwrap(), 1);
    }
}

async fn with_the_old_cookie_a_third_request_is_superseded(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = visitor(&sessions).await;
    let cart_post = browser.open(&sessions).await;
    twins(&sessions, &browser, "ada").await;
    let error = cart_post.update("cart", |_: &mut String| ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Superseded);
    let late = browser.open(&sessions).await;
    assert!(late.is_superseded());
    assert_eq!(late.finish().await.unwrap(), CookieChange::Keep);
}
