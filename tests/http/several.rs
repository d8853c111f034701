//! Several cookies of the session's name in one request: one live session is the session, two live sessions
//! are none.

use axum::{Router, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sessile::{Session, SessionCookie, http::SameSite};

use crate::{
    site::{Library, SetCookie, Site, cookies, routes},
    support::{
        Db, cases,
        tap::Verb::{Create, End, Load, LogIn, Save},
    },
    wire::Response,
};

cases! {
    the_one_live_session_of_several_is_found_by_one_statement,
    several_secrets_of_one_session_are_one,
    a_superseded_one_beside_a_live_one_does_not_count,
    two_live_ones_are_nobody,
    more_than_four_are_nobody,
    a_log_out_ends_every_live_one,
    a_log_in_and_a_log_out_expire_the_other_variants_first,
    a_browser_whose_cookie_became_another_ones_gets_well,
}

fn app() -> Router {
    let again = |session: Session| async move { session.reauthenticate().await };
    routes().route("/again", get(again))
}

/// Cookies of sessions that have ended.
async fn stale(site: &Site, count: usize) -> Vec<String> {
    let mut tokens = Vec::new();
    for _ in 0..count {
        tokens.push(site.user("gone").await.token().to_owned());
    }
    site.sessions.revoke_user("gone").await.unwrap();
    site.spy.take();
    tokens
}

/// In every order, in one header and in separate headers.
fn spread(values: &[&str]) -> Vec<Vec<Vec<u8>>> {
    let mut orders: Vec<Vec<&str>> = vec![vec![]];
    for value in values {
        let mut longer = Vec::new();
        for order in orders {
            for at in 0..=order.len() {
                let mut order = order.clone();
                order.insert(at, value);
                longer.push(order);
            }
        }
        orders = longer;
    }
    let in_one = orders.iter().map(|order| vec![cookies(order)]);
    let in_many = orders.iter().map(|order| order.iter().map(|one| cookies(&[one])).collect());
    in_one.chain(in_many).collect()
}

async fn the_one_live_session_of_several_is_found_by_one_statement(db: Db) {
    let site = Site::serve(&db, app()).await;
    let guest = site.guest().await;
    let good = guest.token();
    let stale = stale(&site, 3).await;
    let [one, two, three] = &stale[..] else { unreachable!() };
    let mut unknown = URL_SAFE_NO_PAD.decode(good).unwrap();
    unknown[15] ^= 1;
    let unknown = &URL_SAFE_NO_PAD.encode(unknown);
    let mut forged = URL_SAFE_NO_PAD.decode(good).unwrap();
    forged[47] ^= 1;
    let forged = &URL_SAFE_NO_PAD.encode(forged);
    let sets: &[&[&str]] = &[
        &[good, one],
        &[good, good],
        &[good, unknown],
        &[good, forged],
        &[good, one, two],
        &[good, one, one],
        &[good, "x", one],
        &[good, "", "malformed"],
        &[good, one, two, three],
        &[good, forged, unknown, one],
        &[good, good, one, one],
    ];
    for set in sets {
        for lines in spread(set) {
            let response = site.get("/get/a", &lines).await;
            assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("1", true));
            assert_eq!(site.spy.take(), [Load]);
        }
    }
    // Four rows to look up, with further cookies.
    let lines = [cookies(&[good, one, two, three, good, one, "x", "y", "z", three])];
    assert_eq!(site.get("/", &lines).await.body, "a guest");
    assert_eq!(site.spy.take(), [Load]);
    // The one live session works fully.
    let lines = [cookies(&[one, good])];
    let response = site.get("/put/a/2", &lines).await;
    assert_eq!((response.status, response.sets_no_cookie()), (200, true));
    assert_eq!(site.spy.take(), [Load, Save]);
    // None of them is live.
    for lines in spread(&[one, unknown, forged]) {
        let response = site.get("/", &lines).await;
        assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("nobody", true));
        assert_eq!(site.spy.take(), [Load]);
    }
}

