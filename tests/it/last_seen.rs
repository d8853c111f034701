//! The precision of "last seen".

use chrono::TimeDelta;
use sessile::{SessionsBuilder, days, hours, minutes};

use crate::support::{Browser, Db, cases};

cases! {
    a_remembered_session_is_seen_every_five_minutes,
    a_session_is_seen_as_often_as_the_policy_says,
    a_session_with_a_short_timeout_is_seen_in_a_twentieth_of_it,
    a_request_that_is_no_activity_does_not_prolong_the_session,
    the_requests_after_a_poll_count_again,
}

/// Sends requests at these minutes, and returns those after which the session's time was recorded.
async fn seen(db: &Db, builder: SessionsBuilder, minutes_of: &[u64]) -> Vec<u64> {
    let sessions = builder.build().unwrap();
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    session.log_in("ada").remember_me(true).await.unwrap();
    browser.finish(&session).await;
    let id = session.id().unwrap();
    let last_seen = async || {
        let info = sessions.find(id).await.unwrap().unwrap();
        info.last_seen_at - info.authenticated_at.unwrap()
    };
    let (mut passed, mut recorded) = (0, Vec::new());
    for minute in minutes_of {
        db.pass(minutes(minute - passed)).await;
        passed = *minute;
        let before = last_seen().await;
        let session = browser.open(&sessions).await;
        browser.finish(&session).await;
        sessions.flush().await.unwrap();
        if last_seen().await != before {
            recorded.push(*minute);
        }
    }
    recorded
}

/// The session's end does not move any more, but "last seen" does.
async fn a_remembered_session_is_seen_every_five_minutes(db: Db) {
    let builder = db.builder().await.remember_me(days(30), days(30));
    assert_eq!(
        seen(&db, builder, &[1, 4, 5, 6, 9, 10, 14, 100, 104, 105]).await,
        [5, 10, 100, 105]
    );
}

async fn a_session_is_seen_as_often_as_the_policy_says(db: Db) {
    let builder = db.builder().await.remember_me(days(30), days(60)).touch_interval(hours(2));
    assert_eq!(seen(&db, builder, &[5, 119, 120, 239, 240]).await, [120, 240]);
}

async fn a_session_with_a_short_timeout_is_seen_in_a_twentieth_of_it(db: Db) {
    let builder = db.builder().await.remember_me(minutes(40), days(1)).touch_interval(hours(2));
    assert_eq!(seen(&db, builder, &[1, 2, 3, 4, 34]).await, [2, 4, 34]);
}

async fn a_request_that_is_no_activity_does_not_prolong_the_session(db: Db) {
    let sessions = db.builder().await.idle_timeout(minutes(40)).build().unwrap();
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let seen = sessions.find(id).await.unwrap().unwrap().last_seen_at;
    db.pass(minutes(38)).await;
    for poll in 0..5 {
        let session = browser.open(&sessions).await;
        session.set_activity(false);
        match poll {
            0 => {}
            1 => session.insert("polls", 1).unwrap(),
            2 => session.update("polls", |polls: &mut u64| *polls += 1).await.unwrap(),
            3 => session.refresh().await.unwrap(),
            _ => session.renew().await.unwrap(),
        }
        browser.finish(&session).await;
    }
    sessions.flush().await.unwrap();
    let session = browser.open(&sessions).await;
    assert_eq!(session.get("polls").unwrap(), Some(2), "a poll writes like any request");
    let now = sessions.find(id).await.unwrap().unwrap().last_seen_at;
    assert_eq!(seen - now, TimeDelta::minutes(38), "and is not a time at which it was seen");
    db.pass(minutes(2)).await;
    assert!(!browser.is_in(&sessions).await);
}

async fn the_requests_after_a_poll_count_again(db: Db) {
    let sessions = db.builder().await.idle_timeout(minutes(40)).build().unwrap();
    let (mut browser, _) = Browser::logged_in(&sessions, "ada").await;
    db.pass(minutes(38)).await;
    let session = browser.open(&sessions).await;
    session.set_activity(false);
    // The handler finds that somebody is there after all.
    session.set_activity(true);
    browser.finish(&session).await;
    sessions.flush().await.unwrap();
    db.pass(minutes(38)).await;
    assert!(browser.is_in(&sessions).await);
}
