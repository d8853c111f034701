//! The previous release and this one, on one database: as during a deployment that replaces the nodes, and
//! after the deployment was rolled back.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    browser::Browser,
    program::{Shop, earlier_fails},
    support::{Db, cases},
};

// On a database without migrations: the previous release migrates it first.
cases! { @empty_postgres [
    sessions_of_before_are_kept
    what_one_release_does_the_other_sees
    a_new_cookie_is_good_at_both
    a_log_in_in_flight_is_refused_after_a_log_out_at_the_other
    a_roll_back_reverts_the_migration_first
] }
cases! { @empty_sqlite [
    sessions_of_before_are_kept
    what_one_release_does_the_other_sees
    a_new_cookie_is_good_at_both
    a_log_in_in_flight_is_refused_after_a_log_out_at_the_other
    a_roll_back_reverts_the_migration_first
] }

/// The previous release, and this one.
async fn both(db: &Db, flags: &[&str]) -> [Shop; 2] {
    let earlier = Shop::start_earlier(db, flags).await;
    [earlier, Shop::start(db, flags).await]
}

/// The shop in which something is done, and the shop that must see it.
fn directions([earlier, this]: &[Shop; 2]) -> [(&Shop, &Shop); 2] {
    [(earlier, this), (this, earlier)]
}

/// Whether its cookie is valid there. The browser is a clone, because the previous release removes the cookie
/// of an ended session.
async fn is_in(browser: &Browser, shop: &Shop) -> bool {
    browser.clone().user(shop).await.is_some()
}

async fn cart(browser: &Browser, shop: &Shop) -> Value {
    browser.clone().get(shop, "/cart").await.json()["items"].clone()
}

fn tea(quantity: u32) -> Value {
    json!({"item": "tea", "quantity": quantity})
}

async fn sessions_of_before_are_kept(db: Db) {
    let earlier = Shop::start_earlier(&db, &[]).await;
    let (mut guest, mut ada, mut eve) = (Browser::new(), Browser::new(), Browser::new());
    guest.post(&earlier, "/cart", tea(1)).await;
    ada.log_in(&earlier, "ada").await;
    ada.post(&earlier, "/cart", tea(2)).await;
    eve.post(&earlier, "/login", json!({"user": "eve", "password": "demo", "remember": true}))
        .await;

    let this = Shop::start(&db, &[]).await;
    assert_eq!(cart(&guest, &this).await, json!({"tea": 1}));
    assert_eq!(cart(&ada, &this).await, json!({"tea": 2}));
    assert_eq!(ada.user(&this).await.as_deref(), Some("ada"));
    // Its row does not say that the log-in was remembered, but its timeouts show it.
    let answer = eve.post(&this, "/confirm", json!({"password": "demo"})).await;
    assert!(answer.set_cookie().unwrap().contains("; Max-Age=25"), "{:?}", answer.set_cookie());

    // Both releases can use all of these sessions.
    ada.post(&this, "/cart", tea(1)).await;
    ada.post(&earlier, "/cart", tea(1)).await;
    guest.post(&this, "/cart", tea(1)).await;
    guest.log_in(&earlier, "bob").await;
    for shop in [&earlier, &this] {
        assert_eq!(cart(&ada, shop).await, json!({"tea": 4}));
        assert_eq!(cart(&guest, shop).await, json!({"tea": 2}));
        assert!(is_in(&guest, shop).await && is_in(&eve, shop).await);
    }
    assert_eq!(db.rows().await, 3);
}

async fn what_one_release_does_the_other_sees(db: Db) {
    let shops = both(&db, &[]).await;
    for (here, there) in directions(&shops) {
        let mut one = Browser::logged_in(here, "ada").await;
        let mut two = Browser::logged_in(there, "ada").await;
        let mut three = Browser::logged_in(here, "ada").await;
        let bob = Browser::logged_in(there, "bob").await;
        one.post(here, "/cart", tea(1)).await;
        one.post(there, "/cart", tea(1)).await;
        assert_eq!(cart(&one, here).await, json!({"tea": 2}));
        assert!(is_in(&one, there).await);

        // The list, and one device out of it.
        let devices = one.get(here, "/devices").await.json();
        assert_eq!(devices.as_array().unwrap().len(), 3);
        let seen = one.get(there, "/devices").await.json();
        for (device, seen) in devices.as_array().unwrap().iter().zip(seen.as_array().unwrap()) {
            assert_eq!((&device["id"], &device["current"]), (&seen["id"], &seen["current"]));
        }
        let me = two.get(there, "/me").await.json();
        let path = format!("/devices/{}", me["session_id"].as_str().unwrap());
        assert_eq!(one.delete(here, &path).await.status, 204);
        assert!(!is_in(&two, there).await);

        let old = three.clone();
        three.press(here, "/logout").await.ended(1);
        assert!(!is_in(&old, there).await);

        let two = Browser::logged_in(there, "ada").await;
        one.press(here, "/logout-others").await.ended(1);
        assert!(!is_in(&two, there).await && is_in(&one, there).await);

        let two = Browser::logged_in(there, "ada").await;
        let old = one.clone();
        one.press(here, "/logout-everywhere").await.ended(2);
        for browser in [&old, &two] {
            assert!(!is_in(browser, there).await && !is_in(browser, here).await);
        }
        assert!(is_in(&bob, here).await && is_in(&bob, there).await);
    }
}

