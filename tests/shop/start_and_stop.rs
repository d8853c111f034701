//! How the program begins and ends.

use std::sync::Arc;

use serde_json::json;

use crate::{
    browser::Browser,
    program::{Shop, command, fails},
    support::{Db, cases},
};

cases! { it_says_one_line_and_ends_when_asked, it_finishes_what_it_began, a_restart_loses_nothing }

async fn it_says_one_line_and_ends_when_asked(db: Db) {
    for signal in ["INT", "TERM"] {
        let mut command = command(&["--listen", ":0", "--cleanup-every", "10ms"]);
        command.args(["--database-url", &db.url]);
        let shop = Shop::spawn(command).await;
        let port = shop.url.strip_prefix("http://127.0.0.1:").unwrap();
        assert_ne!(port.parse::<u16>().unwrap(), 0);
        // An open connection does not delay the stop.
        let mut browser = Browser::logged_in(&shop, "ada").await;
        browser.get(&shop, "/").await;
        shop.signal(signal);
        let remains = shop.remains().await;
        assert!(remains.status.success(), "{}\n{}", remains.status, remains.log);
        assert_eq!(remains.stdout, [""; 0]);
    }
}

async fn it_finishes_what_it_began(db: Db) {
    let shop = Arc::new(Shop::start(&db, &["--slow-param"]).await);
    let mut browser = Browser::logged_in(&shop, "ada").await;
    let slow = tokio::spawn({
        let (mut browser, shop) = (browser.clone(), shop.clone());
        async move {
            let item = json!({"item": "tea", "quantity": 1});
            browser.post(&shop, "/cart?slow_ms=1000", item).await
        }
    });
    shop.has_logged("slowed down", 1).await;
    shop.signal("TERM");
    assert_eq!(slow.await.unwrap().json(), json!({"items": {"tea": 1}}));
    let shop = Arc::into_inner(shop).unwrap();
    assert!(shop.remains().await.status.success());
    let shop = Shop::start(&db, &[]).await;
    assert_eq!(browser.get(&shop, "/cart").await.json(), json!({"items": {"tea": 1}}));
}

async fn a_restart_loses_nothing(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::logged_in(&shop, "ada").await;
    browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    browser.put(&shop, "/preferences/theme", json!({"value": "dark"})).await;
    shop.kill().await;
    let shop = Shop::start(&db, &[]).await;
    assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
    assert_eq!(browser.get(&shop, "/cart").await.json(), json!({"items": {"tea": 1}}));
    assert_eq!(browser.get(&shop, "/preferences").await.json()["theme"], "dark");
}

#[tokio::test]
async fn without_a_database_it_says_so_and_fails() {
    for (url, says) in [
        // Nothing listens there.
        ("postgres://postgres:hunter2@127.0.0.1:1/postgres", "the session database"),
        ("sqlite:///nowhere/at/all/sessions.db", "/nowhere/at/all/sessions.db"),
        ("mysql://root:hunter2@127.0.0.1/shop", "postgres:// or sqlite://"),
    ] {
        let remains = fails(url, &[]).await;
        assert_eq!(remains.status.code(), Some(1), "{url}");
        assert_eq!(remains.stdout, [""; 0]);
        assert!(remains.log.contains(says), "{}", remains.log);
        assert!(!remains.log.contains("hunter2"), "{}", remains.log);
        assert!(!remains.log.contains("panicked"), "{}", remains.log);
    }
}

#[tokio::test]
async fn a_flag_that_makes_no_sense_is_refused() {
    for (flags, says) in [
        (["--idle-timeout", "soon"], "idle-timeout"),
        (["--idle-timeout", "0s"], "idle_timeout"),
        (["--sessions-per-user", "0"], "sessions_per_user"),
        (["--listen", "here"], "listen"),
        (["--cookie-name", "a b"], "is not a cookie name"),
        (["--cookie-name", "__Host-id"], "over plain HTTP"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/sessions.db", folder.path().display());
        let remains = fails(&url, &flags).await;
        assert!(!remains.status.success());
        assert!(remains.log.contains(says), "{}", remains.log);
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let db = Db::empty_sqlite().await;
    let shop = Shop::start(&db, &[]).await;
    let taken = shop.url.strip_prefix("http://").unwrap();
    let remains = fails(&db.url, &["--listen", taken]).await;
    assert_eq!(remains.status.code(), Some(1));
    assert!(remains.log.contains(taken), "{}", remains.log);
}
