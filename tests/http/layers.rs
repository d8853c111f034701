//! The layer among other layers and services: missing, twice, and without axum.

use std::convert::Infallible;

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use sessile::{Error, ErrorKind, Session};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::{
    site::{Library, NOT_NOW, Site, routes, who},
    spy::INTERNAL,
    support::{
        Db, cases,
        tap::Verb::{Create, Load, Save},
    },
};

cases! { a_service_that_is_not_axums_has_the_same_sessions }

#[tokio::test]
async fn without_the_layer_the_error_says_what_to_add() {
    let db = Db::sqlite().await;
    let told = |session: Result<Session, Error>| async move {
        let error = session.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.to_string()
    };
    let library = Library::over(&db);
    let site = library.serve_as_is(routes().route("/told", get(told))).await;
    const TEXT: &str = "no session: add SessionLayer to the router, around this route";
    // A build for debugging shows this to the developer. A visitor of a release build does not see it.
    let response = site.get("/", &[]).await;
    assert_eq!(response.status, 500);
    let told_in_answer = if cfg!(debug_assertions) { format!("{TEXT}\n") } else { NOT_NOW.into() };
    assert_eq!(response.body, told_in_answer);
    let response = site.get("/told", &[]).await;
    assert_eq!(response.body, TEXT);
    assert_eq!(site.get("/untouched", &[]).await.status, 200);
}

#[tokio::test]
async fn a_route_added_after_the_layer_is_without_it() {
    let db = Db::sqlite().await;
    let library = Library::over(&db);
    let app = routes().layer(library.layer()).route("/outside", who());
    let site = library.serve_as_is(app).await;
    assert_eq!(site.get("/", &[]).await.body, "nobody");
    assert_eq!(site.get("/outside", &[]).await.status, 500);
}

#[tokio::test]
async fn of_two_layers_the_inner_ones_session_is_what_handlers_see() {
    let db = Db::sqlite().await;
    let outer = Library::over(&db);
    let inner = Library::with(&db, |builder| builder.realm("in"));
    let app = routes().layer(inner.layer()).layer(outer.layer());
    let site = inner.serve_as_is(app).await;

    let mut visitor = site.visitor();
    let cookie = visitor.get("/put/a/1").await.set_cookie();
    assert_eq!(cookie.name, "__Host-in");
    assert_eq!(site.spy.take(), [Create]);
    assert_eq!(visitor.get("/get/a").await.body, "1");
    assert_eq!(site.spy.take(), [Load]);

    // No handler uses the outer session, so its cookie causes no query and no removal.
    let cookie = format!("Cookie: __Host-id={}", cookie.value).into_bytes();
    let response = site.get("/", &[cookie]).await;
    assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("nobody", true));
    assert!(site.spy.take().is_empty() && outer.spy.take().is_empty());
}

#[tokio::test]
async fn two_layers_serve_two_parts_of_one_site() {
    // The middleware between the two layers has the outer session, which is the shop's. The admin pages have
    // their own.
    async fn count_visits(session: Session, request: Request, next: Next) -> Response {
        session.update("visits", |n: &mut u32| *n += 1).await.unwrap();
        next.run(request).await
    }
    let visits = |session: Session| async move {
        let visits: Option<u32> = session.get("visits")?;
        Ok::<_, Error>(format!("{visits:?}"))
    };
    let db = Db::sqlite().await;
    let library = Library::over(&db);
    let office = Library::with(&db, |builder| builder.realm("admin"));
    let admin = routes().route("/visits", get(visits)).layer(office.layer());
    let app = routes()
        .route("/visits", get(visits))
        .nest("/admin", admin)
        .layer(middleware::from_fn(count_visits))
        .layer(library.layer());
    let site = library.serve_as_is(app).await;

    let mut visitor = site.visitor();
    let response = visitor.get("/admin/log-in/root").await;
    let names: Vec<_> = response.set_cookies().into_iter().map(|cookie| cookie.name).collect();
    assert_eq!(names, ["__Host-admin", "__Host-id"]);
    assert_eq!(response.all("vary"), ["cookie"]);
    assert_eq!(response.all("cache-control"), ["no-store"]);
    assert_eq!(visitor.get("/admin").await.body, "root");
    assert_eq!(visitor.get("/").await.body, "a guest");
    assert_eq!(visitor.get("/visits").await.body, "Some(4)");
    assert_eq!(visitor.get("/admin/visits").await.body, "None");

    // A log-out from one part does not end the other part's session.
    visitor.get("/log-in/ada").await;
    assert!(visitor.get("/admin/log-out").await.removes_the_cookie());
    assert_eq!(visitor.get("/admin").await.body, "nobody");
    assert_eq!(visitor.get("/").await.body, "ada");
}

