//! Timeouts, limits and their effects on a handle.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use sessile::{CookieChange, ErrorKind, OnLimit, Policy, Session, days, hours, minutes, seconds};

use crate::support::{Browser, Db, cases};

cases! {
    an_idle_session_ends_and_a_used_one_goes_on,
    an_anonymous_session_has_its_own_idle_timeout,
    remember_me_lasts_and_keeps_its_cookie,
    a_visitors_cookie_lasts_where_the_policy_says_so,
    remember_me_needs_a_policy_that_has_it,
    a_log_in_restarts_the_absolute_timeout,
    a_recent_authentication_is_required,
    an_anonymous_session_has_no_user_to_ask_about,
    the_anonymous_data_comes_along_unless_it_is_discarded,
    another_users_data_never_comes_along,
    the_whole_data_is_one_value,
    a_user_may_have_so_many_sessions,
    devices_are_listed_newest_first_and_this_one_is_marked,
    only_a_users_own_device_is_logged_out,
}

async fn request(browser: &mut Browser, sessions: &sessile::Sessions) -> Session {
    let session = browser.open(sessions).await;
    let change = session.finish().await.unwrap();
    browser.keep(change);
    sessions.flush().await.unwrap();
    session
}

async fn an_idle_session_ends_and_a_used_one_goes_on(db: Db) {
    let sessions = db.builder().await.idle_timeout(minutes(10)).build().unwrap();
    let (mut used, _) = Browser::logged_in(&sessions, "ada").await;
    let (idle, _) = Browser::logged_in(&sessions, "ada").await;
    for _ in 0..3 {
        db.pass(minutes(6)).await;
        assert!(request(&mut used, &sessions).await.id().is_some());
    }
    assert!(!idle.is_in(&sessions).await);
}

async fn an_anonymous_session_has_its_own_idle_timeout(db: Db) {
    let builder = db.builder().await.idle_timeout(hours(1));
    let sessions = builder.anonymous_idle_timeout(minutes(5)).build().unwrap();
    let (anonymous, _) = Browser::with(&sessions, "cart", json!(1)).await;
    let (mut user, _) = Browser::with(&sessions, "cart", json!(1)).await;
    let session = user.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    user.finish(&session).await;
    db.pass(minutes(6)).await;
    assert!(!anonymous.is_in(&sessions).await);
    assert!(user.is_in(&sessions).await);
}

async fn remember_me_lasts_and_keeps_its_cookie(db: Db) {
    let sessions = db.builder().await.remember_me(days(10), days(30)).build().unwrap();
    for remember_me in [false, true] {
        let mut browser = Browser::default();
        let session = browser.open(&sessions).await;
        session.log_in("ada").remember_me(remember_me).await.unwrap();
        let change = session.finish().await.unwrap();
        let CookieChange::Set { max_age, .. } = &change else { panic!("no cookie") };
        assert_eq!(max_age.map(|age| age.as_secs() / 86_400), remember_me.then_some(29));
        browser.keep(change);
        // A renewal keeps the cookie's lifetime.
        let session = browser.open(&sessions).await;
        session.renew().await.unwrap();
        let change = session.finish().await.unwrap();
        let CookieChange::Set { max_age, .. } = &change else { panic!("no cookie") };
        assert_eq!(max_age.is_some(), remember_me);
        browser.keep(change);
        db.pass(days(9)).await;
        assert_eq!(browser.is_in(&sessions).await, remember_me);
    }
}