async fn several_secrets_of_one_session_are_one(db: Db) {
    let site = Site::serve(&db, app()).await;
    let mut ada = site.user("ada").await;
    let oldest = ada.token().to_owned();
    ada.get("/again").await;
    let superseded = ada.token().to_owned();
    ada.get("/again").await;
    let newest = ada.token().to_owned();
    site.spy.take();
    for set in [&[&superseded, &newest][..], &[&oldest, &newest], &[&oldest, &superseded, &newest]]
    {
        let set: Vec<_> = set.iter().map(|token| token.as_str()).collect();
        for lines in spread(&set) {
            assert_eq!(site.get("/", &lines).await.body, "ada");
            assert_eq!(site.spy.take(), [Load]);
        }
    }
    // Without the newest secret the request is superseded, even with other cookies.
    for lines in spread(&[&oldest, &superseded]) {
        let response = site.get("/put/a/1", &lines).await;
        assert_eq!((response.status, response.sets_no_cookie()), (409, true));
        assert_eq!(site.spy.take(), [Load]);
    }

    // A log-in that was sent twice gives out two secrets, and both are valid.
    let guest = site.guest().await;
    let (mut first, mut second) = (guest.clone(), guest.clone());
    first.get("/log-in/bob").await;
    second.get("/log-in/bob").await;
    assert_ne!(first.token(), second.token());
    site.spy.take();
    for lines in spread(&[first.token(), second.token()]) {
        assert_eq!(site.get("/", &lines).await.body, "bob");
        assert_eq!(site.spy.take(), [Load]);
    }
}

async fn a_superseded_one_beside_a_live_one_does_not_count(db: Db) {
    let site = Site::serve(&db, app()).await;
    let mut ada = site.user("ada").await;
    let superseded = ada.token().to_owned();
    ada.get("/again").await;
    let bob = site.user("bob").await;
    for lines in spread(&[&superseded, bob.token()]) {
        assert_eq!(site.get("/", &lines).await.body, "bob");
        assert_eq!(site.get("/put/a/bobs", &lines).await.status, 200);
    }
    assert_eq!(site.get("/log-out", &[cookies(&[&superseded, bob.token()])]).await.status, 200);
    assert_eq!(site.sessions.count_of_user("bob").await.unwrap(), 0);
    assert_eq!(ada.get("/").await.body, "ada");
    assert_eq!(ada.get("/get/a").await.body, "nothing");
}

async fn two_live_ones_are_nobody(db: Db) {
    let site = Site::serve(&db, app()).await;
    let (guest, mut ada) = (site.guest().await, site.user("ada").await);
    let stale = stale(&site, 1).await;
    for set in [&[guest.token(), ada.token()][..], &[guest.token(), ada.token(), &stale[0]]] {
        for lines in spread(set) {
            let response = site.get("/", &lines).await;
            assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("nobody", true));
            assert_eq!(site.spy.take(), [Load]);
        }
    }
    // A write goes to neither of the two sessions.
    let response = site.get("/put/a/2", &[cookies(&[guest.token(), ada.token()])]).await;
    assert_eq!(response.status, 200);
    assert_eq!(site.spy.take(), [Load, Create]);
    let new = response.set_cookies().pop().unwrap().value;
    assert_eq!(site.get("/get/a", &[cookies(&[&new])]).await.body, "2");
    assert_eq!(guest.clone().get("/get/a").await.body, "1");
    assert_eq!(ada.get("/get/a").await.body, "nothing");
}

