//! Requests that other sites make a visitor's browser send.

use reqwest::Method;
use serde_json::json;

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! { other_sites_change_nothing, other_sites_log_nobody_in, every_answer_is_hardened }

async fn other_sites_change_nothing(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::logged_in(&shop, "ada").await;
    let here = shop.url.as_str();
    let (_, port) = here.rsplit_once(':').unwrap();
    let localhost = format!("http://localhost:{port}");
    let refused: [&[(&str, &str)]; 7] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        // If both headers are there, the newer one decides.
        &[("sec-fetch-site", "cross-site"), ("origin", here)],
        &[("origin", "null")],
        &[("origin", "https://evil.example")],
        &[("origin", "http://127.0.0.1")],
        &[("origin", &localhost)],
    ];
    let add = |browser: &Browser, headers: &[(&str, &str)]| {
        let request = browser.request(Method::POST, &shop, "/cart");
        let request = request.json(&json!({"item": "tea", "quantity": 1}));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    for headers in refused {
        let request = add(&browser, headers);
        browser.send(request).await.refuses(403);
        for (method, path) in [
            (Method::POST, "/logout-everywhere"),
            (Method::PUT, "/preferences/theme"),
            (Method::DELETE, "/devices/1"),
        ] {
            let mut request = browser.request(method, &shop, path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            browser.send(request).await.refuses(403);
        }
    }
    assert_eq!(browser.get(&shop, "/cart").await.json(), json!({"items": {}}));

    let passed: [&[(&str, &str)]; 5] = [
        &[],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
        &[("origin", here)],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
    ];
    for headers in passed {
        let request = add(&browser, headers);
        assert_eq!(browser.send(request).await.status, 200, "{headers:?}");
    }
    // A link on another site is no attack.
    let link = browser.request(Method::GET, &shop, "/me").header("sec-fetch-site", "cross-site");
    assert_eq!(browser.send(link).await.status, 200);
}

/// Otherwise a visitor would act in the attacker's account without noticing it (log-in CSRF).
async fn other_sites_log_nobody_in(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let credentials = [("user", "mallory"), ("password", "demo")];
    let query = "user=mallory&password=demo";
    let nobody = Browser::new().for_people();
    let mut guest = Browser::new();
    guest.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    let guest = guest.for_people();
    let ada = Browser::logged_in(&shop, "ada").await.for_people();
    for (visitor, user) in [(nobody, None), (guest, None), (ada, Some("ada"))] {
        let cookie = visitor.cookie.clone();
        let rows = db.rows().await;
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            // The browser may send its cookie, or leave it out because it is `SameSite=Lax`.
            let mut without = visitor.clone();
            without.cookie = None;
            for mut sender in [visitor.clone(), without] {
                let request = sender.request(Method::POST, &shop, "/login").form(&credentials);
                let answer = sender.send(request.header(name, value)).await;
                assert_eq!((answer.status, answer.set_cookie()), (403, None), "{name}: {value}");
                // A link and a picture can send a GET.
                let path = format!("/login?{query}");
                let request = sender.request(Method::GET, &shop, &path).header(name, value);
                assert_eq!(sender.send(request).await.set_cookie(), None, "{name}: {value}");
            }
        }
        assert_eq!((&visitor.cookie, db.rows().await), (&cookie, rows));
        let mut visitor = visitor.for_scripts();
        assert_eq!(visitor.user(&shop).await.as_deref(), user);
    }
}

async fn every_answer_is_hardened(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    for path in ["/", "/me", "/nothing", "/healthz", "/style.css", "/login"] {
        for mut browser in [browser.clone(), browser.for_people()] {
            let answer = browser.get(&shop, path).await;
            let policy = answer.header("content-security-policy").unwrap();
            for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
                assert!(policy.contains(directive), "{policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
        }
    }
    assert_eq!(browser.get(&shop, "/").await.header("cache-control"), Some("no-store"));
}
