//! Two tabs, slow requests, a double click, a second shop: concurrent requests of one browser.

use std::{collections::BTreeMap, sync::Arc};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    browser::{Answer, Browser},
    program::Shop,
    support::{Db, cases},
};

cases! {
    a_slow_request_does_not_log_out_who_confirms_meanwhile,
    who_comes_with_the_cookie_before_is_told_to_reload,
    a_double_clicked_log_in_is_one_device,
    two_shops_on_one_host_have_two_cookies,
}

/// A slow request that has already loaded its session.
async fn slow_post(
    shop: &Arc<Shop>,
    browser: &Browser,
    path: &str,
    body: serde_json::Value,
) -> JoinHandle<(Answer, Browser)> {
    let before = shop.log().matches("slowed down").count();
    let (mut browser, post, path) = (browser.clone(), shop.clone(), format!("{path}?slow_ms=1000"));
    let slow = tokio::spawn(async move {
        let answer = browser.post(&post, &path, body).await;
        (answer, browser)
    });
    shop.has_logged("slowed down", before + 1).await;
    slow
}

async fn a_slow_request_does_not_log_out_who_confirms_meanwhile(db: Db) {
    let shop = Arc::new(Shop::start(&db, &["--slow-param"]).await);
    let mut browser = Browser::logged_in(&shop, "ada").await;
    browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    // The first request acts at once. The layer writes the change that the second one recorded.
    let acts = slow_post(&shop, &browser, "/cart", json!({"item": "tea", "quantity": 1})).await;
    let records = slow_post(&shop, &browser, "/preferences/theme", json!({"value": "dark"})).await;
    browser.post(&shop, "/confirm", json!({"password": "demo"})).await;

    for slow in [acts, records] {
        let (answer, tab) = slow.await.unwrap();
        answer.refuses(409);
        assert!(answer.text.contains("reload"), "{}", answer.text);
        assert_eq!(answer.set_cookie(), None);
        assert_ne!(tab.cookie, browser.cookie);
    }
    assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
    assert_eq!(browser.get(&shop, "/cart").await.json(), json!({"items": {"tea": 1}}));
    assert_eq!(browser.get(&shop, "/preferences").await.json()["theme"], "auto");
    assert_eq!(db.rows().await, 1);
}

async fn who_comes_with_the_cookie_before_is_told_to_reload(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    let mut overtaken = browser.clone();
    browser.log_in(&shop, "ada").await;

    for path in ["/", "/cart", "/me", "/devices", "/preferences", "/password", "/confirm"] {
        overtaken.get(&shop, path).await.refuses(409);
        let answer = overtaken.for_people().get(&shop, path).await;
        assert_eq!((answer.status, answer.set_cookie()), (409, None), "{path}");
        assert!(answer.text.contains(&format!(r#"href="{path}">Reload<"#)), "{}", answer.text);
        assert!(!answer.text.contains("/login"), "{}", answer.text);
    }
    for path in ["/order", "/logout", "/logout-others", "/logout-everywhere", "/password"] {
        let answer = overtaken.press(&shop, path).await;
        answer.refuses(409);
        assert_eq!(answer.set_cookie(), None, "{path}");
    }
    assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
    assert_eq!(browser.get(&shop, "/cart").await.json(), json!({"items": {"tea": 1}}));

    // A user who gives the password is admitted all the same.
    assert_eq!(overtaken.for_people().get(&shop, "/login").await.status, 200);
    overtaken.log_in(&shop, "bob").await;
    assert_eq!(overtaken.user(&shop).await.as_deref(), Some("bob"));
    assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
}

async fn a_double_clicked_log_in_is_one_device(db: Db) {
    let shop = Arc::new(Shop::start(&db, &["--slow-param"]).await);
    let mut browser = Browser::new();
    browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    let ada = || json!({"user": "ada", "password": "demo"});
    let one = slow_post(&shop, &browser, "/login", ada()).await;
    let two = slow_post(&shop, &browser, "/login", ada()).await;
    let ((first, mut one), (second, mut two)) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!((first.status, second.status), (200, 200));
    // Whichever answer the browser keeps, it is logged in.
    assert_ne!(one.cookie, two.cookie);
    for browser in [&mut one, &mut two] {
        assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
        assert_eq!(browser.get(&shop, "/cart").await.json(), json!({"items": {"tea": 1}}));
        assert_eq!(browser.get(&shop, "/devices").await.json().as_array().unwrap().len(), 1);
    }
    assert_eq!(db.rows().await, 1);
}

/// A cookie jar like a browser's: one for the host, for all ports.
#[derive(Default)]
struct Jar(BTreeMap<String, String>);

impl Jar {
    async fn send(&mut self, method: Method, shop: &Shop, path: &str) -> u16 {
        let http = reqwest::Client::new();
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        let mut request = http
            .request(method.clone(), format!("{}{path}", shop.url))
            .header("accept", "application/json")
            .header("cookie", pairs.collect::<Vec<_>>().join("; "));
        if method == Method::POST {
            request = request.json(&json!({"user": "ada", "password": "demo"}));
        }
        let response = request.send().await.unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.0.insert(name.to_owned(), value.to_owned());
            if cookie.contains("Max-Age=0") {
                self.0.remove(name);
            }
        }
        response.status().as_u16()
    }
}

async fn two_shops_on_one_host_have_two_cookies(db: Db) {
    let other_db = if db.is_postgres() { Db::postgres().await } else { Db::sqlite().await };
    let shop = Shop::start(&db, &[]).await;
    let other = Shop::start(&other_db, &["--cookie-name", "other-shop"]).await;
    let mut jar = Jar::default();
    for shop in [&shop, &other] {
        assert_eq!(jar.send(Method::POST, shop, "/login").await, 200);
    }
    assert_eq!(jar.0.keys().collect::<Vec<_>>(), ["id", "other-shop"]);
    for shop in [&shop, &other] {
        assert_eq!(jar.send(Method::GET, shop, "/me").await, 200);
    }
    assert_eq!(jar.send(Method::POST, &shop, "/logout").await, 204);
    assert_eq!(jar.send(Method::GET, &shop, "/me").await, 401);
    assert_eq!(jar.send(Method::GET, &other, "/me").await, 200);
    drop((shop, other));
    other_db.drop().await;
}
