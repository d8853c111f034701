//! `PUT /preferences/{key}`, `GET /preferences`.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! {
    a_preference_is_kept,
    preferences_set_at_the_same_time_are_all_kept,
    a_preference_follows_its_user,
    what_is_no_preference_is_refused,
}

async fn a_preference_is_kept(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    let answer = browser.get(&shop, "/preferences").await;
    assert_eq!(answer.json(), json!({"theme": "auto", "size": "normal"}));
    assert_eq!(answer.set_cookie(), None);

    let answer = browser.put(&shop, "/preferences/theme", json!({"value": "dark"})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["theme"], "dark");
    browser.put(&shop, "/preferences/of-a-client", json!({"value": [1, null]})).await;
    let answer = browser.get(&shop, "/preferences").await;
    let expected = json!({"theme": "dark", "size": "normal", "of-a-client": [1, null]});
    assert_eq!(answer.json(), expected);
    // Each preference has its own top-level key.
    let count = db
        .number(
            "select count(*) from sessile.sessions, json_object_keys(data) key
                where key in ('preference:theme', 'preference:of-a-client')",
            "select count(*) from sessions, json_each(data)
                where key in ('preference:theme', 'preference:of-a-client')",
        )
        .await;
    assert_eq!(count, 2);
}

async fn preferences_set_at_the_same_time_are_all_kept(db: Db) {
    let shop = Arc::new(Shop::start(&db, &["--slow-param"]).await);
    let mut browser = Browser::new();
    browser.put(&shop, "/preferences/theme", json!({"value": "dark"})).await;
    // Each request has loaded the session before any of them writes.
    let writes = (0..20).map(|n| {
        let (mut browser, shop) = (browser.clone(), shop.clone());
        async move {
            let path = format!("/preferences/key-{n}?slow_ms=500");
            let answer = browser.put(&shop, &path, json!({"value": n})).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    });
    JoinSet::from_iter(writes).join_all().await;
    let preferences = browser.get(&shop, "/preferences").await.json();
    for n in 0..20 {
        assert_eq!(preferences[format!("key-{n}")], n);
    }
    assert_eq!(preferences["theme"], "dark");
}

async fn a_preference_follows_its_user(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let theme = async |browser: &mut Browser| {
        browser.get(&shop, "/preferences").await.json()["theme"].clone()
    };
    // A preference that was chosen before the log-in is kept by it, and appears on the next device.
    let mut laptop = Browser::new();
    laptop.put(&shop, "/preferences/theme", json!({"value": "dark"})).await;
    laptop.log_in(&shop, "ada").await;
    assert_eq!(theme(&mut laptop).await, "dark");
    let mut phone = Browser::logged_in(&shop, "ada").await;
    assert_eq!(theme(&mut phone).await, "dark");

    // A preference that was chosen while logged in appears after the next log-in, whatever the visitor has
    // chosen.
    phone.put(&shop, "/preferences/theme", json!({"value": "light"})).await;
    phone.press(&shop, "/logout").await.ended(1);
    assert_eq!(theme(&mut phone).await, "auto");
    phone.put(&shop, "/preferences/theme", json!({"value": "dark"})).await;
    phone.log_in(&shop, "ada").await;
    assert_eq!(theme(&mut phone).await, "light");

    // It is not visible to another user, not even in the same browser.
    assert_eq!(theme(&mut Browser::logged_in(&shop, "bob").await).await, "auto");
    phone.log_in(&shop, "bob").await;
    assert_eq!(theme(&mut phone).await, "auto");
}

async fn what_is_no_preference_is_refused(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    let value = json!({"value": 1});
    for key in ["Theme", "%C3%A9", "a%20b", &"x".repeat(33)] {
        browser.put(&shop, &format!("/preferences/{key}"), value.clone()).await.refuses(422);
    }
    let long = json!({"value": "x".repeat(255)});
    browser.put(&shop, "/preferences/theme", long).await.refuses(422);
    browser.put(&shop, "/preferences/theme", json!({})).await.refuses(422);
    assert_eq!(db.rows().await, 0);
    for n in 0..50 {
        browser.put(&shop, &format!("/preferences/{n}"), value.clone()).await;
    }
    browser.put(&shop, "/preferences/theme", value.clone()).await.refuses(422);
    assert_eq!(browser.put(&shop, "/preferences/7", value).await.status, 200);
}
