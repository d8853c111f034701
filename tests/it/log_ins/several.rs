//! Log-ins of several requests: a password and then a code, or OAuth's round trip.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sessile::{Client, ErrorKind, OnLimit, Session, Sessions, days, hours, minutes, seconds};

use crate::support::{
    Browser, Db, cases,
    tap::{Gate, Verb},
};

cases! {
    and_wrapped:
    beginning_without_a_session_makes_one,
    beginning_with_a_session_renews_its_secret,
    what_is_begun_tells_who_and_since_when_and_until_when,
    what_is_begun_grants_nothing,
    completing_binds_the_user_and_renews,
    completing_takes_the_options_of_a_log_in,
    what_was_begun_for_nobody_is_completed_as_somebody,
    what_was_begun_for_one_user_is_not_completed_as_another,
    nothing_begun_is_nothing_to_complete,
    a_revocation_since_the_beginning_refuses_it,
    a_revocation_of_others_or_before_does_not,
    it_lapses,
    another_browser_cannot_complete_it,
    it_goes_on_after_a_restart_and_on_another_node,
    begun_while_somebody_else_is_logged_in,
    begun_in_the_moment_of_a_log_in,
    completing_twice_is_one_session,
    beginning_twice_leaves_either_cookie_good,
    beginning_twice_for_two_users_is_told,
    a_log_in_ends_what_was_begun,
    beginning_anew_begins_anew,
    a_refused_completion_may_be_tried_again,
    a_log_in_by_the_first_release_leaves_nothing_pending,
}

/// A browser whose visitor has a cart and has given ada's password.
async fn begun(sessions: &Sessions) -> Browser {
    let (mut browser, _) = Browser::with(sessions, "cart", json!("tea")).await;
    begin(sessions, &mut browser, Some("ada")).await;
    browser
}

async fn begin(sessions: &Sessions, browser: &mut Browser, user_id: Option<&str>) -> Session {
    let session = browser.open(sessions).await;
    match user_id {
        Some(user_id) => session.begin_log_in().user(user_id).await.unwrap(),
        None => session.begin_log_in().await.unwrap(),
    }
    browser.finish(&session).await;
    session
}

/// The result of completing the log-in.
async fn complete(sessions: &Sessions, browser: &mut Browser) -> Result<Session, ErrorKind> {
    let session = browser.open(sessions).await;
    let completed = session.complete_log_in().await;
    browser.finish(&session).await;
    completed.map(|()| session).map_err(|error| error.kind())
}

/// The row and the browser are still anonymous.
async fn is_nobodys(sessions: &Sessions, browser: &Browser) {
    assert_eq!(browser.open(sessions).await.user_id(), None);
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 0);
}

async fn beginning_without_a_session_makes_one(db: Db) {
    let sessions = db.sessions().await;
    for user_id in [None, Some("ada")] {
        let mut browser = Browser::default();
        let session = begin(&sessions, &mut browser, user_id).await;
        assert!(session.pending_log_in().is_some());
        let next = browser.open(&sessions).await;
        assert!(next.id().is_some() && next.id() == session.id());
        assert_eq!(next.pending_log_in().unwrap().user_id.as_deref(), user_id);
    }
    assert_eq!(db.rows().await, 2);
}

async fn beginning_with_a_session_renews_its_secret(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::with(&sessions, "cart", json!("tea")).await;
    let before = browser.clone();
    let session = begin(&sessions, &mut browser, Some("ada")).await;
    assert_ne!(before.cookie, browser.cookie);
    assert!(before.open(&sessions).await.is_superseded());
    let next = browser.open(&sessions).await;
    assert_eq!((next.id(), session.id()), (Some(id), Some(id)));
    assert_eq!(next.keys(), ["cart"]);
    assert_eq!(db.rows().await, 1);
}

