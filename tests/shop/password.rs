//! `POST /password`, `POST /confirm`.

use serde_json::json;
use sessile::minutes;

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! { a_change_ends_the_others_and_renews_this_one, it_takes_a_recent_log_in }

async fn a_change_ends_the_others_and_renews_this_one(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    browser.press(&shop, "/password").await.refuses(401);
    browser.log_in(&shop, "ada").await;
    let mut other = Browser::logged_in(&shop, "ada").await;
    let mut stolen = browser.clone();

    browser.press(&shop, "/password").await.ended(1);
    assert_ne!(browser.cookie, stolen.cookie);
    assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
    stolen.get(&shop, "/me").await.refuses(409);
    assert_eq!(other.user(&shop).await, None);
    assert_eq!(db.rows().await, 1);
}

async fn it_takes_a_recent_log_in(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::logged_in(&shop, "ada").await;
    let mut other = Browser::logged_in(&shop, "ada").await;
    db.pass(minutes(5) - sessile::seconds(30)).await;
    browser.press(&shop, "/password").await.ended(1);
    other.log_in(&shop, "ada").await;

    db.pass(minutes(1)).await;
    let before = browser.cookie.clone();
    browser.press(&shop, "/password").await.refuses(403);
    let page = browser.for_people().press(&shop, "/password").await;
    assert_eq!(page.status, 403);
    assert!(page.text.contains(r#"action="/confirm""#), "{}", page.text);
    assert_eq!(browser.cookie, before);
    assert_eq!(other.user(&shop).await.as_deref(), Some("ada"));

    browser.post(&shop, "/confirm", json!({"password": "guess"})).await.refuses(401);
    browser.press(&shop, "/password").await.refuses(403);
    let answer = browser.post(&shop, "/confirm", json!({"password": "demo"})).await;
    assert_eq!(answer.json()["user"], "ada");
    assert_ne!(browser.cookie, before);
    browser.press(&shop, "/password").await.ended(1);
    Browser::new().post(&shop, "/confirm", json!({"password": "demo"})).await.refuses(401);
}
