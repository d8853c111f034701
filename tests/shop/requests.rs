//! The properties of every address.

use serde_json::json;

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! { health_needs_no_session, what_makes_no_sense_is_refused }

async fn health_needs_no_session(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::logged_in(&shop, "ada").await;
    db.run("alter table sessile.sessions rename to away", "alter table sessions rename to away")
        .await;
    browser.get(&shop, "/me").await.refuses(503);
    let answer = browser.get(&shop, "/healthz").await;
    assert_eq!((answer.status, answer.set_cookie()), (200, None));
}

async fn what_makes_no_sense_is_refused(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    browser.get(&shop, "/nothing").await.refuses(404);
    browser.get(&shop, "/cart/").await.refuses(404);
    let answer = browser.delete(&shop, "/cart").await;
    answer.refuses(405);
    assert_eq!(answer.header("allow"), Some("GET,HEAD,POST"));

    let post = |browser: &Browser, content_type: &str, body: String| {
        let request = browser.request(reqwest::Method::POST, &shop, "/cart");
        request.header("content-type", content_type).body(body)
    };
    for (content_type, body, status) in [
        ("application/json", "{\"item\":", 400),
        ("application/json", "[]", 422),
        ("application/json; charset=utf-8", "{}", 422),
        ("application/x-www-form-urlencoded", "item=tea", 422),
        ("text/plain", "tea", 415),
    ] {
        let request = post(&browser, content_type, body.to_owned());
        browser.send(request).await.refuses(status);
    }
    let large = json!({"item": "x".repeat(17 * 1024), "quantity": 1}).to_string();
    let request = post(&browser, "application/json", large);
    browser.send(request).await.refuses(413);

    assert_eq!(browser.cookie, None);
    assert_eq!(db.rows().await, 0);
}
