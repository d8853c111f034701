//! The precision of "last seen".

use sessile::{SessionsBuilder, days, hours, minutes};

use crate::support::{Browser, Db, cases};

cases! {
    a_remembered_session_is_seen_every_five_minutes,
    a_session_is_seen_as_often_as_the_policy_says,
    a_session_with_a_short_timeout_is_seen_in_a_twentieth_of_it,
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