async fn a_new_cookie_is_good_at_both(db: Db) {
    let shops = both(&db, &[]).await;
    for (here, there) in directions(&shops) {
        let mut browser = Browser::new();
        browser.post(there, "/cart", tea(1)).await;
        for step in ["log-in", "confirmation", "change of the password"] {
            let mut old = browser.clone();
            match step {
                "log-in" => browser.log_in(here, "ada").await,
                "confirmation" => browser.post(here, "/confirm", json!({"password": "demo"})).await,
                _ => browser.press(here, "/password").await,
            };
            assert_ne!(browser.cookie, old.cookie, "{step}");
            assert!(is_in(&browser, here).await && is_in(&browser, there).await, "{step}");
            assert_eq!(cart(&browser, there).await, json!({"tea": 1}), "{step}");
            // This release may answer that the request is superseded. Neither release admits it.
            for shop in [there, here] {
                let status = old.clone().get(shop, "/me").await.status;
                assert!(matches!(status, 401 | 409), "{step}: {status}");
            }
            assert_ne!(old.post(there, "/cart", tea(1)).await.text, r#"{"items":{"tea":2}}"#);
        }
        browser.press(here, "/logout-everywhere").await;
    }
}

async fn a_log_in_in_flight_is_refused_after_a_log_out_at_the_other(db: Db) {
    let shops = both(&db, &["--slow-param"]).await;
    for (here, there) in directions(&shops) {
        let mut ada = Browser::logged_in(there, "ada").await;
        let mut thief = Browser::new();
        let credentials = json!({"user": "ada", "password": "demo"});
        let (refused, ()) =
            tokio::join!(thief.post(here, "/login?slow_ms=2000", credentials), async {
                here.has_logged("slowed down", 1).await;
                ada.press(there, "/logout-everywhere").await.ended(1);
            });
        refused.refuses(401);
        assert_eq!((thief.cookie, db.rows().await), (None, 0));
        // The next log-in succeeds.
        Browser::logged_in(here, "ada").await.press(here, "/logout-everywhere").await.ended(1);
    }
}

/// The previous release does not know the newer schema, so it does not start on it again.
async fn a_roll_back_reverts_the_migration_first(db: Db) {
    let [earlier, this] = both(&db, &[]).await;
    let ada = Browser::logged_in(&earlier, "ada").await;
    let mut bob = Browser::logged_in(&this, "bob").await;
    bob.post(&this, "/cart", tea(1)).await;
    // An application may already use a realm: the previous release would admit this session everywhere.
    let office = db.builder().await.realm("office").build().unwrap();
    crate::support::Browser::logged_in(&office, "eve").await;
    earlier.kill().await;
    this.kill().await;

    let remains = earlier_fails(&db.url).await;
    assert_eq!(remains.status.code(), Some(1));
    assert!(remains.log.contains("newer than this version of sessile"), "{}", remains.log);

    revert_to(&db, "20261123000001");
    let earlier = Shop::start_earlier(&db, &[]).await;
    assert!(is_in(&ada, &earlier).await && is_in(&bob, &earlier).await);
    assert_eq!(cart(&bob, &earlier).await, json!({"tea": 1}));
    assert_eq!(db.rows().await, 2);
    // Then the migration runs again.
    let this = Shop::start(&db, &[]).await;
    assert!(is_in(&ada, &this).await && is_in(&bob, &this).await);
}

/// As an application's operators do.
fn revert_to(db: &Db, version: &str) {
    let folder = if db.is_postgres() { "migrations/postgres" } else { "migrations/sqlite" };
    let output = Command::new("sqlx")
        .args(["migrate", "revert", "--target-version", version, "--source", folder])
        .args(["--config", &format!("{folder}/sqlx.toml"), "--database-url", &db.url])
        .output()
        .expect("sqlx-cli is on the PATH: scripts/test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
