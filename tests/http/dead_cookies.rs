//! A cookie whose session has ended: it stays until a write or a log-in replaces it, or a log-out removes it.

use axum::{
    Router,
    extract::{Path, Request},
    routing::get,
};
use http::StatusCode;
use sessile::{Error, Session, SessionCookie, hours, minutes};

use crate::{
    pause::Pause,
    site::{Library, Site, Visitor, routes},
    support::{
        Db, cases,
        tap::Verb::{Create, Load, LogIn},
    },
};

cases! {
    a_poll_that_is_answered_after_a_log_out_removes_no_cookie,
    a_poll_that_is_answered_after_a_log_in_removes_no_cookie,
    reads_errors_and_failures_leave_a_dead_cookie_alone,
    a_write_or_a_log_in_replaces_a_dead_cookie,
    a_log_out_removes_a_dead_cookie,
    two_applications_on_two_ports_do_not_log_each_other_out_by_being_looked_at,
    two_applications_on_two_ports_with_two_names_do_not_meet,
}

/// `/poll/loaded` stops after it has loaded its session, `/poll/not-loaded` before.
fn polls(pause: &Pause) -> Router {
    let who = |session: &Session| session.user_id().unwrap_or_else(|| "nobody".to_owned());
    let stops = pause.clone();
    let loaded = async move |session: Session| {
        stops.here().await;
        who(&session)
    };
    let stops = pause.clone();
    let not_loaded = async move |request: Request| {
        stops.here().await;
        Session::of(request.extensions()).await.map(|session| who(&session))
    };
    Router::new().route("/poll/loaded", get(loaded)).route("/poll/not-loaded", get(not_loaded))
}

async fn a_poll_that_is_answered_after_a_log_out_removes_no_cookie(db: Db) {
    let pause = Pause::new();
    let site = Site::serve(&db, routes().merge(polls(&pause))).await;
    for (path, who) in [("/poll/loaded", "ada"), ("/poll/not-loaded", "nobody")] {
        let mut ada = site.user("ada").await;
        // A touch is due then, which must not be written any more.
        db.pass(minutes(10)).await;
        let mut poll = ada.begin(path).await;
        pause.reached().await;
        assert!(ada.get("/log-out").await.removes_the_cookie());
        assert_eq!(ada.get("/log-in/ada").await.set_cookies().len(), 1);
        pause.go_on();
        let response = poll.response().await.unwrap();
        assert_eq!((response.status, response.body.as_str()), (200, who));
        assert!(response.sets_no_cookie(), "{path}");
        ada.keep_cookies_of(&response);
        assert_eq!(ada.get("/").await.body, "ada", "{path}");
    }
}

async fn a_poll_that_is_answered_after_a_log_in_removes_no_cookie(db: Db) {
    let pause = Pause::new();
    let site = Site::serve(&db, routes().merge(polls(&pause))).await;
    // In the browser of a guest, of a user, and of a visitor whose session has ended.
    for who in ["a guest", "bob", "nobody"] {
        for path in ["/poll/loaded", "/poll/not-loaded"] {
            let mut visitor = match who {
                "a guest" => site.guest().await,
                _ => site.user("bob").await,
            };
            if who == "nobody" {
                site.sessions.revoke_user("bob").await.unwrap();
            }
            db.pass(minutes(10)).await;
            let mut poll = visitor.begin(path).await;
            pause.reached().await;
            assert_eq!(visitor.get("/log-in/ada").await.set_cookies().len(), 1);
            pause.go_on();
            let response = poll.response().await.unwrap();
            assert_eq!((response.status, response.sets_no_cookie()), (200, true), "{who}, {path}");
            assert_ne!(response.body, "ada");
            visitor.keep_cookies_of(&response);
            assert_eq!(visitor.get("/").await.body, "ada", "{who}, {path}");
        }
    }
}

/// Browsers whose session was revoked, has expired, and was logged out in another tab.
async fn dead(site: &Site, db: &Db) -> Vec<Visitor> {
    let expired = site.guest().await;
    db.pass(hours(2)).await;
    let (revoked, logged_out) = (site.user("ada").await, site.user("bob").await);
    site.sessions.revoke_user("ada").await.unwrap();
    logged_out.clone().get("/log-out").await;
    site.spy.take();
    vec![revoked, expired, logged_out]
}

