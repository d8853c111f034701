//! Layers inside of layers.

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use sessile::{Error, Session, SessionCookie};

use crate::{
    log::Log,
    site::{Library, NOT_NOW, cookies, routes},
    support::{
        Db, cases,
        tap::Verb::{Create, Load, LogIn, Save},
    },
};

cases! {
    an_inner_layer_over_the_same_sessions_uses_the_outer_ones_session,
    so_it_does_with_another_realms_layer_between_the_two,
    a_cookie_of_another_realm_is_no_session,
    two_sessions_under_one_name_answer_nothing,
}

/// A middleware between two layers: it gets the outer session.
async fn outside(session: Session, request: Request, next: Next) -> Response {
    session.insert("outside", "yes").unwrap();
    next.run(request).await
}

fn inside() -> Router {
    let seen = |session: Session| async move {
        session.insert("inside", "yes")?;
        let seen: Option<String> = session.get("outside")?;
        Ok::<_, Error>(seen.unwrap_or_else(|| "nothing".to_owned()))
    };
    routes().route("/seen", get(seen))
}

async fn an_inner_layer_over_the_same_sessions_uses_the_outer_ones_session(db: Db) {
    let library = Library::over(&db);
    let named = library.layer().cookie(SessionCookie::default().named("__Host-in").unwrap());
    for inner in [library.layer(), named] {
        let app = inside()
            .layer(inner)
            .layer(library.layer())
            .layer(middleware::from_fn(outside))
            .layer(library.layer());
        let site = library.serve_as_is(app).await;
        let mut visitor = site.visitor();
        let response = visitor.get("/seen").await;
        assert_eq!(response.body, "yes");
        assert_eq!(response.set_cookie().name, "__Host-id");
        assert_eq!(response.all("vary"), ["cookie"]);
        assert_eq!(site.spy.take(), [Create]);

        assert_eq!(visitor.get("/get/inside").await.body, "yes");
        assert_eq!(site.spy.take(), [Load, Save]);
        assert_eq!(visitor.get("/log-in/ada").await.set_cookies().len(), 1);
        assert_eq!(site.spy.take(), [Load, LogIn, Save]);
        assert_eq!(visitor.get("/").await.body, "ada");
        assert!(visitor.get("/log-out").await.removes_the_cookie());
        site.spy.take();
    }
}

async fn so_it_does_with_another_realms_layer_between_the_two(db: Db) {
    let shop = Library::over(&db);
    let office = Library::with(&db, |builder| builder.realm("office"));
    let app = inside()
        .layer(shop.layer())
        .layer(office.layer())
        .layer(shop.layer())
        .layer(office.layer())
        .layer(middleware::from_fn(outside))
        .layer(shop.layer());
    let site = shop.serve_as_is(app).await;
    let mut visitor = site.visitor();
    let response = visitor.get("/seen").await;
    assert_eq!(response.body, "yes");
    assert_eq!(response.set_cookie().name, "__Host-id");
    assert_eq!(visitor.get("/log-in/ada").await.set_cookies().len(), 1);
    assert_eq!(visitor.get("/").await.body, "ada");
    assert!(office.spy.take().is_empty());
}

async fn a_cookie_of_another_realm_is_no_session(db: Db) {
    let shop = Library::over(&db).serve(routes()).await;
    let office = Library::with(&db, |builder| builder.realm("office")).serve(routes()).await;
    let ada = shop.user("ada").await;
    let boss = office.user("boss").await;
    let as_office = format!("Cookie: __Host-office={}", ada.token()).into_bytes();
    let as_shop = cookies(&[boss.token()]);
    for (site, line) in [(&office, as_office), (&shop, as_shop)] {
        let response = site.get("/", std::slice::from_ref(&line)).await;
        assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("nobody", true));
        let response = site.get("/put/a/1", std::slice::from_ref(&line)).await;
        assert_eq!((response.status, response.set_cookies().len()), (200, 1));
        assert!(site.get("/log-out", &[line]).await.removes_the_cookie());
    }
    assert_eq!(ada.clone().get("/").await.body, "ada");
    assert_eq!(boss.clone().get("/").await.body, "boss");
    // Beside a live cookie of its own realm, it is one cookie of several.
    let line = cookies(&[boss.token(), ada.token()]);
    assert_eq!(shop.get("/", &[line]).await.body, "ada");
}

async fn two_sessions_under_one_name_answer_nothing(db: Db) {
    let one = Library::over(&db);
    let two = Library::over(&db);
    let office = Library::with(&db, |builder| builder.realm("office"));
    let as_one = office.layer().cookie(SessionCookie::default().named("__Host-id").unwrap());
    let apps = [
        routes().layer(two.layer()).layer(one.layer()),
        routes().layer(as_one).layer(one.layer()),
        // With another one between them.
        routes().layer(two.layer()).layer(office.layer()).layer(one.layer()),
    ];
    for app in apps {
        let site = one.serve_as_is(app).await;
        for path in ["/", "/put/a/1", "/log-in/ada", "/untouched", "/no-such-route"] {
            let response = site.get(path, &[]).await;
            assert_eq!((response.status, response.sets_no_cookie()), (500, true), "{path}");
            if cfg!(debug_assertions) {
                let body = &response.body;
                assert!(body.contains("__Host-id") && body.contains("a realm"), "{body}");
            } else {
                assert_eq!(response.body, NOT_NOW);
            }
        }
    }
    assert_eq!(db.rows().await, 0);
    // Two names do not conflict, in either order.
    let apps = [
        routes().layer(one.layer()).layer(office.layer()),
        routes().layer(office.layer()).layer(one.layer()),
    ];
    for app in apps {
        let site = one.serve_as_is(app).await;
        assert_eq!(site.visitor().get("/put/a/1").await.set_cookies().len(), 1);
    }
}

#[tokio::test]
async fn two_sessions_under_one_name_are_told_to_the_log() {
    let log = Log::begin();
    let db = Db::sqlite().await;
    let (one, two) = (Library::over(&db), Library::over(&db));
    let site = one.serve_as_is(routes().layer(two.layer()).layer(one.layer())).await;
    log.take();
    site.get("/untouched", &[]).await;
    let events = log.take_events("request failed");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["level"], "ERROR");
    let error = events[0]["fields"]["error"].as_str().unwrap();
    assert!(error.contains("two layers") && error.contains("__Host-id"), "{error}");
}
