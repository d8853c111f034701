//! No line of the log gives access to a session, and no page and no header except `Set-Cookie`.

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

cases! { the_log_holds_no_credential, no_answer_holds_the_token_outside_set_cookie }

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

/// Every route, as a page and as JSON, with a good cookie, an old one, and one that is not the browser's own.
async fn no_answer_holds_the_token_outside_set_cookie(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    let mut answers = Vec::new();
    let tea = json!({"item": "tea", "quantity": 1});
    answers.push(browser.post(&shop, "/cart", tea.clone()).await);
    answers.push(browser.log_in(&shop, "ada").await);
    let other = Browser::logged_in(&shop, "ada").await;
    let device = other.clone().get(&shop, "/me").await.json()["session_id"].clone();
    let device = device.as_str().unwrap();
    let mut old = browser.clone();
    old.cookie = Some(browser.seen[0].clone());
    let mut bob = Browser::logged_in(&shop, "bob").await;
    let mut pages = vec!["/nothing".to_owned(), "/healthz".to_owned(), "/style.css".to_owned()];
    for path in [
        "/",
        "/cart",
        "/cart?ordered=1",
        "/login",
        "/login?next=/me",
        "/me",
        "/devices",
        "/devices?ended=1",
        "/preferences",
        "/password",
        "/confirm",
        "/logout",
        "/order",
    ] {
        pages.push(path.to_owned());
    }
    for visitor in [browser.clone(), old, Browser::new()] {
        for mut visitor in [visitor.clone(), visitor.for_people()] {
            for path in &pages {
                answers.push(visitor.get(&shop, path).await);
            }
        }
    }
    let steps = [
        ("/cart", tea),
        ("/cart/tea", json!({"quantity": 2})),
        ("/order", json!({})),
        ("/preferences/theme", json!({"value": "dark"})),
        ("/confirm", json!({"password": "wrong"})),
        ("/confirm", json!({"password": "demo"})),
        ("/password", json!({})),
        ("/login", json!({"user": "ada", "password": "wrong"})),
        ("/login", json!({"user": "ada", "password": "demo"})),
        (&format!("/devices/{device}/log-out"), json!({})),
        ("/logout-others", json!({})),
        ("/logout", json!({})),
    ];
    let mut person = bob.for_people();
    for (path, body) in steps {
        answers.push(browser.post(&shop, path, body.clone()).await);
        let fields: Vec<(String, String)> = body
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string().trim_matches('"').to_owned()))
            .collect();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        answers.push(person.form(&shop, path, &fields).await);
    }
    answers.push(bob.press(&shop, "/logout-everywhere").await);

    let cookies: Vec<_> =
        [&browser, &person, &bob, &other].into_iter().flat_map(|one| one.seen.clone()).collect();
    let secrets: Vec<_> = cookies.iter().flat_map(|cookie| spellings(cookie)).collect();
    assert!(cookies.len() >= 9 && answers.len() > 100, "{} {}", cookies.len(), answers.len());
    let mut set = 0;
    for answer in &answers {
        let mut shown = answer.text.clone();
        for (name, value) in &answer.headers {
            match name.as_str() {
                "set-cookie" => set += 1,
                name => shown += &format!("\n{name}: {}", value.to_str().unwrap()),
            }
        }
        for secret in &secrets {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
    assert!(set >= 9, "{set}");
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