async fn what_is_begun_tells_who_and_since_when_and_until_when(db: Db) {
    let clock = async || {
        let clock = db.clock().await;
        match db.is_postgres() {
            true => DateTime::<Utc>::from_timestamp_micros(clock).unwrap(),
            false => DateTime::from_timestamp_millis(clock).unwrap(),
        }
    };
    for (timeout, sessions) in [
        (10, db.sessions().await),
        (45, db.builder().await.pending_log_in_timeout(minutes(45)).build().unwrap()),
    ] {
        for has_row in [false, true] {
            let mut browser = Browser::default();
            if has_row {
                browser = Browser::with(&sessions, "n", json!(1)).await.0;
            }
            let earliest = clock().await;
            let session = begin(&sessions, &mut browser, Some("ada")).await;
            let latest = clock().await + TimeDelta::milliseconds(1);
            let next = browser.open(&sessions).await.pending_log_in().unwrap();
            assert_eq!(session.pending_log_in().as_ref(), Some(&next));
            assert_eq!(next.user_id.as_deref(), Some("ada"));
            // A handle that has read its row knows the database's time to within a round trip.
            let tolerance = TimeDelta::seconds(i64::from(has_row));
            let began = next.began_at;
            assert!(
                (earliest - tolerance..=latest).contains(&began),
                "{earliest} {began} {latest}"
            );
            assert_eq!(next.lapses_at - began, TimeDelta::minutes(timeout));
        }
    }
}

async fn what_is_begun_grants_nothing(db: Db) {
    let sessions = db.sessions().await;
    let (device, device_id) = Browser::logged_in(&sessions, "ada").await;
    let mut browser = begun(&sessions).await;
    for _ in 0..2 {
        let session = browser.open(&sessions).await;
        assert_eq!((session.user_id(), session.authenticated_at()), (None, None));
        for error in [
            session.require_recent(hours(1)).unwrap_err(),
            session.devices().await.unwrap_err(),
            session.reauthenticate().await.unwrap_err(),
            session.log_out_device(device_id).await.unwrap_err(),
            session.log_out_others().await.unwrap_err(),
            session.log_out_everywhere().await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotLoggedIn);
        }
        // A write, a renewal or a touch does not end it either.
        session.update("n", |n: &mut u64| *n += 1).await.unwrap();
        session.renew().await.unwrap();
        assert!(session.pending_log_in().is_some());
        browser.finish(&session).await;
        db.pass(minutes(4)).await;
    }
    assert!(browser.open(&sessions).await.pending_log_in().is_some());
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
    let listed = sessions.of_user("ada").await.unwrap();
    assert_eq!(listed.iter().map(|info| info.id).collect::<Vec<_>>(), [device_id]);
    assert!(device.is_in(&sessions).await);
}

async fn completing_binds_the_user_and_renews(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = begun(&sessions).await;
    db.pass(minutes(5)).await;
    let before = browser.clone();
    let session = complete(&sessions, &mut browser).await.unwrap();
    assert_eq!(session.user_id().as_deref(), Some("ada"));
    session.require_recent(seconds(30)).unwrap();
    assert_eq!(session.pending_log_in(), None);
    assert_ne!(before.cookie, browser.cookie);
    db.heard().await;
    assert!(before.open(&sessions).await.is_superseded());
    let after = browser.open(&sessions).await;
    assert_eq!((after.id(), after.user_id().as_deref()), (session.id(), Some("ada")));
    assert_eq!((after.pending_log_in(), after.keys()), (None, vec!["cart".to_owned()]));
    assert_eq!(db.rows().await, 1);
    // A pending log-in can be completed only once.
    assert_eq!(complete(&sessions, &mut browser).await.unwrap_err(), ErrorKind::NoPendingLogIn);
    assert_eq!(browser.open(&sessions).await.user_id().as_deref(), Some("ada"));
}

async fn completing_takes_the_options_of_a_log_in(db: Db) {
    let builder = db.builder().await.idle_timeout(minutes(30)).remember_me(days(30), days(60));
    let sessions = builder.build().unwrap();
    let mut browser = begun(&sessions).await;
    let session = browser.open(&sessions).await;
    session.complete_log_in().remember_me(true).discard_data().await.unwrap();
    browser.finish(&session).await;
    db.pass(days(29)).await;
    let after = browser.open(&sessions).await;
    assert_eq!((after.user_id().as_deref(), after.keys()), (Some("ada"), vec![]));
}

