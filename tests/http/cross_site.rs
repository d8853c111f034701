//! Requests that another site makes a browser send.

use axum::{
    Router,
    routing::{get, post},
};
use http::Response as HttpResponse;
use sessile::{CrossSiteLayer, Error, ErrorKind, Session, SessionCookie, http::SameSite};

use crate::{
    site::{Library, Site, routes},
    support::{Db, cases},
};

cases! {
    another_site_can_post_nothing_that_is_not_exempt,
    the_refusal_can_be_the_applications_own,
    a_post_without_its_cookie_replaces_no_log_in,
    an_exempt_post_of_an_older_browser_replaces_no_log_in,
    a_neighbour_under_the_same_domain_can_log_in,
    a_cookie_that_other_sites_send_is_not_withheld,
    a_client_that_is_no_browser_logs_in,
}

const ELSEWHERE: [&[u8]; 2] = [b"Sec-Fetch-Site: cross-site", b"Origin: https://evil.example"];

fn lines<const N: usize>(lines: [&[u8]; N]) -> Vec<Vec<u8>> {
    lines.map(<[u8]>::to_vec).to_vec()
}

/// What a provider's answer is for: it logs the visitor in. And what a handler may do beside.
fn callbacks() -> Router {
    let log_in = async |session: Session| session.log_in("mallory").await.map(|()| "in");
    let begin = async |session: Session| session.begin_log_in().await.map(|()| "begun");
    let record = async |session: Session| session.insert("a", 1).map(|()| "recorded");
    let update = async |session: Session| {
        session.update("a", |a: &mut u32| *a += 1).await.map(|()| "updated")
    };
    let ask = async |session: Session| session.is_cross_site().to_string();
    Router::new()
        .route("/callback", post(log_in).get(log_in))
        .route("/callback/begin", post(begin))
        .route("/callback/record", post(record))
        .route("/callback/update", post(update))
        .route("/callback/ask", post(ask))
}

