//! A failing database: the result is an error, never a log-out, and the response shows no details.

use axum::{Router, routing::get};
use http::{HeaderName, header::LOCATION};
use sessile::{
    Error, Session, SessionsBuilder,
    encryption::{Encryption, Key},
    minutes,
};

use crate::{
    pause::Pause,
    site::{Library, NOT_NOW, Site, routes},
    support::{
        Db, cases,
        tap::Verb::{Create, End, Load, LogIn, Reauthenticate, Renew, Save, Touch},
    },
    wire::Response,
};

cases! {
    a_load_that_fails_is_503,
    a_session_that_this_node_has_no_key_for_is_503,
    a_save_that_fails_is_503_without_anything_of_the_handler,
    a_log_in_that_fails_changes_nothing,
    a_log_in_keeps_its_new_cookie_where_the_save_fails,
    a_log_out_that_fails_is_none,
    a_touch_that_fails_is_not_the_visitors_business,
    data_that_grew_too_large_meanwhile_is_413,
    a_database_without_tables_is_503,
}

fn is_503_and_keeps_the_cookie(response: &Response) {
    assert_eq!(response.status, 503);
    assert!(response.sets_no_cookie());
    assert_eq!(response.body, NOT_NOW);
    // A browser with another cookie, or without one, may get another answer.
    assert_eq!(response.all("vary"), ["cookie"]);
    assert!(response.all("cache-control").is_empty());
}

/// `/put`: a response with a body and headers, by a handler that has recorded a change.
fn put() -> Router {
    let handler = |session: Session| async move {
        session.insert("a", "new")?;
        let theirs = HeaderName::from_static("x-theirs");
        Ok::<_, Error>(([(theirs, "yes"), (LOCATION, "/order/1")], "your order is placed"))
    };
    Router::new().route("/put", get(handler))
}

async fn a_session_that_this_node_has_no_key_for_is_503(db: Db) {
    let keys = |builder: SessionsBuilder| {
        builder.encryption(Encryption::new(Key::new("k1", [7; 32]).unwrap()))
    };
    let sealed = Library::with(&db, keys).serve(routes()).await;
    let mut ada = sealed.user("ada").await;
    ada.get("/put/a/1").await;
    let without_keys = Site::serve(&db, routes()).await;
    for path in ["/", "/get/a", "/put/a/2", "/log-in/ada", "/log-out"] {
        is_503_and_keeps_the_cookie(&ada.at(&without_keys).get(path).await);
    }
    assert_eq!(ada.at(&without_keys).get("/untouched").await.body, "untouched");
    assert_eq!(ada.at(&sealed).get("/get/a").await.body, "1");
}

async fn a_load_that_fails_is_503(db: Db) {
    let lenient = |session: Result<Session, Error>| async move {
        assert!(session.is_err());
        "we go on without"
    };
    let app = routes().merge(put()).route("/lenient", get(lenient));
    let site = Site::serve(&db, app).await;
    let mut guest = site.guest().await;
    site.spy.fail(Load);
    for path in ["/", "/get/a", "/put/a/2", "/log-in/ada", "/log-out", "/put"] {
        is_503_and_keeps_the_cookie(&guest.get(path).await);
    }
    // Routes that need no session work, and so do visitors without a cookie.
    assert_eq!(guest.get("/untouched").await.body, "untouched");
    assert_eq!(site.visitor().get("/").await.body, "nobody");
    // A handler that continues anyway continues without a session, not with an empty one.
    let response = guest.get("/lenient").await;
    assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("we go on without", true));

    site.spy.let_all_pass();
    assert_eq!(guest.get("/get/a").await.body, "1");
}

async fn a_save_that_fails_is_503_without_anything_of_the_handler(db: Db) {
    let site = Site::serve(&db, routes().merge(put())).await;
    let mut guest = site.guest().await;
    for (verb, mut visitor) in [(Save, guest.clone()), (Create, site.visitor())] {
        site.spy.fail(verb);
        let response = visitor.get("/put").await;
        is_503_and_keeps_the_cookie(&response);
        assert_eq!(response.one("content-length"), Some(NOT_NOW.len().to_string().as_str()));
        assert!(response.all("x-theirs").is_empty() && response.all("location").is_empty());
        assert_eq!(response.one("content-type"), Some("text/plain; charset=utf-8"));
    }
    site.spy.let_all_pass();
    assert_eq!(guest.get("/get/a").await.body, "1");
    assert_eq!(db.rows().await, 1);
}