async fn what_was_begun_for_nobody_is_completed_as_somebody(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, _) = Browser::with(&sessions, "cart", json!("tea")).await;
    begin(&sessions, &mut browser, None).await;
    assert_eq!(complete(&sessions, &mut browser).await.unwrap_err(), ErrorKind::NoPendingLogIn);
    let session = browser.open(&sessions).await;
    let nobody = session.complete_log_in_as("").await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::InvalidUserId);
    assert_eq!(session.pending_log_in().unwrap().user_id, None);
    session.complete_log_in_as("ada").await.unwrap();
    browser.finish(&session).await;
    let after = browser.open(&sessions).await;
    assert_eq!((after.user_id().as_deref(), after.keys()), (Some("ada"), vec!["cart".to_owned()]));
}

async fn what_was_begun_for_one_user_is_not_completed_as_another(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = begun(&sessions).await;
    let session = browser.open(&sessions).await;
    let error = session.complete_log_in_as("bob").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoPendingLogIn);
    assert_eq!((session.user_id(), sessions.count_of_user("bob").await.unwrap()), (None, 0));
    is_nobodys(&sessions, &browser).await;
    // It is allowed to name the same user.
    session.complete_log_in_as("ada").await.unwrap();
    browser.finish(&session).await;
    assert_eq!(browser.open(&sessions).await.user_id().as_deref(), Some("ada"));
}

async fn nothing_begun_is_nothing_to_complete(db: Db) {
    let sessions = db.sessions().await;
    let nobody = Browser::default();
    let (visitor, _) = Browser::with(&sessions, "cart", json!("tea")).await;
    let (user, _) = Browser::logged_in(&sessions, "ada").await;
    for browser in [nobody, visitor, user] {
        let session = browser.open(&sessions).await;
        assert_eq!(session.pending_log_in(), None);
        for complete in [session.complete_log_in(), session.complete_log_in_as("bob")] {
            assert_eq!(complete.await.unwrap_err().kind(), ErrorKind::NoPendingLogIn);
        }
    }
    assert_eq!(sessions.count_of_user("bob").await.unwrap(), 0);
}

async fn a_revocation_since_the_beginning_refuses_it(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    for revoking in &nodes {
        for way in 0..4 {
            let (device, device_id) = Browser::logged_in(&nodes[0], "ada").await;
            let mut browser = begun(&nodes[0]).await;
            match way {
                0 => revoking.revoke_user("ada").await.unwrap(),
                1 => revoking.revoke_others("ada", device_id).await.unwrap(),
                2 => device.open(revoking).await.log_out_everywhere().await.unwrap(),
                _ => device.open(revoking).await.log_out_others().await.unwrap(),
            };
            // The code comes a minute later. The request itself begins after the revocation.
            db.pass(minutes(1)).await;
            db.pass_for_cutoffs(minutes(1)).await;
            let refused = complete(&nodes[0], &mut browser).await.unwrap_err();
            assert_eq!(refused, ErrorKind::LogInRefused, "way {way}");
            assert_eq!(browser.open(&nodes[0]).await.user_id(), None, "way {way}");
            // A user who gives the password again is admitted.
            begin(&nodes[1], &mut browser, Some("ada")).await;
            complete(&nodes[1], &mut browser).await.unwrap();
            nodes[0].revoke_user("ada").await.unwrap();
            db.pass_for_cutoffs(minutes(1)).await;
        }
        // A revocation of everybody also deletes the row of the pending log-in.
        let mut browser = begun(&nodes[0]).await;
        let held = browser.open(&nodes[0]).await;
        revoking.revoke_all().await.unwrap();
        assert_eq!(held.complete_log_in().await.unwrap_err().kind(), ErrorKind::LogInRefused);
        db.heard().await;
        assert_eq!(complete(&nodes[0], &mut browser).await.unwrap_err(), ErrorKind::NoPendingLogIn);
        assert_eq!(nodes[0].count_of_user("ada").await.unwrap(), 0);
        db.pass_for_cutoffs(minutes(1)).await;
    }
}

async fn a_revocation_of_others_or_before_does_not(db: Db) {
    let sessions = db.sessions().await;
    sessions.revoke_user("ada").await.unwrap();
    sessions.revoke_all().await.unwrap();
    db.pass_for_cutoffs(seconds(1)).await;
    let mut browser = begun(&sessions).await;
    sessions.revoke_user("bob").await.unwrap();
    complete(&sessions, &mut browser).await.unwrap();
}