async fn more_than_four_are_nobody(db: Db) {
    let site = Site::serve(&db, app()).await;
    let guest = site.guest().await;
    let stale = stale(&site, 5).await;
    let mut values: Vec<_> = stale[..4].iter().map(String::as_str).collect();
    for at in 0..=4 {
        values.insert(at, guest.token());
        let in_many: Vec<_> = values.iter().map(|value| cookies(&[value])).collect();
        for lines in [vec![cookies(&values)], in_many] {
            let response = site.get("/", &lines).await;
            assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("nobody", true));
            assert!(site.spy.take().is_empty());
        }
        values.remove(at);
    }
    // A log-out does not look them up either, but it removes them from the browser.
    values.push(guest.token());
    let response = site.get("/log-out", &[cookies(&values)]).await;
    assert!(response.set_cookies().iter().all(SetCookie::is_removal));
    assert!(site.spy.take().is_empty());
    assert_eq!(guest.clone().get("/get/a").await.body, "1");
    // A log-in creates a new session.
    site.spy.take();
    let response = site.get("/log-in/ada", &[cookies(&values)]).await;
    assert_eq!(site.spy.take(), [LogIn]);
    let new = response.set_cookies().pop().unwrap().value;
    assert_eq!(site.get("/", &[cookies(&[&new])]).await.body, "ada");
}

async fn a_log_out_ends_every_live_one(db: Db) {
    let site = Site::serve(&db, app()).await;
    let stale = stale(&site, 1).await;
    let mut elsewhere = site.user("ada").await;
    let live = [site.user("ada").await, site.user("bob").await, site.guest().await];
    let [ada, bob, guest] = &live;
    let rows = db.rows().await;
    let lines = [cookies(&[ada.token(), &stale[0], bob.token()]), cookies(&[guest.token()])];
    let response = site.get("/log-out", &lines).await;
    assert_eq!(response.body, "logged out");
    assert!(response.set_cookies().iter().all(SetCookie::is_removal));
    assert_eq!(site.spy.take(), [Load, End, End, End]);
    assert_eq!(db.rows().await, rows - 3);
    for visitor in live {
        assert_eq!(visitor.clone().get("/").await.body, "nobody");
    }
    assert_eq!(elsewhere.get("/").await.body, "ada");

    // If a revocation has ended one of the sessions before, the log-out still ends the other one.
    let (ada, bob) = (site.user("ada").await, site.user("bob").await);
    site.sessions.revoke_user("bob").await.unwrap();
    for lines in spread(&[bob.token(), ada.token()]) {
        assert_eq!(site.get("/log-out", &lines).await.status, 200);
        assert_eq!(ada.clone().get("/").await.body, "nobody");
    }
}

/// The cookies that the answer removes and sets, in order: with `Domain` and `Partitioned` or without.
fn told(response: &Response) -> Vec<(&'static str, bool, bool)> {
    let tell = |cookie: SetCookie| {
        let what = if cookie.is_removal() { "removes" } else { "sets" };
        let partitioned = cookie.attributes.contains("Partitioned");
        (what, cookie.attribute("Domain").is_some(), partitioned)
    };
    response.set_cookies().into_iter().map(tell).collect()
}

