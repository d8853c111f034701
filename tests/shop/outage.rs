//! The database goes away, and comes back.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    browser::{Answer, Browser},
    program::Shop,
    proxy::Proxy,
    support::{Db, Pool, cases},
};

cases! { without_its_table_the_shop_says_so }

/// 503 for every request, in both formats, and no browser loses its cookie.
async fn is_down(shop: &Arc<Shop>, browser: &Browser) {
    let requests = [
        (Method::GET, "/me", None),
        (Method::GET, "/cart", None),
        (Method::POST, "/cart", Some(json!({"item": "tea", "quantity": 1}))),
        (Method::GET, "/preferences", None),
        (Method::PUT, "/preferences/theme", Some(json!({"value": "dark"}))),
        (Method::GET, "/devices", None),
        (Method::POST, "/login", Some(json!({"user": "ada", "password": "demo"}))),
        (Method::POST, "/logout", None),
        (Method::POST, "/password", None),
    ];
    let refusals = requests.into_iter().map(|(method, path, body)| {
        let (mut browser, shop) = (browser.clone(), shop.clone());
        async move {
            let mut request = browser.request(method, &shop, path);
            if let Some(body) = body {
                request = request.json(&body);
            }
            refused(&browser.send(request).await);
        }
    });
    // A visitor without a cookie notices it at the first write.
    let changes = [
        (Method::POST, "/cart", json!({"item": "tea", "quantity": 1})),
        (Method::PUT, "/preferences/x", json!({"value": 1})),
        (Method::POST, "/login", json!({"user": "ada", "password": "demo"})),
    ];
    let refusals_of_strangers = changes.into_iter().map(|(method, path, body)| {
        let (mut stranger, shop) = (Browser::new(), shop.clone());
        async move {
            assert_eq!(stranger.get(&shop, "/cart").await.status, 200);
            let request = stranger.request(method, &shop, path).json(&body);
            refused(&stranger.send(request).await);
        }
    });
    let (refusals, refusals_of_strangers, page) = tokio::join!(
        JoinSet::from_iter(refusals).join_all(),
        JoinSet::from_iter(refusals_of_strangers).join_all(),
        async { browser.for_people().get(shop, "/").await },
    );
    assert_eq!((refusals.len(), refusals_of_strangers.len()), (9, 3));
    assert_eq!((page.status, page.set_cookie()), (503, None));
    assert!(page.text.contains("Closed for a moment"), "{}", page.text);
    assert!(!page.text.contains("Log in"), "nobody was logged out");
}

#[track_caller]
fn refused(answer: &Answer) {
    answer.refuses(503);
    assert_eq!(answer.set_cookie(), None);
}

async fn without_its_table_the_shop_says_so(db: Db) {
    let shop = Arc::new(Shop::start(&db, &[]).await);
    let mut browser = Browser::logged_in(&shop, "ada").await;
    browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    db.run("alter table sessile.sessions rename to away", "alter table sessions rename to away")
        .await;
    is_down(&shop, &browser).await;
    db.run("alter table sessile.away rename to sessions", "alter table away rename to sessions")
        .await;
    assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
    assert_eq!(browser.get(&shop, "/cart").await.json(), json!({"items": {"tea": 1}}));
}

mod postgres_only {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_its_server_the_shop_says_so() {
        let db = Db::postgres().await;
        let wire = Proxy::to(&db.url).await;
        let shop = Arc::new(Shop::start_at(&wire.url, &[]).await);
        let mut browser = Browser::logged_in(&shop, "ada").await;
        wire.cut();
        is_down(&shop, &browser).await;
        wire.mend();
        assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
        let added = browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
        assert_eq!(added.json(), json!({"items": {"tea": 1}}));
        drop(shop);
        db.drop().await;
    }
}

mod sqlite_only {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_its_lock_the_shop_says_so() {
        let db = Db::sqlite().await;
        let shop = Shop::start(&db, &[]).await;
        let mut browser = Browser::logged_in(&shop, "ada").await;
        let Pool::Sqlite(pool) = &db.pool else { unreachable!() };
        let mut lock = pool.begin_with("begin immediate").await.unwrap();
        sqlx::query("update sessions set user_id = 'eve'").execute(&mut *lock).await.unwrap();
        // Readers need no lock. A writer gives up after five seconds.
        assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
        refused(&browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await);
        lock.rollback().await.unwrap();
        let added = browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
        assert_eq!(added.json(), json!({"items": {"tea": 1}}));
        db.drop().await;
    }
}
