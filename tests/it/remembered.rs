//! "Remember me", and the effect of a changed policy on existing sessions.

use std::time::Duration;

use serde_json::json;
use sessile::{CookieChange, ErrorKind, Policy, Session, Sessions, days, hours, minutes, seconds};

use crate::support::{Browser, Db, cases};

cases! {
    the_presets_end_sessions_when_nist_says_so,
    a_remembered_session_outlives_the_others,
    a_remembered_cookie_outlives_the_browsers_window,
    a_cookie_that_is_not_remembered_is_for_the_window,
    a_changed_timeout_holds_from_the_next_log_in,
    a_lowered_cap_lets_data_shrink,
    a_session_is_remembered_though_its_timeout_is_that_of_the_others,
    a_longer_anonymous_timeout_makes_nobody_forgotten_or_remembered,
    a_changed_policy_changes_nothing_for_sessions_that_are_there,
    a_session_that_does_not_say_is_remembered_by_its_timeout,
}

/// How long the browser keeps the cookie; `None` if there is no new cookie.
async fn max_age(session: &Session, browser: &mut Browser) -> Option<Option<Duration>> {
    let change = session.finish().await.unwrap();
    let age = match &change {
        CookieChange::Set { max_age, .. } => Some(*max_age),
        _ => None,
    };
    browser.keep(change);
    age
}

async fn the_presets_end_sessions_when_nist_says_so(db: Db) {
    for (policy, idle, absolute) in [
        (Policy::aal1(), days(30), days(30)),
        (Policy::aal2(), hours(1), hours(24)),
        (Policy::aal3(), minutes(15), hours(12)),
    ] {
        let sessions = db.builder().await.policy(policy).build().unwrap();
        let (browser, _) = Browser::logged_in(&sessions, "ada").await;
        db.pass(idle - seconds(10)).await;
        assert!(browser.is_in(&sessions).await);
        db.pass(seconds(10)).await;
        assert!(!browser.is_in(&sessions).await);

        let (browser, _) = Browser::logged_in(&sessions, "ada").await;
        let step = idle * 4 / 5;
        let mut passed = Duration::ZERO;
        while passed + step < absolute {
            db.pass(step).await;
            passed += step;
            let session = browser.open(&sessions).await;
            assert!(session.id().is_some(), "{passed:?} of {absolute:?}");
            session.finish().await.unwrap();
            sessions.flush().await.unwrap();
        }
        db.pass(absolute - passed).await;
        assert!(!browser.is_in(&sessions).await);
    }
}

async fn remembered(sessions: &Sessions) -> Browser {
    let mut browser = Browser::default();
    let session = browser.open(sessions).await;
    session.log_in("ada").remember_me(true).await.unwrap();
    browser.finish(&session).await;
    browser
}

async fn a_remembered_session_outlives_the_others(db: Db) {
    let builder = db.builder().await.idle_timeout(hours(1)).remember_me(days(7), days(30));
    let sessions = builder.build().unwrap();
    let mut browser = remembered(&sessions).await;
    db.pass(days(6)).await;
    let session = browser.open(&sessions).await;
    session.insert("n", 1).unwrap();
    browser.finish(&session).await;
    db.pass(days(6)).await;
    // It is still remembered when its user authenticates again.
    let session = browser.open(&sessions).await;
    session.reauthenticate().await.unwrap();
    browser.finish(&session).await;
    db.pass(days(6)).await;
    assert!(browser.is_in(&sessions).await);
    // A log-in without "remember me" ends that.
    let session = browser.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    db.pass(hours(1)).await;
    assert!(!browser.is_in(&sessions).await);
}

