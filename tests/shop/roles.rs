//! The shop as a member of `sessile_app`, the role of docs/roles.sql for an application.

use std::time::Duration;

use serde_json::json;

use crate::{browser::Browser, program::Shop, shipped::Shipped, support::Db};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_s_role_is_enough_for_the_shop() {
    let db = Db::postgres().await;
    let roles = Shipped::on(&db.url).await;
    let url = roles.member_of("sessile_app").await;
    // The owner of the tables starts it once, so that the shop's own table is there.
    Shop::start(&db, &[]).await.kill().await;
    let login = roles.name("of_sessile_app");
    roles.run(&format!("grant select, insert, update on public.shop_preferences to {login}")).await;
    let shop = Shop::start_at(&url, &["--cleanup-every", "1s"]).await;

    let mut browser = Browser::new();
    let tea = json!({"item": "tea", "quantity": 2});
    assert_eq!(browser.post(&shop, "/cart", tea).await.status, 200);
    browser.log_in(&shop, "ada").await;
    let other = Browser::logged_in(&shop, "ada").await;
    assert_eq!(browser.get(&shop, "/cart").await.json(), json!({"items": {"tea": 2}}));
    let dark = json!({"value": "dark"});
    assert_eq!(browser.put(&shop, "/preferences/theme", dark).await.status, 200);
    // A later request touches the row. Five minutes after the log-in, the shop would ask for the password.
    db.pass(Duration::from_secs(240)).await;
    assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
    browser.post(&shop, "/logout-everywhere", json!({})).await.ended(2);
    for mut browser in [browser, other] {
        assert_eq!(browser.user(&shop).await, None);
    }

    // Its own cleanup deletes what has expired, and files the events.
    Browser::new().post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    db.pass(Duration::from_secs(90 * 86_400)).await;
    let is_clean = async {
        let waits = "select (select count(*) from sessile.sessions) + (select count(*) from sessile.session_event_inbox)";
        while db.number(waits, "").await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_clean).await.expect("the cleanup runs");
    let failed = "select count(*) from sessile.session_cleanup_log where error is not null";
    assert_eq!(db.number(failed, "").await, 0);
    assert!(!shop.log().contains("permission denied"), "{}", shop.log());
    drop(shop);
    db.drop().await;
    roles.drop().await;
}