async fn it_lapses(db: Db) {
    let default = db.sessions().await;
    let longer = db.builder().await.idle_timeout(days(1)).pending_log_in_timeout(hours(12));
    for (sessions, timeout) in [(default, minutes(10)), (longer.build().unwrap(), hours(12))] {
        let mut browser = begun(&sessions).await;
        let mut other = begun(&sessions).await;
        db.pass(timeout - seconds(5)).await;
        assert!(browser.open(&sessions).await.pending_log_in().is_some());
        complete(&sessions, &mut browser).await.unwrap();
        let held = other.open(&sessions).await;
        db.pass(seconds(5)).await;
        let session = other.open(&sessions).await;
        assert!(session.id().is_some());
        assert_eq!(session.pending_log_in(), None);
        assert_eq!(complete(&sessions, &mut other).await.unwrap_err(), ErrorKind::NoPendingLogIn);
        assert_eq!(other.open(&sessions).await.user_id(), None);
        // The old handle knows by its own clock that it read the row only a few milliseconds ago.
        assert!(held.pending_log_in().is_some());
        // A lapsed log-in can begin again.
        begin(&sessions, &mut other, Some("ada")).await;
        complete(&sessions, &mut other).await.unwrap();
    }
}

async fn another_browser_cannot_complete_it(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, _) = Browser::with(&sessions, "cart", json!("tea")).await;
    let planted = browser.clone();
    begin(&sessions, &mut browser, Some("ada")).await;
    let with_another_session = Browser::with(&sessions, "n", json!(1)).await.0;
    for mut other in [Browser::default(), with_another_session] {
        let completed = complete(&sessions, &mut other).await.unwrap_err();
        assert_eq!(completed, ErrorKind::NoPendingLogIn);
    }
    // A holder of the old cookie cannot complete it either, now or later.
    let session = planted.open(&sessions).await;
    assert_eq!(session.pending_log_in(), None);
    assert_eq!(session.complete_log_in().await.unwrap_err().kind(), ErrorKind::Superseded);
    db.pass(minutes(1)).await;
    let session = planted.open(&sessions).await;
    assert_eq!(session.complete_log_in().await.unwrap_err().kind(), ErrorKind::NoPendingLogIn);
    is_nobodys(&sessions, &browser).await;
    complete(&sessions, &mut browser).await.unwrap();
}

async fn it_goes_on_after_a_restart_and_on_another_node(db: Db) {
    let first = db.sessions().await;
    let mut browser = begun(&first).await;
    first.flush().await.unwrap();
    drop(first);
    let restarted = db.sessions().await;
    let pending = browser.open(&restarted).await.pending_log_in().unwrap();
    assert_eq!(pending.user_id.as_deref(), Some("ada"));
    let other = db.sessions().await;
    let session = complete(&other, &mut browser).await.unwrap();
    assert_eq!(session.keys(), ["cart"]);
    db.heard().await;
    assert_eq!(browser.open(&restarted).await.user_id().as_deref(), Some("ada"));
}

async fn begun_while_somebody_else_is_logged_in(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::logged_in(&sessions, "bob").await;
    browser.open(&sessions).await.update("bobs", |n: &mut u64| *n += 1).await.unwrap();
    begin(&sessions, &mut browser, Some("ada")).await;
    // Bob stays logged in until ada has completed the log-in.
    let session = browser.open(&sessions).await;
    assert_eq!((session.id(), session.user_id().as_deref()), (Some(id), Some("bob")));
    assert_eq!(session.devices().await.unwrap().len(), 1);
    let session = complete(&sessions, &mut browser).await.unwrap();
    assert_eq!((session.user_id().as_deref(), session.keys()), (Some("ada"), vec![]));
    assert_eq!(sessions.count_of_user("bob").await.unwrap(), 0);
    assert_eq!(browser.open(&sessions).await.keys(), [""; 0]);

    // The user's own session, when it confirms with two factors, keeps its data.
    browser.open(&sessions).await.update("adas", |n: &mut u64| *n += 1).await.unwrap();
    begin(&sessions, &mut browser, Some("ada")).await;
    let session = complete(&sessions, &mut browser).await.unwrap();
    assert_eq!(
        (session.user_id().as_deref(), session.keys()),
        (Some("ada"), vec!["adas".to_owned()])
    );
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
}

