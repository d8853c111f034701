//! The same in a browser: pages, forms, redirects.

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! { a_visit, a_form_goes_on_only_within_the_shop, errors_are_pages, the_style_is_kept_by_browsers }

async fn a_visit(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new().for_people();
    let page = browser.get(&shop, "/").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text.contains("Green tea") && page.text.contains("Log in"));
    assert!(!page.text.contains("<script") && !page.text.contains("style="));
    assert_eq!((page.set_cookie(), db.rows().await), (None, 0));

    let answer = browser.form(&shop, "/cart", &[("item", "tea"), ("quantity", "2")]).await;
    assert_eq!((answer.status, answer.location()), (303, "/#tea"));
    assert!(browser.get(&shop, "/").await.text.contains("2 in your cart"));
    let cart = browser.get(&shop, "/cart").await.text;
    assert!(
        cart.contains("Green tea") && cart.contains("€17.00") && cart.contains("Log in to order")
    );

    let name = "<b>Ada</b> & \"Co\"";
    let wrong = [("user", name), ("password", "x"), ("next", "/cart")];
    let page = browser.form(&shop, "/login", &wrong).await;
    assert_eq!(page.status, 401);
    assert!(page.text.contains("&lt;b&gt;Ada&lt;/b&gt; &amp; &quot;Co&quot;"), "{}", page.text);
    assert!(!page.text.contains("<b>Ada"));
    let right = [("user", name), ("password", "demo"), ("next", "/cart")];
    let answer = browser.form(&shop, "/login", &right).await;
    assert_eq!((answer.status, answer.location()), (303, "/cart"));
    for path in ["/", "/cart", "/me", "/devices", "/preferences", "/password", "/confirm"] {
        let page = browser.get(&shop, path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(
            page.text.contains("&lt;b&gt;Ada&lt;/b&gt;") && !page.text.contains("<b>Ada"),
            "{path}"
        );
    }

    let dark = [("value", "dark"), ("next", "/devices")];
    let answer = browser.form(&shop, "/preferences/theme", &dark).await;
    assert_eq!((answer.status, answer.location()), (303, "/devices"));
    assert!(browser.get(&shop, "/nowhere").await.text.contains(r#"data-theme="dark""#));

    let answer = browser.form(&shop, "/order", &[]).await;
    assert_eq!((answer.status, answer.location()), (303, "/cart?ordered=2"));
    assert!(browser.get(&shop, "/cart?ordered=2").await.text.contains("Thank you"));
    let answer = browser.press(&shop, "/password").await;
    assert_eq!((answer.status, answer.location()), (303, "/password?ended=0"));

    let mut other = Browser::new();
    other.log_in(&shop, name).await;
    let id = other.get(&shop, "/me").await.json()["session_id"].clone();
    let path = format!("/devices/{}/log-out", id.as_str().unwrap());
    let answer = browser.press(&shop, &path).await;
    assert_eq!((answer.status, answer.location()), (303, "/devices?ended=1"));
    assert_eq!(other.user(&shop).await, None);
    assert_eq!(browser.press(&shop, &path).await.status, 404);

    let answer = browser.press(&shop, "/logout-everywhere").await;
    assert_eq!((answer.status, answer.location()), (303, "/"));
    assert_eq!(answer.header("x-sessions-ended"), Some("1"));
    assert_eq!(browser.cookie, None);
}

async fn a_form_goes_on_only_within_the_shop(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new().for_people();
    for next in
        ["https://evil.example", "//evil.example", "/\\evil.example", "", "/\n/evil.example"]
    {
        let form = [("user", "ada"), ("password", "demo"), ("next", next)];
        let answer = browser.form(&shop, "/login", &form).await;
        assert_eq!((answer.status, answer.location()), (303, "/"), "{next:?}");
    }
    let page = browser.get(&shop, "/login?next=%2F%2Fevil.example").await;
    assert!(!page.text.contains("evil"));
}

async fn errors_are_pages(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new().for_people();
    let answer = browser.get(&shop, "/devices").await;
    assert_eq!((answer.status, answer.location()), (303, "/login?next=/devices"));
    let answer = browser.press(&shop, "/logout-others").await;
    assert_eq!((answer.status, answer.location()), (303, "/login?next=/"));
    for (path, fields, status) in [
        ("/nothing", vec![], 404),
        ("/cart", vec![("item", "yacht"), ("quantity", "1")], 422),
        ("/cart", vec![("item", "tea"), ("quantity", "many")], 422),
        ("/login", vec![("user", " "), ("password", "demo")], 422),
    ] {
        let page = browser.form(&shop, path, &fields).await;
        assert_eq!(page.status, status);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(page.text.contains("<h1>") && page.text.contains("Holdfast"), "{}", page.text);
    }
}

async fn the_style_is_kept_by_browsers(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new().for_people();
    let page = browser.get(&shop, "/").await.text;
    let (_, rest) = page.split_once(r#"href="/style.css"#).unwrap();
    let path = format!("/style.css{}", rest.split_once('"').unwrap().0);
    let style = browser.get(&shop, &path).await;
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(style.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let bare = browser.get(&shop, "/style.css").await;
    assert_eq!(bare.header("cache-control"), Some("no-cache"));
    let icon = browser.get(&shop, "/icon.svg").await;
    assert_eq!(icon.header("content-type"), Some("image/svg+xml"));
}
