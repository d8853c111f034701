//! Routes that need a logged-in user.

use axum::{Router, routing::get};
use http::StatusCode;
use sessile::{LogInRequiredLayer, LoggedIn};

use crate::{
    site::{Library, Site, cookies, routes},
    support::{Db, cases},
};

cases! {
    only_users_get_in,
    a_browser_is_sent_to_the_log_in_and_back,
    a_script_is_told,
    whoever_is_superseded_is_told_to_reload,
    an_answer_is_the_session_layers,
    a_handler_gets_the_user,
    without_the_session_layer_it_says_so,
}

const PAGE: &[u8] = b"Sec-Fetch-Mode: navigate";

fn private(layer: LogInRequiredLayer) -> Router {
    let private =
        Router::new().route("/orders", get("orders").post(async || "ordered")).route_layer(layer);
    routes().merge(private.clone()).nest("/account", private)
}

async fn redirecting(db: &Db) -> Site {
    Library::over(db).serve(private(LogInRequiredLayer::redirecting_to("/login"))).await
}

async fn only_users_get_in(db: Db) {
    let site = Library::over(&db).serve(private(LogInRequiredLayer::new())).await;
    for lines in [vec![], vec![PAGE.to_vec()], site.guest().await.lines()] {
        let refused = site.get("/orders", &lines).await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.body, "nobody is logged in to this session\n");
    }
    assert_eq!(site.user("ada").await.get("/orders").await.body, "orders");
    // Every other route is open.
    assert_eq!(site.get("/", &[]).await.body, "nobody");
}

async fn a_browser_is_sent_to_the_log_in_and_back(db: Db) {
    let site = redirecting(&db).await;
    for accept in [PAGE, b"Accept: text/html,application/xhtml+xml,*/*;q=0.8"] {
        for (path, target) in [
            ("/orders", "/login?next=%2Forders"),
            ("/orders?page=2&a=%20", "/login?next=%2Forders%3Fpage%3D2%26a%3D%2520"),
            // What a nested router takes off is part of it.
            ("/account/orders", "/login?next=%2Faccount%2Forders"),
        ] {
            let response = site.get(path, &[accept.to_vec()]).await;
            assert_eq!((response.status, response.one("location")), (303, Some(target)), "{path}");
        }
        // Nobody can open again what was sent.
        let response = site.send("POST", "/orders", &[accept.to_vec()]).await;
        assert_eq!((response.status, response.one("location")), (303, Some("/login")));
    }
}

async fn a_script_is_told(db: Db) {
    let site = redirecting(&db).await;
    for line in [&b"Sec-Fetch-Mode: cors"[..], b"Accept: application/json", b"Accept: */*"] {
        assert_eq!(site.get("/orders", &[line.to_vec()]).await.status, 401);
    }
    // The browser says that it is no page, whatever it accepts.
    let fetch = [b"Sec-Fetch-Mode: cors".to_vec(), b"Accept: text/html".to_vec()];
    assert_eq!(site.get("/orders", &fetch).await.status, 401);
}

async fn whoever_is_superseded_is_told_to_reload(db: Db) {
    let site = redirecting(&db).await;
    let mut user = site.user("ada").await;
    let old = user.token().to_owned();
    user.get("/log-in/ada").await;
    let response = site.get("/orders", &[cookies(&[&old]), PAGE.to_vec()]).await;
    assert_eq!((response.status, response.one("location")), (409, None));
    assert_eq!(user.get("/orders").await.body, "orders");
}

async fn an_answer_is_the_session_layers(db: Db) {
    let library = Library::over(&db);
    let layer = library.layer().answer(|error, request| {
        let body = format!("{} {}", error.kind().as_str(), request.uri);
        http::Response::builder().status(StatusCode::IM_A_TEAPOT).body(body).unwrap()
    });
    let app = private(LogInRequiredLayer::new()).layer(layer);
    let site = library.serve_as_is(app).await;
    let response = site.get("/orders", &[]).await;
    assert_eq!((response.status, response.body.as_str()), (418, "not_logged_in /orders"));
}

async fn a_handler_gets_the_user(db: Db) {
    let handlers = routes()
        .route("/number", get(async |LoggedIn(user): LoggedIn<u32>| (user + 1).to_string()))
        .route("/name", get(async |LoggedIn(user): LoggedIn| user))
        .route("/perhaps", get(async |user: Option<LoggedIn<u32>>| format!("{user:?}")));
    let site = Library::over(&db).serve(handlers).await;
    let mut seven = site.user("7").await;
    assert_eq!(seven.get("/number").await.body, "8");
    assert_eq!(seven.get("/name").await.body, "7");
    assert_eq!(seven.get("/perhaps").await.body, "Some(LoggedIn(7))");
    for mut nobody in [site.visitor(), site.guest().await] {
        assert_eq!(nobody.get("/number").await.status, 401);
        assert_eq!(nobody.get("/name").await.status, 401);
        assert_eq!(nobody.get("/perhaps").await.body, "None");
    }
    // An id of another kind is a fault of the application, and no log-out.
    let mut ada = site.user("ada").await;
    assert_eq!(ada.get("/number").await.status, 500);
    assert_eq!(ada.get("/perhaps").await.status, 500);
    assert_eq!(ada.get("/name").await.body, "ada");
    let old = seven.token().to_owned();
    seven.get("/log-in/7").await;
    assert_eq!(site.get("/number", &[cookies(&[&old])]).await.status, 409);
    assert_eq!(site.get("/perhaps", &[cookies(&[&old])]).await.body, "None");
}

async fn without_the_session_layer_it_says_so(db: Db) {
    let library = Library::over(&db);
    let site = library.serve_as_is(private(LogInRequiredLayer::redirecting_to("/login"))).await;
    let response = site.get("/orders", &[PAGE.to_vec()]).await;
    assert_eq!(response.status, 500);
    assert!(response.body.contains("add SessionLayer"), "{}", response.body);
}
