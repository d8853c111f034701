//! The shop, as its visitors use it.

use crate::{
    chromium::{Chromium, Tab},
    program::Shop,
    support::{Db, cases},
};

cases! {
    logged_out_everywhere_the_other_device_is_out,
    back_after_a_log_out_shows_nothing,
    theme_and_cart_are_in_every_tab,
    a_restart_of_the_browser_keeps_what_it_may,
    a_log_in_needs_no_mouse,
}

/// Begins at any page of the shop.
pub(crate) async fn log_in(tab: &Tab, shop: &str, remember: bool) {
    tab.go(&format!("{shop}/login")).await;
    tab.fill("#user", "ada").await;
    tab.fill("#password", "demo").await;
    if remember {
        tab.check("[name=remember]").await;
    }
    tab.follow("Log in").await;
    tab.has("ada").await;
}

const DEVICES: &str = "document.querySelectorAll('.device').length";
const IS_LOGGED_OUT: &str = "document.querySelector('.who').innerText.trim() == 'Log in'";
const IN_CART: &str =
    "Number(document.querySelector('.to-cart .count')?.innerText.match(/\\d+/)[0] ?? 0)";

async fn logged_out_everywhere_the_other_device_is_out(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let chromium = Chromium::start().await;
    let (here, there) = (chromium.private_window().await, chromium.private_window().await);
    let (one, two) = (here.open(&shop.url).await, there.open(&shop.url).await);
    log_in(&one, &shop.url, false).await;
    log_in(&two, &shop.url, false).await;
    let devices = format!("{}/devices", shop.url);
    for tab in [&one, &two] {
        tab.go(&devices).await;
        assert_eq!(tab.read::<u32>(DEVICES).await, 2, "each sees the other");
        assert_eq!(tab.read::<u32>("document.querySelectorAll('.device.current').length").await, 1);
    }

    one.follow("Log out everywhere").await;
    one.is(IS_LOGGED_OUT).await;
    // The page that the other device shows is old. Whatever it does next, it is out.
    two.follow("Log out all others").await;
    two.is(IS_LOGGED_OUT).await;
    two.go(&devices).await;
    two.is(IS_LOGGED_OUT).await;
    assert_eq!(two.read::<u32>(DEVICES).await, 0);
    assert_eq!(here.cookie("id").await.map(|cookie| cookie.value), None, "it was removed");
    assert_eq!(db.rows().await, 0);
    chromium.close().await;
}

async fn back_after_a_log_out_shows_nothing(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let chromium = Chromium::start().await;
    let tab = chromium.window().open(&shop.url).await;
    log_in(&tab, &shop.url, false).await;
    tab.go(&format!("{}/devices", shop.url)).await;
    tab.follow("Account").await;
    tab.has("ada").await;
    tab.follow("Log out").await;
    tab.is(IS_LOGGED_OUT).await;
    for _ in 0..2 {
        tab.back().await;
        tab.is(IS_LOGGED_OUT).await;
        let text = tab.text().await;
        assert!(!text.contains("ada"), "{}: {text}", tab.url().await);
    }
    chromium.close().await;
}

async fn theme_and_cart_are_in_every_tab(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let chromium = Chromium::start().await;
    let window = chromium.window();
    let (one, two) = (window.open(&shop.url).await, window.open(&shop.url).await);
    one.follow("Add Green tea").await;
    assert_eq!(one.read::<u32>(IN_CART).await, 1);
    two.reload().await;
    assert_eq!(two.read::<u32>(IN_CART).await, 1, "the same cart");

    // Each tab shows an old page, and adds to the same cart.
    one.follow("Add Teapot").await;
    two.go(&format!("{}/preferences", shop.url)).await;
    two.check("[name=value][value=dark]").await;
    two.follow("Save").await;
    one.reload().await;
    assert_eq!(one.read::<String>("document.documentElement.dataset.theme").await, "dark");
    assert_eq!(one.read::<u32>(IN_CART).await, 2);

    log_in(&one, &shop.url, false).await;
    two.go(&format!("{}/cart", shop.url)).await;
    two.has("Green tea").await;
    two.has("Teapot").await;
    assert_eq!(two.read::<String>("document.querySelector('.who').innerText").await.trim(), "ada");
    chromium.close().await;
}

async fn a_restart_of_the_browser_keeps_what_it_may(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let profile = tempfile::tempdir().unwrap();

    // A visitor's cart stays.
    let chromium = Chromium::start_in(profile.path()).await;
    let tab = chromium.window().open(&shop.url).await;
    tab.follow("Add Green tea").await;
    chromium.close().await;
    let chromium = Chromium::start_in(profile.path()).await;
    let tab = chromium.window().open(&shop.url).await;
    assert_eq!(tab.read::<u32>(IN_CART).await, 1);

    // A log-in ends with the browser, unless the person wants to stay logged in.
    log_in(&tab, &shop.url, false).await;
    assert_eq!(tab.read::<u32>(IN_CART).await, 1);
    chromium.close().await;
    let chromium = Chromium::start_in(profile.path()).await;
    let tab = chromium.window().open(&shop.url).await;
    tab.is(IS_LOGGED_OUT).await;
    log_in(&tab, &shop.url, true).await;
    tab.follow("Add Teapot").await;
    chromium.close().await;
    let chromium = Chromium::start_in(profile.path()).await;
    let tab = chromium.window().open(&shop.url).await;
    tab.has("ada").await;
    assert_eq!(tab.read::<u32>(IN_CART).await, 1);
    chromium.close().await;
}

async fn a_log_in_needs_no_mouse(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let chromium = Chromium::start().await;
    let tab = chromium.window().open(&shop.url).await;
    let focused = "document.activeElement.innerText.trim()";
    tab.press("Tab").await;
    assert_eq!(tab.read::<String>(focused).await, "To the content");
    for _ in 0..10 {
        if tab.read::<String>(focused).await == "Log in" {
            break;
        }
        tab.press("Tab").await;
    }
    assert_eq!(
        tab.read::<String>("getComputedStyle(document.activeElement).outlineStyle").await,
        "solid"
    );
    tab.press_and_leave("Enter").await;
    tab.is("location.pathname == '/login'").await;
    tab.fill("#user", "ada").await;
    tab.press("Tab").await;
    tab.fill("#password", "demo").await;
    tab.press_and_leave("Enter").await;
    tab.has("ada").await;
    chromium.close().await;
}
