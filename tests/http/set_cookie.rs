//! The headers for the browser, and for caches between.

use std::collections::BTreeSet;

use axum::{
    Router,
    response::{AppendHeaders, IntoResponse},
    routing::get,
};
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use sessile::{Error, Session, days, minutes};

use crate::{
    site::{Library, Site, routes},
    support::{Db, cases},
};

cases! {
    remember_me_gives_the_cookie_the_time_that_is_left,
    a_visitors_cookie_can_last_until_the_sessions_end,
}

fn attributes(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(ToString::to_string).collect()
}

/// The headers which tell that the response is for this visitor only.
fn headers_for_caches(response: &crate::wire::Response) -> (Vec<&str>, Vec<&str>) {
    (response.all("cache-control"), response.all("vary"))
}

#[tokio::test]
async fn the_cookie_is_for_this_host_alone_and_ends_with_the_browser() {
    let db = Db::sqlite().await;
    let site = Site::serve(&db, routes()).await;
    for path in ["/put/a/1", "/log-in/ada"] {
        let cookie = site.visitor().get(path).await.set_cookie();
        assert_eq!(cookie.name, "__Host-id");
        let expected = attributes(&["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
        assert_eq!(cookie.attributes, expected);
        let is_base64url = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        assert_eq!(cookie.value.len(), 64);
        assert!(cookie.value.chars().all(is_base64url), "{}", cookie.value);
    }
}

async fn remember_me_gives_the_cookie_the_time_that_is_left(db: Db) {
    let log_in = |session: Session| async move {
        session.log_in("ada").remember_me(true).await?;
        Ok::<_, Error>("remembered")
    };
    let renew = |session: Session| async move {
        session.renew().await?;
        Ok::<_, Error>("renewed")
    };
    let site =
        Site::serve(&db, routes().route("/remember", get(log_in)).route("/renew", get(renew)))
            .await;
    let max_age = |response: crate::wire::Response| {
        let cookie = response.set_cookie();
        assert_eq!(cookie.attributes.len(), 5, "{cookie:?}");
        let age = cookie.attributes.iter().find_map(|one| one.strip_prefix("Max-Age="));
        age.expect("a cookie with an age").parse::<u64>().unwrap()
    };
    let just_under = |days: u64| days * 86_400 - 15..=days * 86_400;

    let mut visitor = site.visitor();
    let age = max_age(visitor.get("/remember").await);
    assert!(just_under(30).contains(&age), "{age}");
    db.pass(days(10)).await;
    let age = max_age(visitor.get("/renew").await);
    assert!(just_under(20).contains(&age), "{age}");

    // A log-in without "remember me" makes the cookie end with the browser.
    let cookie = visitor.get("/log-in/ada").await.set_cookie();
    assert!(cookie.attributes.iter().all(|one| !one.starts_with("Max-Age")), "{cookie:?}");
}

async fn a_visitors_cookie_can_last_until_the_sessions_end(db: Db) {
    let renew = |session: Session| async move { session.renew().await };
    let remember = |session: Session| async move { session.log_in("ada").remember_me(true).await };
    let app = || routes().route("/renew", get(renew)).route("/remember", get(remember));
    let max_age = |response: crate::wire::Response| {
        let cookie = response.set_cookie();
        cookie.attribute("Max-Age").map(|age| age.parse::<u64>().unwrap())
    };
    let just_under = |age: Option<u64>, limit: std::time::Duration| {
        let limit = limit.as_secs();
        assert!(age.is_some_and(|age| (limit - 15..=limit).contains(&age)), "{age:?} of {limit}");
    };
    let library = Library::with(&db, |builder| {
        builder
            .persistent_anonymous_cookie(true)
            .idle_timeout(minutes(30))
            .anonymous_idle_timeout(days(7))
            .absolute_timeout(days(14))
    });
    let site = library.serve(app()).await;
    let mut visitor = site.visitor();
    just_under(max_age(visitor.get("/put/a/1").await), days(14));
    // A write does not set the cookie again, because its age already reaches to the session's end.
    assert!(visitor.get("/put/a/2").await.sets_no_cookie());
    db.pass(days(5)).await;
    just_under(max_age(visitor.get("/renew").await), days(9));
    // The option is about visitors. A user's cookie outlives the browser only if the log-in asks for that.
    let mut user = visitor.clone();
    assert_eq!(max_age(user.get("/log-in/ada").await), None);
    assert_eq!(max_age(user.get("/renew").await), None);
    just_under(max_age(user.get("/remember").await), days(30));
    user.get("/log-out").await;
    just_under(max_age(user.get("/put/a/1").await), days(14));

    // By default a visitor's cookie ends with the browser.
    let site = Site::serve(&db, app()).await;
    let mut visitor = site.visitor();
    assert_eq!(max_age(visitor.get("/put/a/1").await), None);
    assert_eq!(max_age(visitor.get("/renew").await), None);
}

#[tokio::test]
async fn a_response_that_sets_the_cookie_is_for_no_cache() {
    let db = Db::sqlite().await;
    let site = Site::serve(&db, routes()).await;
    let mut visitor = site.visitor();
    let response = visitor.get("/put/a/1").await;
    assert_eq!(headers_for_caches(&response), (vec!["no-store"], vec!["cookie"]));
    // This includes a response that removes the cookie.
    let response = visitor.get("/log-out").await;
    assert_eq!(headers_for_caches(&response), (vec!["no-store"], vec!["cookie"]));
}

#[tokio::test]
async fn a_response_that_leaves_the_cookie_alone_says_only_whether_it_depends_on_it() {
    let db = Db::sqlite().await;
    let site = Site::serve(&db, routes()).await;
    let mut guest = site.guest().await;
    for path in ["/", "/untouched", "/put/a/2", "/get/a", "/get/none", "/no-such-route"] {
        for response in [guest.get(path).await, site.get(path, &[]).await] {
            // Only a write without a session must set a cookie.
            if path == "/put/a/2" && !response.sets_no_cookie() {
                continue;
            }
            assert!(response.sets_no_cookie(), "{path}");
            let asked = !["/untouched", "/no-such-route"].contains(&path);
            let vary = if asked { vec!["cookie"] } else { vec![] };
            assert_eq!(headers_for_caches(&response), (vec![], vary), "{path}");
        }
    }
    assert!(guest.get("/put/a/3").await.sets_no_cookie());
}

#[tokio::test]
async fn what_the_handler_says_about_caches_stays() {
    let db = Db::sqlite().await;
    let chosen: &[(&[&str], &[&str])] = &[
        (&[], &["cookie"]),
        (&["accept-encoding"], &["accept-encoding", "cookie"]),
        (&["Accept", "Origin"], &["Accept", "Origin", "cookie"]),
        (&["cookie"], &["cookie"]),
        (&["Cookie"], &["Cookie"]),
        (&["accept,COOKIE"], &["accept,COOKIE"]),
        (&["accept, cookie , origin"], &["accept, cookie , origin"]),
        (&["accept", "Cookie"], &["accept", "Cookie"]),
        (&["*"], &["*"]),
        (&["accept, *"], &["accept, *"]),
        (&["x-cookie"], &["x-cookie", "cookie"]),
        (&["set-cookie, cookies"], &["set-cookie, cookies", "cookie"]),
    ];
    let mut app = Router::new();
    for (i, &(vary, _)) in chosen.iter().enumerate() {
        let handler = move |session: Session| async move {
            session.insert("a", 1)?;
            let vary = AppendHeaders(vary.iter().map(|value| (VARY, *value)));
            Ok::<_, Error>(([(CACHE_CONTROL, "private, max-age=60")], vary).into_response())
        };
        app = app.route(&format!("/{i}"), get(handler));
    }
    let site = Site::serve(&db, app).await;
    for (i, (vary, expected)) in chosen.iter().enumerate() {
        let response = site.visitor().get(&format!("/{i}")).await;
        assert_eq!(response.set_cookie().name, "__Host-id");
        assert_eq!(response.all("vary"), *expected, "the handler said {vary:?}");
        assert_eq!(response.all("cache-control"), ["private, max-age=60"]);
    }
}

#[tokio::test]
async fn the_removal_carries_the_same_attributes() {
    let db = Db::sqlite().await;
    let site = Site::serve(&db, routes()).await;
    let mut guest = site.visitor();
    let set = guest.get("/put/a/1").await.set_cookie();
    let removed = guest.get("/log-out").await.set_cookie();
    assert_eq!((removed.name, removed.value.as_str()), (set.name, ""));
    let end = attributes(&["Max-Age=0", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"]);
    assert_eq!(removed.attributes, &set.attributes | &end);
    assert!(!guest.has_cookie());
}

#[tokio::test]
async fn cookies_of_the_handler_stay_beside_it() {
    const THEIRS: [&str; 2] = ["theme=dark; Path=/", "theme=light; Path=/shop"];
    let db = Db::sqlite().await;
    let with_cookies = AppendHeaders(THEIRS.map(|value| (SET_COOKIE, value)));
    let put = move |session: Session| async move {
        session.insert("a", 1)?;
        Ok::<_, Error>(with_cookies)
    };
    let with_cookies = AppendHeaders(THEIRS.map(|value| (SET_COOKIE, value)));
    let leave = move |session: Session| async move {
        session.log_out().await?;
        Ok::<_, Error>(with_cookies)
    };
    let app = routes().route("/put", get(put)).route("/leave", get(leave));
    let site = Site::serve(&db, app).await;
    let guest = site.guest().await;

    let response = site.visitor().get("/put").await;
    assert_eq!(response.all("set-cookie")[..2], THEIRS);
    assert_eq!(response.set_cookies()[2].name, "__Host-id");
    assert_eq!(response.set_cookies().len(), 3);

    let response = site.get("/leave", &guest.lines()).await;
    assert_eq!(response.all("set-cookie")[..2], THEIRS);
    assert!(response.all("set-cookie")[2].starts_with("__Host-id=; "));
    assert_eq!(response.set_cookies().len(), 3);

    assert_eq!(site.get("/put", &site.guest().await.lines()).await.all("set-cookie"), THEIRS);
}

#[tokio::test]
async fn only_the_last_thing_that_happened_to_the_session_is_told() {
    let db = Db::sqlite().await;
    let out_and_in = |session: Session| async move {
        session.log_out().await?;
        session.log_in("ada").await?;
        session.renew().await?;
        Ok::<_, Error>("in")
    };
    let in_and_out = |session: Session| async move {
        session.log_in("ada").await?;
        session.log_out().await?;
        Ok::<_, Error>("out")
    };
    let out_and_put = |session: Session| async move {
        session.log_out().await?;
        session.insert("b", 1)?;
        Ok::<_, Error>("a new one")
    };
    let app = routes()
        .route("/out-and-in", get(out_and_in))
        .route("/in-and-out", get(in_and_out))
        .route("/out-and-put", get(out_and_put));
    let site = Site::serve(&db, app).await;

    let mut visitor = site.guest().await;
    assert_eq!(visitor.get("/out-and-in").await.set_cookies().len(), 1);
    assert_eq!(visitor.get("/").await.body, "ada");
    assert!(visitor.get("/in-and-out").await.removes_the_cookie());

    let mut visitor = site.guest().await;
    assert_eq!(visitor.get("/out-and-put").await.set_cookies().len(), 1);
    assert_eq!(visitor.get("/").await.body, "a guest");
    assert_eq!(visitor.get("/get/a").await.body, "nothing");
}