async fn a_service_that_is_not_axums_has_the_same_sessions(db: Db) {
    // Over the wire, on hyper's and axum's types but without any extractor.
    let library = Library::over(&db);
    let service = service_fn(|request: Request| async move {
        let session = Session::of(request.extensions()).await.unwrap();
        let visits = session.get::<u32>("visits").unwrap().unwrap_or_default() + 1;
        session.insert("visits", visits).unwrap();
        Ok::<_, Infallible>(Response::new(Body::from(format!("visit {visits}"))))
    });
    let app = Router::new().fallback_service(library.layer().layer(service));
    let site: Site = library.serve_as_is(app).await;
    let mut visitor = site.visitor();
    assert_eq!(visitor.get("/any/path").await.body, "visit 1");
    assert_eq!(visitor.get("/any/path").await.body, "visit 2");
    assert_eq!(site.spy.take(), [Create, Load, Save]);

    // And with bodies, a response and an error that are unrelated to any server.
    let service = service_fn(|request: http::Request<u32>| async move {
        let session = Session::of(request.extensions()).await.unwrap();
        let visits: u32 = session.get("visits").unwrap().unwrap_or_default();
        session.insert("visits", visits + request.body()).unwrap();
        match visits {
            0 => Err("the service's own error"),
            _ => Ok(http::Response::new(visits.to_string())),
        }
    });
    let mut service = library.layer().layer(service);
    let mut call = async |token: &str, add| {
        let request = http::Request::builder().header("cookie", format!("__Host-id={token}"));
        service.ready().await.unwrap().call(request.body(add).unwrap()).await
    };
    let response = call(visitor.token(), 40).await.unwrap();
    assert_eq!((response.body().as_str(), response.headers().len()), ("2", 1));
    assert_eq!(response.headers()["vary"], "cookie");
    assert_eq!(visitor.get("/").await.body, "visit 43");
    site.spy.take();

    // An error of the service is passed on, and the recorded changes are dropped.
    assert_eq!(call("", 1).await.unwrap_err(), "the service's own error");
    assert!(site.spy.take().is_empty());
    // The layer's own response has a text as its body.
    site.spy.fail(Save);
    let response = call(visitor.token(), 1).await.unwrap();
    assert_eq!((response.status().as_u16(), response.body().as_str()), (503, NOT_NOW));
    assert!(!format!("{response:?}").contains(INTERNAL));
}

#[tokio::test]
async fn the_cookie_is_marked_for_whoever_logs_responses() {
    let db = Db::sqlite().await;
    let service = service_fn(|request: http::Request<()>| async move {
        let session = Session::of(request.extensions()).await.unwrap();
        session.log_in("ada").await.unwrap();
        let shown = format!("{session:?} {request:?}");
        Ok::<_, Infallible>(http::Response::new(shown))
    });
    let service = Library::over(&db).layer().layer(service);
    let response = service.oneshot(http::Request::new(())).await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    let (_, token) = cookie.split_once(';').unwrap().0.split_once('=').unwrap();
    assert_eq!(token.len(), 64);
    // The body shows the handler's session and request.
    let shown = format!("{response:?}");
    assert!(shown.contains("Sensitive") && shown.contains("ada"), "{shown}");
    assert!(!shown.contains(token), "{shown}");
}
