//! A node with a wrong clock, beside a node with a correct one. On Postgres, because SQLite's clock is the
//! node's.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sessile::{hours, minutes};

use crate::{
    browser::Browser,
    program::{Shop, command_at},
    support::Db,
};

/// A shop with another clock, which sweeps all the time.
async fn shop_at(db: &Db, offset: &str) -> Shop {
    let mut command = command_at(offset, &["--cleanup-every", "50ms"]);
    command.args(["--database-url", &db.url]);
    command.env("RUST_LOG", "info,sessile=debug");
    let shop = Shop::spawn(command).await;
    shop.has_logged("swept", 1).await;
    shop
}

/// When the session ends, in milliseconds.
async fn end_of(db: &Db, me: &Value) -> i64 {
    let id = me["session_id"].as_str().unwrap();
    let end = format!(
        "select (extract(epoch from valid_until) * 1000)::bigint from sessile.sessions where id = '{id}'"
    );
    db.number(&end, "").await
}

async fn a_wrong_clock_changes_nothing(offset: &str) {
    let db = Db::postgres().await;
    let right = Shop::start(&db, &[]).await;
    let mut ada = Browser::logged_in(&right, "ada").await;
    let mut bob = Browser::logged_in(&right, "bob").await;
    let me = ada.get(&right, "/me").await.json();

    let wrong = shop_at(&db, offset).await;
    let now = db.number("select (extract(epoch from now()) * 1000)::bigint", "").await;
    let stamp = wrong.log();
    let stamp: chrono::DateTime<chrono::Utc> =
        stamp.split_whitespace().next().unwrap().parse().unwrap();
    let off = (stamp.timestamp_millis() - now).abs();
    assert!(off > 2 * 24 * 3_600_000, "the clock is right, which tests nothing: {stamp}");

    // It ends no session and prolongs none: a session that is seen there an hour later ends twelve hours
    // after that.
    assert_eq!(ada.user(&wrong).await.as_deref(), Some("ada"));
    db.pass(hours(1)).await;
    assert_eq!(ada.user(&wrong).await.as_deref(), Some("ada"));
    ada.post(&wrong, "/cart", json!({"item": "tea", "quantity": 1})).await;
    let now = db.number("select (extract(epoch from now()) * 1000)::bigint", "").await;
    let left = end_of(&db, &me).await - now;
    let twelve_hours = 12 * 3_600_000;
    assert!((twelve_hours - 60_000..=twelve_hours).contains(&left), "{left} ms");

    // A log-in there is like any other, and "five minutes ago" is the same everywhere.
    let mut eve = Browser::logged_in(&wrong, "eve").await;
    let left = end_of(&db, &eve.get(&right, "/me").await.json()).await - now;
    assert!((twelve_hours..twelve_hours + 60_000).contains(&left), "{left} ms");
    eve.press(&wrong, "/password").await.ended(0);
    db.pass(minutes(6)).await;
    eve.press(&wrong, "/password").await.refuses(403);

    // It revives no session: Bob was last seen twelve hours and six minutes ago.
    db.pass(hours(11)).await;
    assert_eq!(bob.user(&wrong).await, None);
    ada.post(&wrong, "/cart", json!({"item": "tea", "quantity": 1})).await;
    // It sweeps only the sessions that have ended: Bob's and Eve's.
    db.pass(hours(7)).await;
    let begun = Instant::now();
    while db.rows().await > 1 {
        assert!(begun.elapsed() < Duration::from_secs(30), "they are never swept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sweeps = wrong.log().matches("swept").count();
    wrong.has_logged("swept", sweeps + 3).await;
    assert_eq!(ada.user(&right).await.as_deref(), Some("ada"));
    drop((right, wrong));
    db.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_beside_a_clock_that_is_ahead() {
    a_wrong_clock_changes_nothing("+3 days").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_beside_a_clock_that_is_behind() {
    a_wrong_clock_changes_nothing("-3 days").await;
}
