//! `GET /cart`, `POST /cart`, `POST /cart/{item}`, `POST /order`.

use serde_json::{Value, json};

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! { a_cart_adds_up, what_is_no_quantity_is_refused, an_order_is_made_once }

async fn a_cart_adds_up(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    let answer = browser.get(&shop, "/cart").await;
    assert_eq!((answer.json(), answer.set_cookie()), (json!({"items": {}}), None));
    assert_eq!(db.rows().await, 0);

    let mut add = async |item, quantity| {
        let answer =
            browser.post(&shop, "/cart", json!({"item": item, "quantity": quantity})).await;
        assert_eq!(answer.status, 200);
        answer.json()
    };
    assert_eq!(add("tea", 2).await, json!({"items": {"tea": 2}}));
    assert_eq!(add("mug", 1).await, json!({"items": {"mug": 1, "tea": 2}}));
    assert_eq!(add("tea", 3).await, json!({"items": {"mug": 1, "tea": 5}}));
    let answer = browser.form(&shop, "/cart", &[("item", "tea"), ("quantity", "1")]).await;
    assert_eq!(answer.json(), json!({"items": {"mug": 1, "tea": 6}}));
    let answer = browser.post(&shop, "/cart/tea", json!({"quantity": 4})).await;
    assert_eq!(answer.json(), json!({"items": {"mug": 1, "tea": 4}}));
    let answer = browser.post(&shop, "/cart/mug", json!({"quantity": 0})).await;
    assert_eq!(answer.json(), json!({"items": {"tea": 4}}));
    let answer = Browser::new().get(&shop, "/cart").await;
    assert_eq!(answer.json(), json!({"items": {}}));
}

async fn what_is_no_quantity_is_refused(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    let nonsense =
        [json!(0), json!(-1), json!(1.5), json!(1000), json!(u64::MAX), json!("1"), Value::Null];
    for quantity in nonsense {
        let answer =
            browser.post(&shop, "/cart", json!({"item": "tea", "quantity": quantity})).await;
        answer.refuses(422);
    }
    for item in ["", "Tea", "tea\u{0}", "yacht"] {
        browser.post(&shop, "/cart", json!({"item": item, "quantity": 1})).await.refuses(422);
    }
    browser.post(&shop, "/cart/yacht", json!({"quantity": 1})).await.refuses(422);
    assert_eq!(db.rows().await, 0);

    browser.post(&shop, "/cart/tea", json!({"quantity": 99_999})).await;
    browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 2})).await.refuses(422);
    let answer = browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    assert_eq!(answer.json(), json!({"items": {"tea": 100_000}}));
    browser.post(&shop, "/cart/tea", json!({"quantity": 100_001})).await.refuses(422);
}

async fn an_order_is_made_once(db: Db) {
    let shop = Shop::start(&db, &["--slow-param"]).await;
    let mut browser = Browser::new();
    browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 3})).await;
    browser.press(&shop, "/order").await.refuses(401);
    browser.log_in(&shop, "ada").await;
    // Both have seen the full cart.
    let (mut one, mut two) = (browser.clone(), browser.clone());
    let (one, two) = tokio::join!(
        one.press(&shop, "/order?slow_ms=300"),
        two.press(&shop, "/order?slow_ms=300"),
    );
    let (done, refused) = if one.status == 200 { (one, two) } else { (two, one) };
    assert_eq!(done.json(), json!({"ordered": {"tea": 3}}));
    refused.refuses(422);
    assert_eq!(browser.get(&shop, "/cart").await.json(), json!({"items": {}}));
}
