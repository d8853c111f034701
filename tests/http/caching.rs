//! Caches between server and browser: none may store a cookie, and each must know which responses depend on
//! one.

use axum::{
    Router,
    extract::{Path, Request},
    middleware::{self, Next},
    response::{AppendHeaders, IntoResponse},
    routing::get,
};
use http::header::SET_COOKIE;
use sessile::{Error, Session};

use crate::{
    log::Log,
    site::{Library, Site, routes},
    support::{Db, cases, tap::Verb::Load},
    wire::Response,
};

cases! {
    whatever_the_handler_says_no_shared_cache_keeps_a_cookie,
    what_the_handler_says_stays_where_no_cookie_is_set,
    whoever_asks_for_the_session_is_told_to_vary,
    a_session_that_could_not_be_loaded_varies_too,
}

type Headers = &'static [(&'static str, &'static str)];

/// A handler's headers, and the `Cache-Control` that remains beside a cookie. The other listed headers are
/// removed.
const CHOSEN: &[(Headers, &[&str])] = &[
    (&[], &["no-store"]),
    (&[("cache-control", "public, max-age=600")], &["no-store"]),
    (&[("cache-control", "max-age=600")], &["no-store"]),
    (&[("cache-control", "no-cache")], &["no-store"]),
    (&[("cache-control", "private=\"x\"")], &["no-store"]),
    (&[("cache-control", "private=\"set-cookie\", max-age=600")], &["no-store"]),
    (&[("cache-control", "private=\"x, no-store, y\"")], &["no-store"]),
    (&[("cache-control", "private, s-maxage=600")], &["no-store"]),
    (&[("cache-control", "private"), ("cache-control", "public")], &["no-store"]),
    (&[("cache-control", "must-understand, no-store, max-age=600")], &["no-store"]),
    (&[("cache-control", "\u{fe}\u{ff}")], &["no-store"]),
    (&[("cache-control", "")], &["no-store"]),
    (&[("cdn-cache-control", "max-age=600")], &["no-store"]),
    (&[("surrogate-control", "max-age=600")], &["no-store"]),
    (&[("cloudflare-cdn-cache-control", "public"), ("edge-control", "x")], &["no-store"]),
    (&[("x-accel-expires", "600"), ("x-litespeed-cache-control", "public")], &["no-store"]),
    // Shared caches do not store these.
    (&[("cache-control", "no-store")], &["no-store"]),
    (&[("cache-control", "private")], &["private"]),
    (&[("cache-control", "private, max-age=60")], &["private, max-age=60"]),
    (&[("cache-control", "Private"), ("cache-control", "Max-Age=60")], &["Private", "Max-Age=60"]),
    (&[("cache-control", "no-cache, No-Store")], &["no-cache, No-Store"]),
    // But the headers for networks are removed from them too.
    (&[("cache-control", "private"), ("cdn-cache-control", "public")], &["private"]),
    (&[("cache-control", "no-store"), ("surrogate-control", "max-age=9")], &["no-store"]),
];

/// `/{index}/{what}`: sends the chosen headers, and does something to the session.
fn saying() -> Router {
    let handler = |session: Session, Path((index, what)): Path<(usize, String)>| async move {
        match what.as_str() {
            "put" => session.insert("a", 1)?,
            "log-in" => session.log_in("ada").await?,
            "log-out" => drop(session.log_out().await?),
            _ => {}
        }
        let said = CHOSEN[index].0.iter().map(|&(name, value)| {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (http::HeaderName::from_static(name), value)
        });
        Ok::<_, Error>(AppendHeaders(said.collect::<Vec<_>>()).into_response())
    };
    Router::new().route("/{index}/{what}", get(handler))
}

