//! No line of the log gives access to a session.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    browser::Browser,
    program::{Shop, command},
    support::{Db, cases},
};

cases! { the_log_holds_no_credential }

async fn the_log_holds_no_credential(db: Db) {
    let mut command = command(&["--slow-param", "--cleanup-every", "50ms"]);
    command.args(["--database-url", &db.url]).env("RUST_LOG", "trace");
    let shop = Shop::spawn(command).await;
    let mut browser = Browser::new();
    browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    let me = browser.log_in(&shop, "ada").await.json();
    browser.put(&shop, "/preferences/theme?slow_ms=1", json!({"value": "dark"})).await;
    browser.post(&shop, "/confirm", json!({"password": "demo"})).await;
    browser.press(&shop, "/password").await.ended(0);
    browser.for_people().get(&shop, "/devices").await;
    // An old cookie, a wrong one, a malformed one, and two at once.
    for cookie in [browser.seen[0].clone(), "A".repeat(64), "none".to_owned()] {
        let mut thief = Browser::new();
        thief.cookie = Some(cookie);
        thief.get(&shop, "/me").await.refuses(401);
    }
    let bob = Browser::logged_in(&shop, "bob").await;
    let mut two = browser.clone();
    let cookies = [&browser, &bob].map(|browser| browser.cookie.clone().unwrap());
    two.cookie = Some(cookies.join("; id="));
    two.get(&shop, "/me").await.refuses(401);
    // A failing database causes many lines.
    db.run("alter table sessile.sessions rename to away", "alter table sessions rename to away")
        .await;
    browser.get(&shop, "/me").await.refuses(503);
    browser.press(&shop, "/password").await.refuses(503);
    db.run("alter table sessile.away rename to sessions", "alter table away rename to sessions")
        .await;
    browser.press(&shop, "/logout-everywhere").await.ended(1);
    shop.has_logged("sessions revoked", 2).await;

    assert_eq!(browser.seen.len(), 4);
    let log = shop.log();
    // This is the right log, and it is complete.
    assert!(log.contains(me["session_id"].as_str().unwrap()));
    assert!(log.contains("DEBUG") && log.contains("sqlx::query"));
    for cookie in browser.seen.iter().chain(&bob.seen) {
        for secret in spellings(cookie) {
            assert!(!log.contains(&secret), "the log holds {secret}");
        }
    }
}

/// All spellings of the bytes that must not appear.
fn spellings(cookie: &str) -> Vec<String> {
    let token = URL_SAFE_NO_PAD.decode(cookie).unwrap();
    let secret = &token[16..];
    let hash = Sha256::digest(secret);
    // The last two thirds of the cookie are the secret.
    let mut spellings = vec![cookie[22..].to_owned()];
    for bytes in [secret, hash.as_slice()] {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        spellings.push(hex.to_uppercase());
        spellings.push(hex);
        spellings.push(URL_SAFE_NO_PAD.encode(bytes));
        spellings.push(STANDARD_NO_PAD.encode(bytes));
        // The bytes in the form of `Debug`, without the brackets, which differ, and on one line.
        let list = format!("{bytes:?}");
        spellings.push(list[1..list.len() - 1].to_owned());
    }
    spellings
}