async fn a_remembered_cookie_outlives_the_browsers_window(db: Db) {
    for (idle, (remembered_idle, absolute)) in
        [(hours(1), (days(30), days(30))), (days(1), (days(7), days(90)))]
    {
        let builder = db.builder().await.idle_timeout(idle).absolute_timeout(days(8));
        let sessions = builder.remember_me(remembered_idle, absolute).build().unwrap();
        let mut browser = Browser::default();
        let session = browser.open(&sessions).await;
        session.log_in("ada").remember_me(true).await.unwrap();
        let age = max_age(&session, &mut browser).await.unwrap().expect("it is remembered");
        assert!(age > absolute - minutes(1) && age <= absolute, "{age:?}");

        let session = browser.open(&sessions).await;
        session.renew().await.unwrap();
        let age = max_age(&session, &mut browser).await.unwrap().expect("a renewal remembers");
        assert!(age > absolute - minutes(1) && age <= absolute, "{age:?}");

        db.pass(hours(12)).await;
        let session = browser.open(&sessions).await;
        session.reauthenticate().await.unwrap();
        let age = max_age(&session, &mut browser).await.unwrap().expect("it is remembered again");
        assert!(age > absolute - minutes(1) && age <= absolute, "{age:?}");
    }
}

async fn a_cookie_that_is_not_remembered_is_for_the_window(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    session.insert("n", 1).unwrap();
    assert_eq!(max_age(&session, &mut browser).await, Some(None));
    let session = browser.open(&sessions).await;
    session.log_in("ada").remember_me(false).await.unwrap();
    assert_eq!(max_age(&session, &mut browser).await, Some(None));
    let session = browser.open(&sessions).await;
    session.reauthenticate().await.unwrap();
    assert_eq!(max_age(&session, &mut browser).await, Some(None));
    let session = browser.open(&sessions).await;
    session.insert("n", 2).unwrap();
    assert_eq!(max_age(&session, &mut browser).await, None);
}

async fn a_changed_timeout_holds_from_the_next_log_in(db: Db) {
    let before = db.builder().await.idle_timeout(hours(1)).build().unwrap();
    let after = db.builder().await.idle_timeout(hours(3)).build().unwrap();
    let (browser, _) = Browser::logged_in(&before, "ada").await;
    let (mut again, _) = Browser::logged_in(&before, "ada").await;
    let session = again.open(&after).await;
    session.log_in("ada").await.unwrap();
    again.finish(&session).await;
    db.pass(hours(1)).await;
    assert!(!browser.is_in(&after).await);
    assert!(again.is_in(&before).await);
}

async fn a_lowered_cap_lets_data_shrink(db: Db) {
    let before = db.sessions().await;
    let after = db.builder().await.data_limit(100).build().unwrap();
    let (browser, _) = Browser::with(&before, "big", json!("x".repeat(1000))).await;
    let session = browser.open(&before).await;
    session.insert("small", 1).unwrap();
    session.finish().await.unwrap();

    let session = browser.open(&after).await;
    assert_eq!(session.insert("small", 2).unwrap_err().kind(), ErrorKind::InvalidData);
    session.remove("small");
    session.finish().await.unwrap();
    let session = browser.open(&after).await;
    assert_eq!(session.keys(), ["big"]);
    session.remove("big");
    session.insert("small", 2).unwrap();
    session.finish().await.unwrap();
    assert_eq!(browser.open(&after).await.keys(), ["small"]);
}

/// The lifetime of the cookie when the session is renewed.
async fn renewed(sessions: &Sessions, browser: &mut Browser) -> Option<Duration> {
    let session = browser.open(sessions).await;
    session.renew().await.unwrap();
    max_age(&session, browser).await.expect("a renewal sets the cookie")
}

/// The same when its user authenticates again.
async fn reauthenticated(sessions: &Sessions, browser: &mut Browser) -> Option<Duration> {
    let session = browser.open(sessions).await;
    session.reauthenticate().await.unwrap();
    max_age(&session, browser).await.expect("a reauthentication sets the cookie")
}

fn is_about(age: Option<Duration>, whole: Duration) -> bool {
    age.is_some_and(|age| age <= whole && age > whole - minutes(1))
}

async fn a_session_is_remembered_though_its_timeout_is_that_of_the_others(db: Db) {
    let builder = db.builder().await.idle_timeout(days(14)).absolute_timeout(days(20));
    let sessions = builder.remember_me(days(14), days(90)).build().unwrap();
    let mut browser = remembered(&sessions).await;
    let (mut other, _) = Browser::logged_in(&sessions, "ada").await;
    assert!(is_about(renewed(&sessions, &mut browser).await, days(90)));
    assert_eq!(renewed(&sessions, &mut other).await, None);
    db.pass(days(1)).await;
    assert!(is_about(reauthenticated(&sessions, &mut browser).await, days(90)));
    assert_eq!(reauthenticated(&sessions, &mut other).await, None);
    for _ in 0..3 {
        db.pass(days(10)).await;
        for browser in [&browser, &other] {
            browser.open(&sessions).await.finish().await.unwrap();
        }
        sessions.flush().await.unwrap();
    }
    assert!(browser.is_in(&sessions).await, "90 days are not over");
    assert!(!other.is_in(&sessions).await, "20 days are");
}