/// The form with the code is sent from two tabs, or with a double click.
async fn completing_twice_is_one_session(db: Db) {
    let sessions = db.sessions().await;
    for second_waits in [false, true] {
        let mut browser = begun(&sessions).await;
        let gate = Gate::before(Verb::LogIn);
        let gated = db.tapped(&gate).build().unwrap();
        let second = browser.open(if second_waits { &gated } else { &sessions }).await;
        let mut second_browser = browser.clone();
        let completing = second.clone();
        let first = if second_waits {
            let task = tokio::spawn(async move { completing.complete_log_in().await });
            gate.reached().await;
            let first = complete(&sessions, &mut browser).await.unwrap();
            gate.open();
            task.await.unwrap().unwrap();
            first
        } else {
            let first = complete(&sessions, &mut browser).await.unwrap();
            second.complete_log_in().await.unwrap();
            first
        };
        second_browser.finish(&second).await;
        assert_eq!(first.id(), second.id());
        for browser in [&browser, &second_browser] {
            let session = browser.open(&sessions).await;
            assert_eq!(session.user_id().as_deref(), Some("ada"));
            assert_eq!(session.keys(), ["cart"]);
        }
        assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
        sessions.revoke_all().await.unwrap();
        db.pass_for_cutoffs(minutes(1)).await;
    }
    // A request that left before the answer came, and is read after it: the browser has the new cookie by
    // then.
    let mut browser = begun(&sessions).await;
    let old = browser.clone();
    complete(&sessions, &mut browser).await.unwrap();
    let late = old.open(&sessions).await;
    assert_eq!(late.complete_log_in().await.unwrap_err().kind(), ErrorKind::Superseded);
    assert!(browser.is_in(&sessions).await);
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
}

/// The form with the password is sent with a double click, and the browser may keep either answer.
async fn beginning_twice_leaves_either_cookie_good(db: Db) {
    let sessions = db.sessions().await;
    for user_id in [Some("ada"), None] {
        for kept in 0..2 {
            for comes_late in [false, true] {
                let (browser, id) = Browser::with(&sessions, "cart", json!("tea")).await;
                let mut browsers = [browser.clone(), browser.clone()];
                if comes_late {
                    // The second request loads its session after the first one has finished.
                    for browser in &mut browsers {
                        begin(&sessions, browser, user_id).await;
                    }
                } else {
                    let handles = [browser.open(&sessions).await, browser.open(&sessions).await];
                    for (session, browser) in handles.iter().zip(&mut browsers) {
                        match user_id {
                            Some(user_id) => session.begin_log_in().user(user_id).await.unwrap(),
                            None => session.begin_log_in().await.unwrap(),
                        }
                        browser.finish(session).await;
                    }
                }
                assert_ne!(browsers[0].cookie, browsers[1].cookie);
                for browser in &browsers {
                    let session = browser.open(&sessions).await;
                    assert_eq!(session.id(), Some(id));
                    assert_eq!(session.pending_log_in().unwrap().user_id.as_deref(), user_id);
                }
                let browser = &mut browsers[kept];
                let session = browser.open(&sessions).await;
                session.complete_log_in_as("ada").await.unwrap();
                browser.finish(&session).await;
                let after = browser.open(&sessions).await;
                assert_eq!((after.id(), after.user_id().as_deref()), (Some(id), Some("ada")));
                assert_eq!(after.keys(), ["cart"]);
                // The completion ends the other cookie.
                assert!(!browsers[1 - kept].is_in(&sessions).await);
                assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
                sessions.revoke_all().await.unwrap();
                db.pass_for_cutoffs(minutes(1)).await;
            }
        }
    }
}