async fn reads_errors_and_failures_leave_a_dead_cookie_alone(db: Db) {
    let status = |session: Session, Path(status): Path<u16>| async move {
        session.remove("a");
        (StatusCode::from_u16(status).unwrap(), "the handler's")
    };
    let failing = |session: Session| async move {
        session.insert("a", 1)?;
        Ok::<_, Error>(StatusCode::INTERNAL_SERVER_ERROR)
    };
    let app = routes().route("/as/{status}", get(status)).route("/failing", get(failing));
    let site = Site::serve(&db, app).await;
    for visitor in dead(&site, &db).await {
        for path in [
            "/",
            "/get/a",
            "/untouched",
            "/no-such-route",
            "/as/200",
            "/as/303",
            "/as/401",
            "/as/404",
            "/as/500",
            "/as/503",
            "/failing",
        ] {
            let response = visitor.clone().get(path).await;
            assert!(response.sets_no_cookie(), "{path}");
            assert!(response.all("cache-control").is_empty(), "{path}");
            let asked = !["/untouched", "/no-such-route"].contains(&path);
            let expected: &[_] = if asked { &[Load] } else { &[] };
            assert_eq!(site.spy.take(), expected, "{path}");
        }
        site.spy.fail(Load);
        let response = visitor.clone().get("/").await;
        assert_eq!((response.status, response.sets_no_cookie()), (503, true));
        site.spy.let_all_pass();
        site.spy.take();
    }
}

async fn a_write_or_a_log_in_replaces_a_dead_cookie(db: Db) {
    let site = Site::serve(&db, routes()).await;
    for visitor in dead(&site, &db).await {
        for (path, verb, who) in [("/put/a/2", Create, "a guest"), ("/log-in/eve", LogIn, "eve")] {
            let mut tab = visitor.clone();
            let new = tab.get(path).await.set_cookie();
            assert_eq!(site.spy.take(), [Load, verb], "{path}");
            assert_ne!(new.value[..16], visitor.token()[..16]);
            assert_eq!(tab.get("/").await.body, who);
            site.spy.take();
        }
    }
}

async fn a_log_out_removes_a_dead_cookie(db: Db) {
    let site = Site::serve(&db, routes()).await;
    for mut visitor in dead(&site, &db).await {
        let rows = db.rows().await;
        let response = visitor.get("/log-out").await;
        assert_eq!(response.body, "logged out");
        assert!(response.removes_the_cookie());
        assert_eq!(response.all("cache-control"), ["no-store"]);
        assert_eq!(site.spy.take(), [Load]);
        assert!(!visitor.has_cookie());
        assert_eq!(db.rows().await, rows);
    }
    // A browser without a cookie gets no removal.
    assert!(site.visitor().get("/log-out").await.sets_no_cookie());
}

async fn another(db: &Db) -> Db {
    if db.is_postgres() { Db::postgres().await } else { Db::sqlite().await }
}

async fn two_applications_on_two_ports_do_not_log_each_other_out_by_being_looked_at(db: Db) {
    let others = another(&db).await;
    let (shop, wiki) = (Site::serve(&db, routes()).await, Site::serve(&others, routes()).await);
    let mut ada = shop.user("ada").await;
    for path in ["/", "/get/a", "/untouched", "/no-such-route"] {
        let response = ada.at(&wiki).get(path).await;
        assert!(response.sets_no_cookie(), "{path}");
        assert_eq!(ada.at(&shop).get("/").await.body, "ada", "{path}");
    }
    assert_eq!(ada.at(&wiki).get("/").await.body, "nobody");
    // A browser cannot have two cookies of one name: a log-in to the other application logs out of this one.
    ada.get("/log-in/ada-of-the-wiki").await;
    assert_eq!(ada.get("/").await.body, "ada-of-the-wiki");
    assert_eq!(ada.at(&shop).get("/").await.body, "nobody");
    assert_eq!(ada.at(&wiki).get("/").await.body, "ada-of-the-wiki");
    others.drop().await;
}

async fn two_applications_on_two_ports_with_two_names_do_not_meet(db: Db) {
    async fn named(db: &Db, name: &str) -> Site {
        let library = Library::over(db);
        let cookie = SessionCookie::insecure_for_development().named(name).unwrap();
        library.serve_as_is(routes().layer(library.layer().cookie(cookie))).await
    }
    let others = another(&db).await;
    let (shop, wiki) = (named(&db, "shop").await, named(&others, "wiki").await);
    let mut browser = shop.visitor();
    assert_eq!(browser.get("/log-in/ada").await.set_cookie().name, "shop");
    assert_eq!(browser.at(&wiki).get("/log-in/bob").await.set_cookie().name, "wiki");
    assert_eq!(browser.at(&shop).get("/").await.body, "ada");
    assert!(browser.at(&wiki).get("/log-out").await.removes_the_cookie());
    assert_eq!(browser.get("/").await.body, "nobody");
    assert_eq!(browser.at(&shop).get("/").await.body, "ada");
    others.drop().await;
}
