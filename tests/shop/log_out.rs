//! `POST /logout`, `/logout-others`, `/logout-everywhere`, and requests that are in flight meanwhile.

use std::sync::Arc;

use serde_json::json;

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! {
    a_log_out_says_how_many_it_ended,
    nobody_cannot_log_out_others,
    logged_out_everywhere_nothing_in_flight_comes_back,
    a_log_in_in_flight_does_not_survive_it,
    every_page_about_the_user_has_the_log_out,
}

async fn a_log_out_says_how_many_it_ended(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut one = Browser::logged_in(&shop, "ada").await;
    let mut two = Browser::logged_in(&shop, "ada").await;
    let mut three = Browser::logged_in(&shop, "ada").await;
    let mut bob = Browser::logged_in(&shop, "bob").await;

    one.press(&shop, "/logout").await.ended(1);
    assert_eq!((one.cookie.as_deref(), db.rows().await), (None, 3));
    one.press(&shop, "/logout").await.ended(0);

    let mut four = Browser::logged_in(&shop, "ada").await;
    two.press(&shop, "/logout-others").await.ended(2);
    assert_eq!(three.user(&shop).await, None);
    assert_eq!(four.user(&shop).await, None);
    assert_eq!(two.user(&shop).await.as_deref(), Some("ada"));
    two.press(&shop, "/logout-others").await.ended(0);

    let mut five = Browser::logged_in(&shop, "ada").await;
    two.press(&shop, "/logout-everywhere").await.ended(2);
    assert_eq!((two.cookie.as_deref(), db.rows().await), (None, 1));
    assert_eq!(five.user(&shop).await, None);
    assert_eq!(bob.user(&shop).await.as_deref(), Some("bob"));
}

async fn nobody_cannot_log_out_others(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    browser.press(&shop, "/logout-others").await.refuses(401);
    browser.press(&shop, "/logout-everywhere").await.refuses(401);
    browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    browser.press(&shop, "/logout-everywhere").await.refuses(401);
    assert_eq!(browser.get(&shop, "/cart").await.json(), json!({"items": {"tea": 1}}));
}

async fn logged_out_everywhere_nothing_in_flight_comes_back(db: Db) {
    let shop = Arc::new(Shop::start(&db, &["--slow-param"]).await);
    let mut ada = Browser::logged_in(&shop, "ada").await;
    let other = Browser::logged_in(&shop, "ada").await;
    // Last seen long enough ago that every request has something to write.
    db.pass(sessile::hours(1)).await;

    type Step = fn(Browser, Arc<Shop>) -> tokio::task::JoinHandle<(u16, Browser)>;
    let in_flight: [Step; 5] = [
        |mut browser, shop| {
            tokio::spawn(async move {
                let answer = browser.get(&shop, "/me?slow_ms=2000").await;
                (answer.status, browser)
            })
        },
        |mut browser, shop| {
            tokio::spawn(async move {
                let body = json!({"value": "dark"});
                let answer = browser.put(&shop, "/preferences/note?slow_ms=2000", body).await;
                (answer.status, browser)
            })
        },
        |mut browser, shop| {
            tokio::spawn(async move {
                let body = json!({"item": "tea", "quantity": 1});
                let answer = browser.post(&shop, "/cart?slow_ms=2000", body).await;
                (answer.status, browser)
            })
        },
        |mut browser, shop| {
            tokio::spawn(async move {
                let body = json!({"password": "demo"});
                let answer = browser.post(&shop, "/confirm?slow_ms=2000", body).await;
                (answer.status, browser)
            })
        },
        |mut browser, shop| {
            tokio::spawn(async move {
                let answer = browser.press(&shop, "/password?slow_ms=2000").await;
                (answer.status, browser)
            })
        },
    ];
    let in_flight = in_flight.map(|step| step(other.clone(), shop.clone()));
    shop.has_logged("slowed down", in_flight.len()).await;
    ada.post(&shop, "/confirm", json!({"password": "demo"})).await;
    ada.press(&shop, "/logout-everywhere").await.ended(2);
    assert_eq!(db.rows().await, 0);

    let mut statuses = Vec::new();
    for request in in_flight {
        let (status, mut browser) = request.await.unwrap();
        statuses.push(status);
        assert_eq!(browser.user(&shop).await, None, "{statuses:?}");
    }
    // The request that only reads is answered; the writes are refused.
    assert_eq!(statuses, [200, 401, 401, 401, 403]);
    let mut other = other;
    assert_eq!(other.user(&shop).await, None);
    assert_eq!(db.rows().await, 0);
}

async fn a_log_in_in_flight_does_not_survive_it(db: Db) {
    let shop = Arc::new(Shop::start(&db, &["--slow-param"]).await);
    let mut ada = Browser::logged_in(&shop, "ada").await;
    let mut thief = Browser::new();
    let log_in = tokio::spawn({
        let shop = shop.clone();
        async move {
            let credentials = json!({"user": "ada", "password": "demo"});
            let answer = thief.post(&shop, "/login?slow_ms=2000", credentials).await;
            (answer, thief)
        }
    });
    shop.has_logged("slowed down", 1).await;
    ada.press(&shop, "/logout-everywhere").await.ended(1);
    let (answer, thief) = log_in.await.unwrap();
    answer.refuses(401);
    assert_eq!((thief.cookie, db.rows().await), (None, 0));
    // The next log-in succeeds.
    ada.log_in(&shop, "ada").await;
}

async fn every_page_about_the_user_has_the_log_out(db: Db) {
    const BUTTON: &str = r#"method="post" action="/logout"><button"#;
    let shop = Shop::start(&db, &[]).await;
    let mut ada = Browser::logged_in(&shop, "ada").await.for_people();
    for path in ["/me", "/devices", "/preferences", "/password", "/confirm"] {
        let page = ada.get(&shop, path).await;
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.text.matches(BUTTON).count(), 1, "{path}: {}", page.text);
    }
    // Every other page is one click away from these.
    for path in ["/", "/cart", "/nothing"] {
        let page = ada.get(&shop, path).await.text;
        assert!(page.contains(r#"href="/me""#), "{path}: {page}");
    }
    // Whoever is not logged in is not told to log out.
    let mut nobody = Browser::new().for_people();
    for path in ["/", "/cart", "/login", "/preferences"] {
        assert!(!nobody.get(&shop, path).await.text.contains("/logout"), "{path}");
    }
    assert_eq!(ada.press(&shop, "/logout").await.location(), "/");
    assert_eq!((ada.cookie.as_deref(), db.rows().await), (None, 0));
}
