//! A node's own clock has no influence: `clippy.toml` forbids reading it, and a test of the shop runs with a
//! wrong clock. Here, every time in the tables must be one of the database's.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sessile::{Sessions, days, hours, minutes};

use crate::support::{Browser, Db, cases};

cases! {
    promise_06_every_moment_written_is_the_databases,
    promise_06_what_a_handle_shows_is_what_the_row_says,
}

async fn promise_06_every_moment_written_is_the_databases(db: Db) {
    let sessions = policy(&db).await;
    let mut browser = Browser::default();

    let began = db.clock().await;
    let session = browser.open(&sessions).await;
    session.insert("n", 1).unwrap();
    browser.finish(&session).await;
    written_since(&db, began, &[], &["created_at", "last_seen_at"]).await;

    db.pass(minutes(10)).await;
    let began = db.clock().await;
    let session = browser.open(&sessions).await;
    browser.finish(&session).await;
    sessions.flush().await.unwrap();
    written_since(&db, began, &["created_at"], &["last_seen_at"]).await;

    db.pass(minutes(10)).await;
    let began = db.clock().await;
    let session = browser.open(&sessions).await;
    session.update("n", |n: &mut u64| *n += 1).await.unwrap();
    written_since(&db, began, &["created_at"], &["last_seen_at"]).await;

    db.pass(minutes(10)).await;
    let began = db.clock().await;
    let session = browser.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    let both = ["authenticated_at", "last_seen_at"];
    written_since(&db, began, &["created_at"], &both).await;

    db.pass(minutes(10)).await;
    let began = db.clock().await;
    let session = browser.open(&sessions).await;
    session.reauthenticate().await.unwrap();
    written_since(&db, began, &["created_at"], &both).await;

    let began = db.clock().await;
    sessions.revoke_user("ada").await.unwrap();
    for column in ["revoked_at", "used_at"] {
        let moment = cutoff(&db, column).await;
        // SQLite's clock has a precision of a millisecond.
        let end = db.clock().await + i64::from(!db.is_postgres());
        assert!((began..=end).contains(&moment), "{column}: {began} {moment} {end}");
    }
}

/// `new` columns have a time between `began` and now, `old` columns an earlier one. The ends follow from
/// "last seen".
async fn written_since(db: &Db, began: i64, old: &[&str], new: &[&str]) {
    let now = db.clock().await;
    for column in new {
        let moment = column_of(db, column).await;
        assert!((began..=now).contains(&moment), "{column}: {began} {moment} {now}");
    }
    for column in old {
        assert!(column_of(db, column).await < began, "{column}");
    }
    let second = if db.is_postgres() { 1_000_000 } else { 1000 };
    let seen = column_of(db, "last_seen_at").await;
    assert_eq!(column_of(db, "valid_until").await, seen + 3600 * second);
    let begun = match column_of(db, "coalesce(authenticated_at, created_at)").await {
        begun if begun <= now => begun,
        later => panic!("{later} is after {now}"),
    };
    assert_eq!(column_of(db, "absolute_expires_at").await, begun + 86_400 * second);
}

/// A time of the only row, in the unit of the database's clock.
async fn column_of(db: &Db, column: &str) -> i64 {
    db.number(
        &format!("select (extract(epoch from {column}) * 1000000)::bigint from sessile.sessions"),
        &format!("select {column} from sessions"),
    )
    .await
}

async fn cutoff(db: &Db, column: &str) -> i64 {
    db.number(
        &format!("select (extract(epoch from {column}) * 1000000)::bigint from sessile.session_cutoffs where user_id = 'ada'"),
        &format!("select {column} from session_cutoffs where user_id = 'ada'"),
    )
    .await
}

async fn promise_06_what_a_handle_shows_is_what_the_row_says(db: Db) {
    let sessions = policy(&db).await;
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    session.insert("cart", json!([])).unwrap();
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    let moment = async |column| {
        let number = column_of(&db, column).await;
        match db.is_postgres() {
            true => DateTime::<Utc>::from_timestamp_micros(number),
            false => DateTime::from_timestamp_millis(number),
        }
    };
    assert_eq!(session.created_at(), moment("created_at").await);
    assert_eq!(session.authenticated_at(), moment("authenticated_at").await);
    let seen = moment("last_seen_at").await.unwrap();
    let shown = session.expires_at().unwrap() - TimeDelta::hours(1);
    // The row does not store nanoseconds.
    assert!((shown - seen).abs() <= TimeDelta::milliseconds(1), "{shown} {seen}");
}

async fn policy(db: &Db) -> Sessions {
    let builder = db.builder().await.idle_timeout(hours(1)).absolute_timeout(days(1));
    builder.build().unwrap()
}