async fn beginning_twice_for_two_users_is_told(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, _) = Browser::with(&sessions, "cart", json!("tea")).await;
    let second = browser.open(&sessions).await;
    begin(&sessions, &mut browser, Some("ada")).await;
    for user_id in [Some("bob"), None] {
        let error = match user_id {
            Some(user_id) => second.begin_log_in().user(user_id).await.unwrap_err(),
            None => second.begin_log_in().await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::Superseded);
    }
    let pending = browser.open(&sessions).await.pending_log_in().unwrap();
    assert_eq!(pending.user_id.as_deref(), Some("ada"));
    for user_id in ["", "\0"] {
        let invalid = second.begin_log_in().user(user_id).await.unwrap_err();
        assert_eq!(invalid.kind(), ErrorKind::InvalidUserId);
    }
    complete(&sessions, &mut browser).await.unwrap();
}

async fn a_log_in_ends_what_was_begun(db: Db) {
    let sessions = db.sessions().await;
    for user_id in ["ada", "bob"] {
        let mut browser = begun(&sessions).await;
        let session = browser.open(&sessions).await;
        session.log_in(user_id).await.unwrap();
        assert_eq!(session.pending_log_in(), None);
        browser.finish(&session).await;
        let completed = complete(&sessions, &mut browser).await.unwrap_err();
        assert_eq!(completed, ErrorKind::NoPendingLogIn);
        assert_eq!(browser.open(&sessions).await.user_id().as_deref(), Some(user_id));
    }
}

async fn beginning_anew_begins_anew(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = begun(&sessions).await;
    let first = browser.open(&sessions).await.pending_log_in().unwrap();
    db.pass(minutes(6)).await;
    begin(&sessions, &mut browser, Some("bob")).await;
    let second = browser.open(&sessions).await.pending_log_in().unwrap();
    assert_eq!(second.user_id.as_deref(), Some("bob"));
    assert!(second.began_at > first.began_at);
    db.pass(minutes(6)).await;
    let session = complete(&sessions, &mut browser).await.unwrap();
    assert_eq!(session.user_id().as_deref(), Some("bob"));
}

async fn a_refused_completion_may_be_tried_again(db: Db) {
    let builder = db.builder().await.sessions_per_user(1, OnLimit::Refuse);
    let sessions = builder.build().unwrap();
    let (_, id) = Browser::logged_in(&sessions, "ada").await;
    let mut browser = begun(&sessions).await;
    assert_eq!(complete(&sessions, &mut browser).await.unwrap_err(), ErrorKind::TooManySessions);
    assert!(browser.open(&sessions).await.pending_log_in().is_some());
    sessions.revoke(id).await.unwrap();
    complete(&sessions, &mut browser).await.unwrap();
}

/// The first release does not know pending log-ins, and leaves their columns as they are.
async fn a_log_in_by_the_first_release_leaves_nothing_pending(db: Db) {
    let sessions = db.sessions().await;
    let browser = begun(&sessions).await;
    db.pass(seconds(5)).await;
    let logged_in = db
        .run(
            "update sessile.sessions set user_id = 'bob', authenticated_at = now()",
            "update sessions set user_id = 'bob', authenticated_at = cast(round(unixepoch('subsec') * 1000) as integer)",
        )
        .await;
    assert_eq!(logged_in, 1);
    let cookie = browser.cookie.as_deref().map(str::as_bytes);
    let session = sessions.open(cookie, Client::new()).await.unwrap();
    assert_eq!((session.user_id().as_deref(), session.pending_log_in()), (Some("bob"), None));
    for complete in [session.complete_log_in(), session.complete_log_in_as("ada")] {
        assert_eq!(complete.await.unwrap_err().kind(), ErrorKind::NoPendingLogIn);
    }
    assert_eq!(browser.open(&sessions).await.user_id().as_deref(), Some("bob"));
}

/// SQLite's clock has a precision of a millisecond, and both may be in the same one.
async fn begun_in_the_moment_of_a_log_in(db: Db) {
    let sessions = db.sessions().await;
    for _ in 0..20 {
        let session = Browser::default().open(&sessions).await;
        session.log_in("ada").await.unwrap();
        session.begin_log_in().user("bob").await.unwrap();
        assert_eq!(session.pending_log_in().unwrap().user_id.as_deref(), Some("bob"));
        session.complete_log_in().await.unwrap();
        assert_eq!(session.user_id().as_deref(), Some("bob"));
    }
}