async fn a_longer_anonymous_timeout_makes_nobody_forgotten_or_remembered(db: Db) {
    let builder = db.builder().await.absolute_timeout(days(80)).anonymous_idle_timeout(days(60));
    let sessions = builder.remember_me(days(30), days(30)).build().unwrap();
    let mut browser = remembered(&sessions).await;
    assert!(is_about(renewed(&sessions, &mut browser).await, days(30)));
    assert!(is_about(reauthenticated(&sessions, &mut browser).await, days(30)));
    db.pass(days(29)).await;
    assert!(browser.is_in(&sessions).await);

    let (mut visitor, _) = Browser::with(&sessions, "cart", json!(1)).await;
    assert_eq!(renewed(&sessions, &mut visitor).await, None);
    let session = visitor.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    assert_eq!(max_age(&session, &mut visitor).await, Some(None));
    assert_eq!(reauthenticated(&sessions, &mut visitor).await, None);
    db.pass(hours(1)).await;
    assert!(!visitor.is_in(&sessions).await);
}

async fn a_changed_policy_changes_nothing_for_sessions_that_are_there(db: Db) {
    let builder = db.builder().await.idle_timeout(days(10)).absolute_timeout(days(10));
    let before = builder.remember_me(days(7), days(30)).build().unwrap();
    let policies = [
        Policy::aal2(),
        Policy::aal1(),
        Policy::default().remember_me(minutes(1), minutes(2)),
        Policy::default().idle_timeout(minutes(1)).anonymous_idle_timeout(minutes(1)),
        Policy::default().persistent_anonymous_cookie(true),
    ];
    for policy in policies {
        let said = format!("{policy:?}");
        let after = db.builder().await.policy(policy).build().unwrap();
        let mut browser = remembered(&before).await;
        let (mut other, _) = Browser::logged_in(&before, "ada").await;
        assert!(is_about(renewed(&after, &mut browser).await, days(30)), "{said}");
        assert_eq!(renewed(&after, &mut other).await, None, "{said}");
        assert!(is_about(reauthenticated(&after, &mut browser).await, days(30)), "{said}");
        assert_eq!(reauthenticated(&after, &mut other).await, None, "{said}");
        db.pass(days(7) - minutes(1)).await;
        assert!(browser.is_in(&after).await && other.is_in(&after).await, "{said}");
        db.pass(minutes(1)).await;
        assert!(!browser.is_in(&after).await && other.is_in(&after).await, "{said}");
    }
}

/// As the first release wrote them: a timeout longer than the policy's means that the log-in asked for it.
async fn a_session_that_does_not_say_is_remembered_by_its_timeout(db: Db) {
    let builder = db.builder().await.idle_timeout(hours(1));
    let sessions = builder.remember_me(days(30), days(30)).build().unwrap();
    let as_long = db.builder().await.idle_timeout(days(30)).absolute_timeout(days(30));
    let as_long = as_long.build().unwrap();
    let mut browser = remembered(&sessions).await;
    let (mut other, _) = Browser::logged_in(&sessions, "ada").await;
    let null = "update sessions set remembered = null";
    db.run(&null.replace("sessions", "sessile.sessions"), null).await;
    assert!(is_about(renewed(&sessions, &mut browser).await, days(30)));
    assert!(is_about(reauthenticated(&sessions, &mut browser).await, days(30)));
    assert_eq!(renewed(&sessions, &mut other).await, None);
    assert_eq!(renewed(&as_long, &mut browser).await, None, "nothing tells it from the others");
    // The next log-in writes it into the row.
    let session = browser.open(&sessions).await;
    session.log_in("ada").remember_me(true).await.unwrap();
    assert!(is_about(max_age(&session, &mut browser).await.unwrap(), days(30)));
    assert!(is_about(renewed(&as_long, &mut browser).await, days(30)));
}
