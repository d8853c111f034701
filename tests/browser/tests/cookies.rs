//! The session's cookie, as the browser keeps it.

use chromiumoxide::cdp::browser_protocol::network::CookieSameSite;

use crate::{chromium::Chromium, program::Shop, shop::log_in, support::Db, tls::Proxy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_and_other_sites_do_not_get_it() {
    let db = Db::sqlite().await;
    let shop = Shop::start(&db, &[]).await;
    let chromium = Chromium::start().await;
    let window = chromium.window();
    let tab = window.open(&shop.url).await;
    assert!(window.cookies().await.is_empty(), "a visitor who only looks has none");

    log_in(&tab, &shop.url, false).await;
    let cookie = window.cookie("id").await.unwrap();
    assert!(cookie.http_only && !cookie.secure && cookie.session, "{cookie:?}");
    assert_eq!(cookie.same_site, Some(CookieSameSite::Lax));
    assert_eq!((&*cookie.path, &*cookie.domain), ("/", "127.0.0.1"));
    assert_eq!(tab.read::<String>("document.cookie").await, "");

    log_in(&tab, &shop.url, true).await;
    let remembered = window.cookie("id").await.unwrap();
    assert!(!remembered.session && remembered.value != cookie.value, "{remembered:?}");

    // A form on another site.
    let form = format!(
        "data:text/html,<form method=post action='{}/logout-everywhere'><button>Win</button></form>",
        shop.url
    );
    let other = window.open(&form).await;
    other.follow("Win").await;
    other.has("another site").await;
    tab.reload().await;
    tab.has("ada").await;
    chromium.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_https_it_has_the_strictest_name() {
    let db = Db::sqlite().await;
    let shop = Shop::start(&db, &["--https"]).await;
    let server = shop.url.strip_prefix("http://").unwrap();
    let proxy = Proxy::before(server).await;
    let chromium = Chromium::start_with(&[
        ("host-resolver-rules", "MAP *.test 127.0.0.1"),
        ("ignore-certificate-errors-spki-list", &proxy.key),
    ])
    .await;
    let window = chromium.window();
    let url = format!("https://shop.test:{}", proxy.port);
    let tab = window.open(&url).await;
    assert!(tab.read::<bool>("isSecureContext").await);
    log_in(&tab, &url, false).await;
    let cookie = window.cookie("__Host-id").await.unwrap();
    assert!(cookie.http_only && cookie.secure, "{cookie:?}");
    assert_eq!(cookie.same_site, Some(CookieSameSite::Lax));
    assert_eq!((&*cookie.path, &*cookie.domain), ("/", "shop.test"));
    assert_eq!(cookie.partition_key, None);
    assert_eq!(tab.read::<String>("document.cookie").await, "");

    // A sibling cannot plant one, and neither can a script.
    let plant =
        "(document.cookie = '__Host-id=x; Secure; Path=/; Domain=shop.test', document.cookie)";
    assert_eq!(tab.read::<String>(plant).await, "");
    assert_eq!(window.cookie("__Host-id").await.unwrap().value, cookie.value);

    // Over plain HTTP the browser keeps no such cookie, so nobody is logged in.
    let plain = format!("http://plain.test:{}", server.rsplit_once(':').unwrap().1);
    let insecure = window.open(&format!("{plain}/login")).await;
    insecure.fill("#user", "ada").await;
    insecure.fill("#password", "demo").await;
    insecure.follow("Log in").await;
    insecure.is("document.querySelector('.who').innerText.trim() == 'Log in'").await;
    assert_eq!(window.cookies().await.len(), 1);
    chromium.close().await;
}