async fn a_log_in_that_fails_changes_nothing(db: Db) {
    let renew = |session: Session| async move { session.renew().await };
    let again = |session: Session| async move { session.reauthenticate().await };
    let app = routes().route("/renew", get(renew)).route("/again", get(again));
    let site = Site::serve(&db, app).await;
    let mut visitors = [
        (LogIn, "/log-in/bob", site.guest().await, "a guest"),
        (Renew, "/renew", site.guest().await, "a guest"),
        (Reauthenticate, "/again", site.user("ada").await, "ada"),
    ];
    for (verb, path, visitor, who) in &mut visitors {
        site.spy.fail(*verb);
        is_503_and_keeps_the_cookie(&visitor.get(path).await);
        assert_eq!(visitor.get("/").await.body, *who, "{verb:?}");
    }
}

async fn a_log_in_keeps_its_new_cookie_where_the_save_fails(db: Db) {
    let handler = |session: Session| async move {
        session.log_in("ada").await?;
        session.insert("a", "new")?;
        Ok::<_, Error>("welcome")
    };
    let site = Site::serve(&db, routes().route("/welcome", get(handler))).await;
    for mut visitor in [site.guest().await, site.visitor()] {
        site.spy.fail(Save);
        let response = visitor.get("/welcome").await;
        assert_eq!((response.status, response.body.as_str()), (503, NOT_NOW));
        assert_eq!(response.set_cookie().name, "__Host-id");
        assert_eq!(response.all("cache-control"), ["no-store"]);
        assert_eq!(response.all("vary"), ["cookie"]);
        site.spy.let_all_pass();
        assert_eq!(visitor.get("/").await.body, "ada");
        assert_ne!(visitor.get("/get/a").await.body, "new");
    }
}

async fn a_log_out_that_fails_is_none(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let mut ada = site.user("ada").await;
    site.spy.fail(End);
    is_503_and_keeps_the_cookie(&ada.get("/log-out").await);
    assert_eq!(ada.get("/").await.body, "ada");
}

async fn a_touch_that_fails_is_not_the_visitors_business(db: Db) {
    // With and without batching.
    for batching in [false, true] {
        let library = Library::with(&db, |builder| builder.batching(batching));
        let site = library.serve(routes()).await;
        let mut guest = site.guest().await;
        db.pass(minutes(30)).await;
        site.spy.fail(Touch);
        let response = guest.get("/").await;
        assert_eq!((response.status, response.body.as_str()), (200, "a guest"));
        assert!(response.sets_no_cookie());
        site.sessions.flush().await.ok();
        assert_eq!(site.spy.take(), [Load, Touch]);
    }
}

async fn data_that_grew_too_large_meanwhile_is_413(db: Db) {
    let pause = Pause::new();
    let handler = |pause: Pause| {
        async move |session: Session| {
            session.insert("a", "x".repeat(60))?;
            pause.here().await;
            Ok::<_, Error>("put")
        }
    };
    let app = routes().route("/slow", get(handler(pause.clone())));
    let site = Library::with(&db, |builder| builder.data_limit(100)).serve(app).await;
    let guest = site.guest().await;
    let mut connection = guest.begin("/slow").await;
    pause.reached().await;
    let large = "y".repeat(60);
    assert_eq!(guest.clone().get(&format!("/put/b/{large}")).await.status, 200);
    pause.go_on();
    let response = connection.response().await.unwrap();
    assert_eq!(response.status, 413);
    assert!(response.body.contains("the limit is 100"), "{}", response.body);
    assert!(response.sets_no_cookie());
    assert_eq!(guest.clone().get("/get/a").await.body, "1");
    assert_eq!(guest.clone().get("/get/b").await.body, large);
}

async fn a_database_without_tables_is_503(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let mut guest = site.guest().await;
    db.run("drop schema sessile cascade", "drop table sessions").await;
    for path in ["/", "/put/a/2", "/log-out"] {
        let response = guest.get(path).await;
        is_503_and_keeps_the_cookie(&response);
    }
    is_503_and_keeps_the_cookie(&site.visitor().get("/put/a/1").await);
    assert_eq!(guest.get("/untouched").await.body, "untouched");
}
