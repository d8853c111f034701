//! Timeouts, with the flags that shorten them.

use std::time::{Duration, Instant};

use serde_json::json;
use sessile::seconds;

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! {
    who_is_not_seen_is_logged_out,
    everybody_is_logged_out_in_the_end,
    an_anonymous_cart_has_a_timeout_of_its_own,
    expired_sessions_are_swept_by_themselves,
}

/// Waits until the database has recorded the last request, which happens a moment after the response.
pub(crate) async fn seen(db: &Db) {
    let unseen = async || {
        db.number(
            "select count(*) from sessile.sessions where last_seen_at < now() - interval '20 s'",
            "select count(*) from sessions where last_seen_at < unixepoch('subsec') * 1000 - 20000",
        )
        .await
    };
    let begun = Instant::now();
    while unseen().await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody was seen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn who_is_not_seen_is_logged_out(db: Db) {
    let shop = Shop::start(&db, &["--idle-timeout", "60s"]).await;
    let mut browser = Browser::logged_in(&shop, "ada").await;
    for _ in 0..3 {
        db.pass(seconds(40)).await;
        assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
        seen(&db).await;
    }
    db.pass(seconds(61)).await;
    assert_eq!(browser.user(&shop).await, None);
    // Only a log-out removes the cookie. A dead cookie gives no access, and the next log-in replaces it.
    assert_eq!(browser.seen.last(), browser.cookie.as_ref());
    browser.log_in(&shop, "ada").await;
    assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
}

async fn everybody_is_logged_out_in_the_end(db: Db) {
    let flags = ["--idle-timeout", "60s", "--absolute-timeout", "5m"];
    let shop = Shop::start(&db, &flags).await;
    let mut browser = Browser::logged_in(&shop, "ada").await;
    for _ in 0..6 {
        db.pass(seconds(40)).await;
        assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
        seen(&db).await;
    }
    db.pass(seconds(40)).await;
    assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
    db.pass(seconds(21)).await;
    assert_eq!(browser.user(&shop).await, None);
}

async fn an_anonymous_cart_has_a_timeout_of_its_own(db: Db) {
    let shop = Shop::start(&db, &["--anonymous-idle-timeout", "60s"]).await;
    let mut visitor = Browser::new();
    visitor.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    let mut user = Browser::logged_in(&shop, "ada").await;
    db.pass(seconds(40)).await;
    assert_eq!(visitor.get(&shop, "/cart").await.json(), json!({"items": {"tea": 1}}));
    db.pass(seconds(61)).await;
    assert_eq!(visitor.get(&shop, "/cart").await.json(), json!({"items": {}}));
    assert_eq!(user.user(&shop).await.as_deref(), Some("ada"));
}

/// With real time, and the shortest possible timeouts.
async fn expired_sessions_are_swept_by_themselves(db: Db) {
    let flags = ["--idle-timeout", "2s", "--cleanup-every", "100ms"];
    let shop = Shop::start(&db, &flags).await;
    let begun = Instant::now();
    let mut browser = Browser::logged_in(&shop, "ada").await;
    assert_eq!(db.rows().await, 1);
    while db.rows().await == 1 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is never swept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(2), "it is swept too early");
    assert_eq!(browser.user(&shop).await, None);
}
