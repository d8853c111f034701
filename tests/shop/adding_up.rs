//! Two processes, one database, one session, two hundred requests at once.

use std::sync::Arc;

use serde_json::json;
use tokio::{sync::Barrier, task::JoinSet};

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! { two_hundred_at_once_add_up }

async fn two_hundred_at_once_add_up(db: Db) {
    let (one, two) = tokio::join!(Shop::start(&db, &[]), Shop::start(&db, &[]));
    let shops = [Arc::new(one), Arc::new(two)];
    let mut browser = Browser::new();
    browser.post(&shops[0], "/cart", json!({"item": "mug", "quantity": 1})).await;

    let start = Arc::new(Barrier::new(200));
    let adds = (0..200).map(|n| {
        let (mut browser, shop, start) = (browser.clone(), shops[n % 2].clone(), start.clone());
        async move {
            start.wait().await;
            let item = json!({"item": "tea", "quantity": n % 3 + 1});
            let answer = browser.post(&shop, "/cart", item).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    });
    JoinSet::from_iter(adds).join_all().await;

    let expected: usize = (0..200).map(|n| n % 3 + 1).sum();
    for shop in &shops {
        let cart = browser.get(shop, "/cart").await.json();
        assert_eq!(cart, json!({"items": {"mug": 1, "tea": expected}}));
    }
    assert_eq!(db.rows().await, 1);
}
