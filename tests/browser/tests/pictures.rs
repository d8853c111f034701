//! Pictures of every page in `target/browser`, for a person who looks at them. The test itself only checks what a
//! program can see.

use crate::{
    chromium::{Chromium, Screen, Tab},
    program::Shop,
    shop::log_in,
    support::Db,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_every_screen() {
    let db = Db::sqlite().await;
    let shop = Shop::start(&db, &[]).await;
    let chromium = Chromium::start().await;
    let (guest, user) = (chromium.private_window().await, chromium.private_window().await);
    let other = chromium.window().open(&shop.url).await;
    log_in(&other, &shop.url, false).await;
    let guest = guest.open(&shop.url).await;
    let user = user.open(&shop.url).await;
    log_in(&user, &shop.url, false).await;
    for item in ["Green tea", "Heather honey"] {
        user.follow(&format!("Add {item}")).await;
    }
    let pages = [
        (&guest, "/login", "log-in"),
        (&guest, "/cart", "empty-cart"),
        (&guest, "/nothing", "not-found"),
        (&user, "/", "shop"),
        (&user, "/cart", "cart"),
        (&user, "/me", "account"),
        (&user, "/devices", "devices"),
        (&user, "/preferences", "preferences"),
        (&user, "/password", "password"),
    ];
    for (tab, path, name) in pages {
        tab.go(&format!("{}{path}", shop.url)).await;
        on_every_screen(tab, path, &format!("shop-{name}")).await;
    }
    chromium.close().await;
}

/// Takes the page's picture on each screen in both colour schemes. No page is wider than its screen.
pub(crate) async fn on_every_screen(tab: &Tab, path: &str, name: &str) {
    let mut backgrounds = Vec::new();
    for (screen, width) in [(Screen::Phone, "phone"), (Screen::Desktop, "desktop")] {
        for scheme in ["light", "dark"] {
            tab.show_on(screen, scheme).await;
            let overflow =
                "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(tab.read::<i32>(overflow).await, 0, "{path} is wider than a {width}");
            let background = "getComputedStyle(document.body).backgroundColor";
            backgrounds.push(tab.read::<String>(background).await);
            tab.picture(&format!("{name}-{width}-{scheme}")).await;
        }
    }
    assert_ne!(backgrounds[0], backgrounds[1], "{path} is the same in the dark");
    assert_eq!(backgrounds[..2], backgrounds[2..]);
}
