//! The table of statuses at `Error::status`, with real errors.

use std::time::Duration;

use axum::{Router, routing::get};
use sessile::{OnLimit, Policy, Session, Sessions, minutes};

use crate::{
    pause::Pause,
    site::{Library, NOT_NOW, routes},
    support::{Db, tap::Verb::Load},
    wire::Response,
};

fn is_told(response: &Response, status: u16, text: &str) {
    assert_eq!(response.status, status);
    assert!(response.body.contains(text), "{}", response.body);
    assert!(response.body.ends_with('\n'), "{}", response.body);
    assert!(response.one("content-type").unwrap().starts_with("text/plain"));
}

/// `/{name}`: an error by the operation of that name.
fn operations(sessions: &Sessions) -> Router {
    let not_logged_in = |session: Session| async move { session.devices().await.map(drop) };
    let recent = |session: Session| async move { session.require_recent(Duration::from_secs(60)) };
    let invalid_data = |session: Session| async move { session.insert("big", "x".repeat(70_000)) };
    let invalid_user = |session: Session| async move { session.log_in("").await };
    let wrong_type = |session: Session| async move {
        session.insert("card", "4111111111111111")?;
        session.get::<u32>("card").map(drop)
    };
    let remember = |session: Session| async move { session.log_in("x").remember_me(true).await };
    let of_all = sessions.clone();
    let refused = async move |session: Session| {
        of_all.revoke_user("eve").await?;
        session.log_in("eve").await
    };
    let of_all = sessions.clone();
    let ended = async move |session: Session| {
        of_all.revoke(session.id().unwrap()).await?;
        session.update("a", |a: &mut String| a.push('!')).await
    };
    Router::new()
        .route("/not-logged-in", get(not_logged_in))
        .route("/recent", get(recent))
        .route("/invalid-data", get(invalid_data))
        .route("/invalid-user", get(invalid_user))
        .route("/wrong-type", get(wrong_type))
        .route("/remember", get(remember))
        .route("/refused", get(refused))
        .route("/ended", get(ended))
}

#[tokio::test]
async fn who_is_to_blame_is_told_what_is_wrong() {
    let db = Db::sqlite().await;
    let policy = Policy::aal2().sessions_per_user(1, OnLimit::Refuse);
    let library = Library::with(&db, |builder| builder.policy(policy));
    let site = library.serve(routes().merge(operations(&library.sessions))).await;

    is_told(&site.visitor().get("/not-logged-in").await, 401, "nobody is logged in");
    is_told(&site.visitor().get("/refused").await, 401, "authenticate again");
    let mut ada = site.user("ada").await;
    is_told(&site.visitor().get("/log-in/ada").await, 403, "as many sessions as are allowed");
    is_told(&ada.get("/invalid-data").await, 413, "\"big\"");
    is_told(&ada.get("/invalid-user").await, 400, "the user id is empty");
    assert_eq!(ada.get("/recent").await.status, 200);
    db.pass(minutes(2)).await;
    is_told(&ada.get("/recent").await, 403, "authenticate again");
    let response = ada.get("/ended").await;
    is_told(&response, 401, "the session has ended");
    assert!(response.sets_no_cookie());
}

#[tokio::test]
async fn who_was_overtaken_is_told_to_try_again() {
    let db = Db::sqlite().await;
    let library = Library::over(&db);
    let pause = Pause::new();
    let paused = pause.clone();
    let again = async move |session: Session| {
        paused.here().await;
        session.reauthenticate().await
    };
    let renew = |session: Session| async move { session.renew().await };
    let app = routes().route("/again", get(again)).route("/renew", get(renew));
    let site = library.serve(app).await;
    let ada = site.user("ada").await;
    let mut connection = ada.begin("/again").await;
    pause.reached().await;
    assert_eq!(ada.clone().get("/renew").await.status, 200);
    pause.go_on();
    let response = connection.response().await.unwrap();
    is_told(&response, 409, "another request renewed this session");
    assert!(response.sets_no_cookie());
}

#[tokio::test]
async fn what_is_not_the_visitors_fault_is_told_without_the_inside() {
    let db = Db::sqlite().await;
    let library = Library::with(&db, |builder| builder.policy(Policy::aal2()));
    let app = routes().merge(operations(&library.sessions));
    let site = library.serve(app).await;
    let mut guest = site.guest().await;
    let same = |response: Response, status: u16| {
        assert_eq!((response.status, response.body.as_str()), (status, NOT_NOW));
    };

    same(guest.get("/wrong-type").await, 500);
    // A wrong set-up is shown only in a build for debugging.
    let response = guest.get("/remember").await;
    if cfg!(debug_assertions) {
        is_told(&response, 500, "the policy has no \"remember me\"");
    } else {
        same(response, 500);
    }

    site.spy.fail(Load);
    same(guest.get("/").await, 503);
    site.spy.let_all_pass();
    db.run("", "alter table sessions rename to moved").await;
    same(guest.get("/").await, 503);
    db.run("", "alter table moved rename to sessions").await;
    assert_eq!(guest.get("/").await.body, "a guest");
}

#[tokio::test]
async fn who_loses_each_race_is_told_to_come_back() {
    let db = Db::sqlite().await;
    let update = |session: Session| async move { session.update("n", |n: &mut u32| *n += 1).await };
    let app = routes().route("/update", get(update));
    let site = Library::over(&db).serve(app).await;
    let mut guest = site.guest().await;
    site.spy.overtake_each_save(&db);
    // By the handler's call, and by the layer's.
    let (by_handler, by_layer) =
        tokio::join!(async { guest.clone().get("/update").await }, async {
            guest.clone().get("/put/a/2").await
        },);
    assert_eq!((by_handler.status, by_handler.body.as_str()), (503, NOT_NOW));
    assert_eq!((by_layer.status, by_layer.body.as_str()), (503, NOT_NOW));
    assert!(by_handler.sets_no_cookie() && by_layer.sets_no_cookie());
    site.spy.let_all_pass();
    assert_eq!(guest.get("/get/a").await.body, "1");
}