async fn a_visitors_cookie_lasts_where_the_policy_says_so(db: Db) {
    let max_age = async |browser: &mut Browser, session: &Session| {
        let change = session.finish().await.unwrap();
        let CookieChange::Set { max_age, .. } = &change else { panic!("no cookie") };
        let age = *max_age;
        browser.keep(change);
        age
    };
    for is_persistent in [false, true] {
        let builder = db.builder().await.absolute_timeout(days(3));
        let builder = builder.persistent_anonymous_cookie(is_persistent);
        let sessions = builder.build().unwrap();
        let is_kept = |age: Option<Duration>| {
            assert!(age.is_none_or(|age| age <= days(3) && age > days(3) - minutes(1)), "{age:?}");
            age.is_some()
        };
        let mut browser = Browser::default();
        let session = browser.open(&sessions).await;
        session.insert("cart", 1).unwrap();
        assert_eq!(is_kept(max_age(&mut browser, &session).await), is_persistent);
        let session = browser.open(&sessions).await;
        session.renew().await.unwrap();
        assert_eq!(is_kept(max_age(&mut browser, &session).await), is_persistent);
        let session = browser.open(&sessions).await;
        session.begin_log_in().user("ada").await.unwrap();
        assert_eq!(is_kept(max_age(&mut browser, &session).await), is_persistent);
        // A user's cookie is kept only if the log-in says "remember me".
        let session = browser.open(&sessions).await;
        session.complete_log_in().await.unwrap();
        assert!(!is_kept(max_age(&mut browser, &session).await));
    }
}

async fn remember_me_needs_a_policy_that_has_it(db: Db) {
    let sessions = db.builder().await.policy(Policy::aal2()).build().unwrap();
    let session = Browser::default().open(&sessions).await;
    let error = session.log_in("ada").remember_me(true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(db.rows().await, 0);
}

async fn a_log_in_restarts_the_absolute_timeout(db: Db) {
    let builder = db.builder().await.idle_timeout(hours(10));
    let sessions = builder.absolute_timeout(hours(10)).build().unwrap();
    let (mut browser, _) = Browser::logged_in(&sessions, "ada").await;
    for restart in ["log in", "reauthenticate"] {
        db.pass(hours(7)).await;
        let session = browser.open(&sessions).await;
        match restart {
            "log in" => session.log_in("ada").await.unwrap(),
            _ => session.reauthenticate().await.unwrap(),
        }
        browser.finish(&session).await;
        db.pass(hours(2)).await;
        assert!(browser.is_in(&sessions).await, "{restart}");
    }
    db.pass(hours(7)).await;
    assert!(request(&mut browser, &sessions).await.id().is_some());
    db.pass(hours(2)).await;
    assert!(!browser.is_in(&sessions).await, "activity does not move it");
}

async fn a_recent_authentication_is_required(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, _) = Browser::logged_in(&sessions, "ada").await;
    browser.open(&sessions).await.require_recent(minutes(5)).unwrap();
    db.pass(minutes(6)).await;
    let session = browser.open(&sessions).await;
    let error = session.require_recent(minutes(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReauthenticationRequired);
    session.reauthenticate().await.unwrap();
    session.require_recent(minutes(5)).unwrap();
    browser.finish(&session).await;
    browser.open(&sessions).await.require_recent(minutes(5)).unwrap();
}

async fn an_anonymous_session_has_no_user_to_ask_about(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "a", json!(1)).await;
    let session = browser.open(&sessions).await;
    let errors = [
        session.require_recent(seconds(1)).unwrap_err(),
        session.reauthenticate().await.unwrap_err(),
        session.devices().await.unwrap_err(),
        session.log_out_others().await.unwrap_err(),
        session.log_out_everywhere().await.unwrap_err(),
        session.log_out_device(session.id().unwrap()).await.unwrap_err(),
    ];
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::NotLoggedIn), "{errors:?}");
    assert!(browser.is_in(&sessions).await, "and nothing was ended");
}

async fn the_anonymous_data_comes_along_unless_it_is_discarded(db: Db) {
    let sessions = db.sessions().await;
    for discard in [false, true] {
        let (mut browser, _) = Browser::with(&sessions, "cart", json!(1)).await;
        let session = browser.open(&sessions).await;
        session.insert("coupon", 2).unwrap();
        let log_in = session.log_in("ada");
        if discard { log_in.discard_data().await } else { log_in.await }.unwrap();
        browser.finish(&session).await;
        let keys = browser.open(&sessions).await.keys();
        assert_eq!(keys.is_empty(), discard, "{keys:?}");
    }
}

