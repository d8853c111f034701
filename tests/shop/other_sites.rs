//! Requests that other sites make a visitor's browser send.

use reqwest::Method;
use serde_json::json;

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! { other_sites_change_nothing, every_answer_is_hardened }

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
