//! The shop is killed in the middle of its work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! { what_was_acknowledged_survives_a_kill }

async fn what_was_acknowledged_survives_a_kill(db: Db) {
    let mut browser = Browser::new();
    let (sent, acknowledged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for round in 0..6 {
        let shop = Arc::new(Shop::start(&db, &[]).await);
        if round == 0 {
            browser.log_in(&shop, "ada").await;
        }
        let mut visitors = JoinSet::new();
        for _ in 0..4 {
            let (mut browser, shop) = (browser.clone(), shop.clone());
            let (sent, acknowledged) = (sent.clone(), acknowledged.clone());
            visitors.spawn(async move {
                loop {
                    let item = json!({"item": "tea", "quantity": 1});
                    let add = browser.request(Method::POST, &shop, "/cart").json(&item);
                    sent.fetch_add(1, SeqCst);
                    match browser.try_send(add).await {
                        Ok(answer) => assert_eq!(answer.status, 200, "{}", answer.text),
                        Err(_) => return,
                    }
                    acknowledged.fetch_add(1, SeqCst);
                }
            });
        }
        let before = acknowledged.load(SeqCst);
        let begun = Instant::now();
        while acknowledged.load(SeqCst) < before + 20 {
            assert!(begun.elapsed() < Duration::from_secs(30), "nothing is acknowledged");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // At a random moment, independent of any statement.
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..50_000))).await;
        shop.signal("KILL");
        visitors.join_all().await;

        let shop = Shop::start(&db, &[]).await;
        assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
        let cart = browser.get(&shop, "/cart").await.json();
        let there = cart["items"]["tea"].as_u64().unwrap();
        let (sent, acknowledged) = (sent.load(SeqCst), acknowledged.load(SeqCst));
        assert!((acknowledged..=sent).contains(&there), "{acknowledged} <= {there} <= {sent}");
    }
}