async fn another_users_data_never_comes_along(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, _) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    session.insert("address", "Ada's").unwrap();
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    session.insert("note", "Ada's too").unwrap();
    session.log_in("bob").await.unwrap();
    session.insert("address", "Bob's").unwrap();
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.data::<serde_json::Value>().unwrap(), json!({"address": "Bob's"}));
    assert!(!db.dump().await.contains("Ada's"));
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Whole {
    theme: String,
    visits: u32,
}

async fn the_whole_data_is_one_value(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "theme", json!("dark")).await;
    let session = browser.open(&sessions).await;
    session.insert("visits", 3).unwrap();
    let whole = Whole { theme: "dark".to_owned(), visits: 3 };
    assert_eq!(session.data::<Whole>().unwrap(), whole);
    session.clear();
    assert_eq!(session.data::<Whole>().unwrap(), Whole::default());
    session.insert("visits", "many").unwrap();
    assert_eq!(session.data::<Whole>().unwrap_err().kind(), ErrorKind::WrongType);
}

async fn a_user_may_have_so_many_sessions(db: Db) {
    let limited =
        async |on_limit| db.builder().await.sessions_per_user(2, on_limit).build().unwrap();
    let sessions = limited(OnLimit::EndOldest).await;
    let mut browsers = Vec::new();
    for _ in 0..3 {
        browsers.push(Browser::logged_in(&sessions, "ada").await.0);
    }
    assert!(!browsers[0].is_in(&sessions).await, "the oldest has ended");
    assert!(browsers[1].is_in(&sessions).await && browsers[2].is_in(&sessions).await);
    // A log-in to a session that already counts adds none.
    browsers[1].open(&sessions).await.log_in("ada").await.unwrap();
    assert!(browsers[2].is_in(&sessions).await);

    let sessions = limited(OnLimit::Refuse).await;
    let session = Browser::default().open(&sessions).await;
    let error = session.log_in("ada").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManySessions);
    assert!(session.id().is_none());
    browsers[2].open(&sessions).await.log_out().await.unwrap();
    session.log_in("ada").await.unwrap();
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 2);
}

async fn devices_are_listed_newest_first_and_this_one_is_marked(db: Db) {
    let sessions = db.sessions().await;
    let (_, first) = Browser::logged_in(&sessions, "ada").await;
    let (browser, second) = Browser::logged_in(&sessions, "ada").await;
    let (_, third) = Browser::logged_in(&sessions, "ada").await;
    Browser::logged_in(&sessions, "bob").await;
    let devices = browser.open(&sessions).await.devices().await.unwrap();
    let shown: Vec<_> = devices.iter().map(|device| (device.id, device.current)).collect();
    assert_eq!(shown, [(third, false), (second, true), (first, false)]);
    let page = sessions.of_user("ada").limit(2).await.unwrap();
    assert_eq!(page.iter().map(|info| info.id).collect::<Vec<_>>(), [third, second]);
    let next = sessions.of_user("ada").after(page[1].page_key().unwrap()).limit(2).await.unwrap();
    assert_eq!(next.iter().map(|info| info.id).collect::<Vec<_>>(), [first]);
    let all = sessions.of_user("ada").limit(1).all().await.unwrap();
    assert_eq!(all.len(), 3);
}

async fn only_a_users_own_device_is_logged_out(db: Db) {
    let sessions = db.sessions().await;
    let (ada, own) = Browser::logged_in(&sessions, "ada").await;
    let (other, adas) = Browser::logged_in(&sessions, "ada").await;
    let (bob, bobs) = Browser::logged_in(&sessions, "bob").await;
    let session = ada.open(&sessions).await;
    assert!(!session.log_out_device(bobs).await.unwrap());
    assert!(bob.is_in(&sessions).await);
    assert!(session.log_out_device(adas).await.unwrap());
    assert!(!other.is_in(&sessions).await);
    assert!(!session.log_out_device(adas).await.unwrap(), "there is none any more");
    assert!(session.log_out_device(own).await.unwrap());
    assert_eq!(session.finish().await.unwrap(), CookieChange::Remove);
    assert!(!ada.is_in(&sessions).await);
}