fn is_about_caches(name: &str) -> bool {
    ["cache-control", "surrogate-control", "edge-control", "x-accel-expires"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// All headers about caches, the general one first.
fn said(response: &Response) -> Vec<(&str, &str)> {
    let about = response.headers.iter().filter(|(name, _)| is_about_caches(name));
    about.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

async fn whatever_the_handler_says_no_shared_cache_keeps_a_cookie(db: Db) {
    let site = Site::serve(&db, routes().merge(saying())).await;
    for (index, (chosen, expected)) in CHOSEN.iter().enumerate() {
        let expected: Vec<_> = expected.iter().map(|&value| ("cache-control", value)).collect();
        for what in ["put", "log-in", "log-out"] {
            let mut visitor = if what == "log-out" { site.guest().await } else { site.visitor() };
            let response = visitor.get(&format!("/{index}/{what}")).await;
            assert_eq!(response.status, 200);
            assert_eq!(response.set_cookies().len(), 1);
            assert_eq!(said(&response), expected, "{what} beside {chosen:?}");
            assert_eq!(response.all("vary"), ["cookie"]);
        }
    }
}

async fn what_the_handler_says_stays_where_no_cookie_is_set(db: Db) {
    let site = Site::serve(&db, routes().merge(saying())).await;
    let mut guest = site.guest().await;
    for (index, (chosen, _)) in CHOSEN.iter().enumerate() {
        for what in ["read", "put"] {
            let response = guest.get(&format!("/{index}/{what}")).await;
            assert!(response.sets_no_cookie());
            assert_eq!(said(&response).len(), chosen.len());
            for (name, _) in *chosen {
                let values = chosen.iter().filter(|(other, _)| other == name);
                let values: Vec<_> = values.map(|(_, value)| *value).collect();
                assert_eq!(response.all(name), values, "{chosen:?}");
            }
            assert_eq!(response.all("vary"), ["cookie"]);
        }
    }
    // The layer ignores cookies that a handler sets.
    let theirs = || async { [("cache-control", "public"), ("set-cookie", "theme=dark")] };
    let site = Site::serve(&db, Router::new().route("/theirs", get(theirs))).await;
    let response = site.get("/theirs", &[]).await;
    assert_eq!(response.all("cache-control"), ["public"]);
    assert_eq!(response.all(SET_COOKIE.as_str()), ["theme=dark"]);
    assert!(response.all("vary").is_empty());
}

async fn whoever_asks_for_the_session_is_told_to_vary(db: Db) {
    async fn guard(session: Session, request: Request, next: Next) -> axum::response::Response {
        drop(session);
        next.run(request).await
    }
    let fails = |session: Session| async move {
        drop(session);
        http::StatusCode::INTERNAL_SERVER_ERROR
    };
    let guarded = Router::new()
        .route("/guarded", get(|| async { "guarded" }))
        .route_layer(middleware::from_fn(guard));
    let app = routes().merge(guarded).route("/fails", get(fails));
    let site = Site::serve(&db, app).await;
    let mut guest = site.guest().await;
    for path in ["/", "/get/a", "/get/none", "/put/a/2", "/guarded", "/fails"] {
        assert_eq!(guest.get(path).await.all("vary"), ["cookie"], "{path}");
    }
    // This includes requests without a cookie, which query nothing.
    for path in ["/", "/get/a", "/guarded", "/fails"] {
        let response = site.get(path, &[]).await;
        assert_eq!(response.all("vary"), ["cookie"], "{path}");
        assert!(response.sets_no_cookie());
    }
    for path in ["/untouched", "/no-such-route"] {
        for response in [guest.get(path).await, site.get(path, &[]).await] {
            assert!(response.all("vary").is_empty(), "{path}");
        }
    }
}

async fn a_session_that_could_not_be_loaded_varies_too(db: Db) {
    let lenient = |session: Result<Session, Error>| async move {
        assert!(session.is_err());
        "we go on without"
    };
    let site = Site::serve(&db, routes().route("/lenient", get(lenient))).await;
    let mut guest = site.guest().await;
    site.spy.fail(Load);
    for (path, status) in [("/", 503), ("/put/a/2", 503), ("/lenient", 200)] {
        let response = guest.get(path).await;
        assert_eq!((response.status, response.all("vary")), (status, vec!["cookie"]), "{path}");
    }
    assert!(guest.get("/untouched").await.all("vary").is_empty());
}

#[tokio::test]
async fn overruling_public_is_told_once_and_then_only_who_asks() {
    let log = Log::begin();
    let db = Db::sqlite().await;
    let library = Library::over(&db);
    let site = library.serve(routes().merge(saying())).await;
    let told = async |index: usize, what: &str| {
        log.take();
        let mut visitor = if what == "log-out" { site.guest().await } else { site.visitor() };
        visitor.get(&format!("/{index}/{what}")).await;
        let events = log.take_events("cache headers overruled");
        let events = events.iter().map(|event| {
            let chosen = event["fields"]["cache_control"].as_str().unwrap_or_default();
            (event["level"].as_str().unwrap().to_owned(), chosen.to_owned())
        });
        events.collect::<Vec<_>>()
    };
    let as_told = |level: &str, chosen: &str| vec![(level.to_owned(), chosen.to_owned())];
    let of = |value: &str| {
        CHOSEN.iter().position(|(chosen, _)| chosen.iter().any(|(_, said)| *said == value)).unwrap()
    };
    let (public, s_maxage) = (of("public, max-age=600"), of("private, s-maxage=600"));
    // Nothing was overruled, or the handler did not allow a shared cache.
    for value in ["private, max-age=60", "no-store", "no-cache"] {
        assert!(told(of(value), "put").await.is_empty(), "{value}");
    }
    assert!(told(0, "put").await.is_empty());
    assert!(told(public, "read").await.is_empty());

    assert_eq!(told(public, "put").await, as_told("WARN", "public, max-age=600"));
    for what in ["put", "log-in", "log-out"] {
        assert_eq!(told(public, what).await, as_told("DEBUG", "public, max-age=600"), "{what}");
        assert_eq!(told(s_maxage, what).await, as_told("DEBUG", "private, s-maxage=600"));
    }
}