async fn another_site_can_post_nothing_that_is_not_exempt(db: Db) {
    let guard = CrossSiteLayer::new().exempt("/hooks/").unwrap();
    let guard = guard.allow_origin("https://admin.example").unwrap();
    let app = routes().route("/cart", get("cart").post(async || "added"));
    let app = app.route("/hooks/paid", post(async || "paid"));
    let library = Library::over(&db);
    let site = library.serve_as_is(app.layer(library.layer()).layer(guard)).await;
    for line in ELSEWHERE {
        let line = &[line.to_vec()];
        let refused = site.send("POST", "/cart", line).await;
        assert_eq!((refused.status, refused.all("set-cookie").len()), (403, 0));
        assert!(refused.body.starts_with("another site sent this request"), "{}", refused.body);
        assert_eq!(site.get("/cart", line).await.body, "cart");
        assert_eq!(site.send("POST", "/hooks/paid", line).await.body, "paid");
    }
    let socket = lines([ELSEWHERE[1], b"Upgrade: websocket"]);
    assert_eq!(site.get("/cart", &socket).await.status, 403);
    let json = lines([ELSEWHERE[0], b"Accept: application/json"]);
    let refused = site.send("POST", "/cart", &json).await;
    assert!(refused.body.starts_with(r#"{"error":"cross_site","#), "{}", refused.body);
    let allowed = lines([ELSEWHERE[0], b"Origin: https://admin.example"]);
    assert_eq!(site.send("POST", "/cart", &allowed).await.body, "added");
    assert_eq!(site.send("POST", "/cart", &lines([b"Origin: http://test"])).await.body, "added");
    assert_eq!(site.send("POST", "/cart", &[]).await.body, "added");
}

async fn the_refusal_can_be_the_applications_own(db: Db) {
    let guard = CrossSiteLayer::new().answer(|error: &Error, request| {
        assert_eq!(error.kind(), ErrorKind::CrossSite);
        HttpResponse::builder().status(418).body(request.uri.path().to_owned()).unwrap()
    });
    let library = Library::over(&db);
    let app = callbacks().layer(library.layer()).layer(guard);
    let site = library.serve_as_is(app).await;
    let refused = site.send("POST", "/callback", &lines([ELSEWHERE[0]])).await;
    assert_eq!((refused.status, refused.body.as_str()), (418, "/callback"));
}

/// None of the callbacks starts a session for a request with these lines.
async fn nothing_begins(db: &Db, site: &Site, from: &[u8]) {
    let from = lines([from]);
    for path in ["/callback", "/callback/begin", "/callback/record", "/callback/update"] {
        let refused = site.send("POST", path, &from).await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.sets_no_cookie(), "{path}");
    }
    assert_eq!(site.send("POST", "/callback/ask", &from).await.body, "true");
    assert_eq!(db.rows().await, 0);
}

async fn a_post_without_its_cookie_replaces_no_log_in(db: Db) {
    let library = Library::over(&db);
    let site = library.serve(callbacks()).await;
    nothing_begins(&db, &site, ELSEWHERE[0]).await;
    // With a cookie, also a dead one, nothing was withheld.
    let cookie = b"Cookie: __Host-id=x";
    let brought = site.send("POST", "/callback", &lines([ELSEWHERE[0], cookie])).await;
    assert_eq!(brought.status, 200);
    // A link from another site brings the cookie, so whoever has none is new here.
    assert_eq!(site.get("/callback", &lines([ELSEWHERE[0]])).await.status, 200);
    for near in [b"Sec-Fetch-Site: same-site".as_slice(), b"Sec-Fetch-Site: same-origin"] {
        assert_eq!(site.send("POST", "/callback", &lines([near])).await.status, 200);
    }
}

async fn an_exempt_post_of_an_older_browser_replaces_no_log_in(db: Db) {
    let guard = || CrossSiteLayer::new().exempt("/callback").unwrap().exempt("/callback/").unwrap();
    let library = Library::over(&db);
    // Whichever layer is outside.
    let outside = library.serve_as_is(callbacks().layer(library.layer()).layer(guard())).await;
    let inside = library.serve_as_is(callbacks().layer(guard()).layer(library.layer())).await;
    for site in [outside, inside] {
        nothing_begins(&db, &site, ELSEWHERE[1]).await;
    }
}

/// Browsers send a Lax cookie to `api.example.org` from a page of `app.example.org`: without one, there is none.
async fn a_neighbour_under_the_same_domain_can_log_in(db: Db) {
    let guard = CrossSiteLayer::new().allow_origin("https://app.example.org").unwrap();
    let guard = guard.exempt("/callback/record").unwrap();
    let library = Library::over(&db);
    let site = library.serve_as_is(callbacks().layer(library.layer()).layer(guard)).await;
    let origin = b"Origin: https://app.example.org".as_slice();
    let near = b"Sec-Fetch-Site: same-site".as_slice();
    for (path, from) in [
        ("/callback", lines([origin, near])),
        // An older browser, and an origin that the application trusts.
        ("/callback", lines([origin])),
        ("/callback/record", lines([near, b"Origin: https://other.example.org"])),
    ] {
        let response = site.send("POST", path, &from).await;
        assert_eq!((response.status, response.set_cookies().len()), (200, 1), "{path}");
        assert_eq!(site.send("POST", "/callback/ask", &lines([origin, near])).await.body, "false");
    }
    let far = lines([origin, b"Sec-Fetch-Site: cross-site"]);
    let refused = site.send("POST", "/callback", &far).await;
    assert_eq!(refused.status, 403, "an allowed origin on another site still has no cookie");
}

async fn a_cookie_that_other_sites_send_is_not_withheld(db: Db) {
    let cookie = SessionCookie::builder().same_site(SameSite::None).build().unwrap();
    let library = Library::over(&db);
    let site = library.serve_as_is(callbacks().layer(library.layer().cookie(cookie))).await;
    let response = site.send("POST", "/callback", &lines([ELSEWHERE[0]])).await;
    assert_eq!(response.status, 200);
    assert_eq!(site.send("POST", "/callback/ask", &lines([ELSEWHERE[0]])).await.body, "false");
}

async fn a_client_that_is_no_browser_logs_in(db: Db) {
    let site = Library::over(&db).serve(callbacks()).await;
    assert_eq!(site.send("POST", "/callback", &[]).await.status, 200);
    assert_eq!(site.send("POST", "/callback/ask", &[]).await.body, "false");
}