async fn a_log_in_and_a_log_out_expire_the_other_variants_first(db: Db) {
    let build = |builder: sessile::http::SessionCookieBuilder| builder.build().unwrap();
    let builder = || SessionCookie::builder().name("__Secure-s");
    type Variants = Vec<(bool, bool)>;
    // The other variants of each cookie, and the cookie itself.
    let cookies: [(SessionCookie, Variants, (bool, bool)); 5] = [
        (build(builder()), vec![(false, true)], (false, false)),
        (
            build(builder().same_site(SameSite::None).partitioned()),
            vec![(false, false)],
            (false, true),
        ),
        (
            build(builder().domain("example.org")),
            vec![(true, true), (false, false), (false, true)],
            (true, false),
        ),
        (
            build(builder().domain("example.org").same_site(SameSite::None).partitioned()),
            vec![(true, false), (false, false), (false, true)],
            (true, true),
        ),
        (SessionCookie::insecure_for_development().named("s").unwrap(), vec![], (false, false)),
    ];
    for (cookie, variants, itself) in cookies {
        let name = if variants.is_empty() { "s" } else { "__Secure-s" };
        let library = Library::over(&db);
        let site = library.serve_as_is(app().layer(library.layer().cookie(cookie))).await;
        let expected = |what| {
            let removed = variants.iter().map(|&(domain, part)| ("removes", domain, part));
            removed.chain([(what, itself.0, itself.1)]).collect::<Vec<_>>()
        };
        let line = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| format!("{name}={value}")).collect();
            [format!("Cookie: {}", pairs.join("; ")).into_bytes()]
        };
        let guest = site.guest().await;
        // With one cookie, the response has no removals.
        for path in ["/", "/get/a", "/put/a/2"] {
            assert!(site.get(path, &line(&[guest.token()])).await.sets_no_cookie(), "{path}");
        }
        let response = site.get("/log-in/ada", &line(&[guest.token()])).await;
        assert_eq!(told(&response), [("sets", itself.0, itself.1)]);
        let response = site.get("/log-out", &line(&[&response.set_cookie().value])).await;
        assert_eq!(told(&response), [("removes", itself.0, itself.1)]);

        // With several cookies: equal, dead or malformed.
        let dead = &stale(&site, 1).await[0];
        for beside in [None, Some(dead.as_str()), Some("x"), Some("")] {
            let guest = site.guest().await;
            let lines = line(&[beside.unwrap_or(guest.token()), guest.token()]);
            for path in ["/", "/get/a", "/put/a/2", "/untouched", "/no-such-route"] {
                assert!(site.get(path, &lines).await.sets_no_cookie(), "{path}");
            }
            let response = site.get("/log-in/bob", &lines).await;
            assert_eq!(told(&response), expected("sets"), "{name}");
            assert_eq!(response.all("cache-control"), ["no-store"]);
            let new = response.set_cookies().pop().unwrap().value;
            let response = site.get("/log-out", &line(&[beside.unwrap_or(&new), &new])).await;
            assert_eq!(told(&response), expected("removes"), "{name}");
        }
        // All cookies have the same name.
        let response = site.get("/log-out", &line(&["x", "y"])).await;
        assert_eq!(told(&response), expected("removes"));
        assert!(response.set_cookies().iter().all(|cookie| cookie.name == name));
    }
}

/// If a deployment turns on `Partitioned` or a `Domain`, the browser gets a second cookie of the same name.
async fn a_browser_whose_cookie_became_another_ones_gets_well(db: Db) {
    let before = || SessionCookie::builder().name("__Secure-s").same_site(SameSite::None);
    for after in [before().partitioned(), before().domain("example.org")] {
        let library = Library::over(&db);
        let layer = |cookie| app().layer(library.layer().cookie(cookie));
        let old = library.serve_as_is(layer(before().build().unwrap())).await;
        let new = library.serve_as_is(layer(after.build().unwrap())).await;
        let mut browser = old.user("ada").await;
        // The deployment ends no session.
        assert_eq!(browser.at(&new).get("/").await.body, "ada");
        // The log-in sets a second cookie. The request brought only one, so there was nothing to remove.
        assert_eq!(browser.get("/log-in/ada").await.set_cookies().len(), 1);
        assert_eq!(browser.cookies_of("__Secure-s"), 2);
        for _ in 0..2 {
            assert_eq!(browser.get("/").await.body, "ada");
            assert_eq!(browser.get("/put/a/1").await.status, 200);
        }
        // The next log-in leaves one cookie.
        browser.get("/log-in/ada").await;
        assert_eq!(browser.cookies_of("__Secure-s"), 1);
        assert_eq!(browser.get("/").await.body, "ada");

        // A log-out leaves no cookie, and the user is logged out.
        let mut browser = old.user("eve").await;
        browser.at(&new).get("/log-in/eve").await;
        assert_eq!(browser.cookies_of("__Secure-s"), 2);
        browser.get("/log-out").await;
        assert!(!browser.has_cookie());
        assert_eq!(browser.get("/").await.body, "nobody");
        assert_eq!(library.sessions.count_of_user("eve").await.unwrap(), 0);
    }
}
