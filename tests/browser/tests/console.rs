//! The console, as the person on call uses it beside the shop.

use sessile_console::{Database, Standalone};

use crate::{
    chromium::{Chromium, Tab},
    pictures::on_every_screen,
    program::Shop,
    shop::log_in,
    support::{Db, cases},
};

cases! {
    a_search_as_one_types_leads_to_the_user_and_logs_the_user_out,
    the_plots_have_the_last_log_ins,
}

/// A console on the shop's database. Returns its address, and the link that works once.
async fn start(db: &Db) -> (String, String) {
    let database = Database::open(&db.url).await.unwrap();
    let console = Standalone::new(database).name("grace").bind("127.0.0.1:0").await.unwrap();
    let (url, link) = (format!("http://{}", console.address()), console.link().to_owned());
    tokio::spawn(console.serve());
    (url, link)
}

/// Two devices of ada in the shop.
async fn two_devices(chromium: &Chromium, shop: &Shop) -> [Tab; 2] {
    let mut tabs = Vec::new();
    for _ in 0..2 {
        let tab = chromium.private_window().await.open(&shop.url).await;
        log_in(&tab, &shop.url, false).await;
        tabs.push(tab);
    }
    tabs.try_into().ok().unwrap()
}

const IS_LOGGED_OUT: &str = "document.querySelector('.who').innerText.trim() == 'Log in'";

/// Without a mouse.
async fn a_search_as_one_types_leads_to_the_user_and_logs_the_user_out(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let chromium = Chromium::start().await;
    let devices = two_devices(&chromium, &shop).await;
    let (url, link) = start(&db).await;
    let on_call = chromium.private_window().await;
    let console = on_call.open(&link).await;
    console.has("Active sessions").await;
    assert!(!console.url().await.contains("token"), "the address bar does not keep the link");
    let stranger = chromium.private_window().await.open(&link).await;
    stranger.has("works once").await;

    console.press("/").await;
    console.is("document.activeElement.name == 'q'").await;
    console.press("a").await;
    console.is("document.querySelectorAll('form.search [role=option]').length == 1").await;
    console.press("ArrowDown").await;
    console.is("document.querySelector('[role=option]').ariaSelected == 'true'").await;
    console.press_and_leave("Enter").await;
    console.has("2 active sessions").await;
    // "1 minute ago" in the place of the database's text.
    console.is("[...document.querySelectorAll('main time')].every(time => /ago|now|in /.test(time.innerText))").await;
    console.picture("console-flow-user").await;

    console.follow("End all 2 sessions").await;
    console.is("document.activeElement.name == 'reason'").await;
    for letter in "lost".chars() {
        console.press(&letter.to_string()).await;
    }
    console.picture("console-flow-confirm").await;
    console.press_and_leave("Enter").await;
    console.has("2 sessions").await;
    console.has("console:grace").await;
    assert_eq!(db.rows().await, 0);
    for device in devices {
        device.reload().await;
        device.is(IS_LOGGED_OUT).await;
    }
    console.go(&format!("{url}/events")).await;
    console.has("lost").await;
    chromium.close().await;
}

async fn the_plots_have_the_last_log_ins(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let chromium = Chromium::start().await;
    two_devices(&chromium, &shop).await;
    let (_, link) = start(&db).await;
    let console = chromium.window().open(&link).await;
    let plots = "[...document.querySelectorAll('.plots svg[role=img]')]";
    // Of refusals there is nothing to draw yet.
    console.wait(&format!("{plots}.length"), |plots: &u32| *plots == 3).await;
    console.is(&format!("{plots}.every(plot => plot.getBoundingClientRect().width > 250)")).await;
    let name = "document.getElementById(plot.getAttribute('aria-labelledby')).textContent";
    console.is(&format!("{plots}.every(plot => {name})")).await;
    // The numbers of a plot, for those who do not see it.
    console.is("document.querySelector('.plots details').textContent.includes('2')").await;
    console.is("[...document.querySelectorAll('.tile')].some(tile => /Log-ins this hour\\s+2/.test(tile.innerText))").await;
    // Another log-in appears without a reload.
    let third = chromium.private_window().await.open(&shop.url).await;
    log_in(&third, &shop.url, false).await;
    console.show().await;
    console.is("[...document.querySelectorAll('.tile')].some(tile => /Log-ins this hour\\s+3/.test(tile.innerText))").await;
    chromium.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_every_screen() {
    let db = Db::sqlite().await;
    let shop = Shop::start(&db, &[]).await;
    let chromium = Chromium::start().await;
    two_devices(&chromium, &shop).await;
    let (url, link) = start(&db).await;
    let tab = chromium.window().open(&link).await;
    tab.is("document.querySelectorAll('.plots svg').length >= 4").await;
    tab.go(&format!("{url}/user?id=ada")).await;
    let session: String = tab
        .read("document.querySelector('main a[href*=\"/session/\"]').getAttribute('href')")
        .await;
    let end: String =
        tab.read("document.querySelector('main a.danger').getAttribute('href')").await;
    for (path, name) in [
        ("/", "overview"),
        ("/user?id=ada", "user"),
        (&session, "session"),
        (&end, "end"),
        ("/events", "events"),
        ("/search?q=a", "search"),
        ("/end", "end-all"),
        ("/nothing", "not-found"),
    ] {
        tab.go(&format!("{url}{path}")).await;
        on_every_screen(&tab, path, &format!("console-{name}")).await;
    }
    chromium.close().await;
}
