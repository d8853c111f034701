//! A request with a secret that another request of the same browser replaced a moment ago.

use axum::{Router, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sessile::{Error, Session, minutes};

use crate::{
    pause::Pause,
    site::{Site, Visitor, cookies, routes},
    support::{
        Db, cases,
        tap::Verb::{Create, Load, LogIn},
    },
};

cases! {
    its_write_is_409_and_the_new_cookie_goes_on,
    a_write_that_is_answered_after_a_confirmation_leaves_the_browser_logged_in,
    it_reads_as_nobody_and_a_guard_can_tell_it_from_a_visitor,
    its_log_out_is_409_and_ends_nothing,
    its_log_in_gets_a_session_and_a_cookie,
    after_a_minute_it_is_an_ordinary_dead_cookie,
    any_other_wrong_secret_is_an_ordinary_dead_cookie,
}

/// Further routes: to get a new secret (`/again`, `/renew`), other writes, and a guard's checks (`/tells`).
fn app() -> Router {
    let again = |session: Session| async move { session.reauthenticate().await };
    let renew = |session: Session| async move { session.renew().await };
    let update = |session: Session| async move {
        session.update("late", |late: &mut String| "yes".clone_into(late)).await
    };
    let save = |session: Session| async move {
        session.insert("late", "yes")?;
        session.save().await
    };
    let clear = |session: Session| async move {
        session.clear();
        "cleared"
    };
    let tells = |session: Session| async move {
        format!("{:?} {:?} {}", session.id(), session.user_id(), session.is_superseded())
    };
    let out_everywhere =
        |session: Session| async move { session.log_out_everywhere().await.map(drop) };
    routes()
        .route("/again", get(again))
        .route("/renew", get(renew))
        .route("/update", get(update))
        .route("/save", get(save))
        .route("/clear", get(clear))
        .route("/tells", get(tells))
        .route("/out-everywhere", get(out_everywhere))
}

/// A browser with a new secret, and a tab of it with the old one.
async fn replaced(site: &Site, by: &str) -> (Visitor, Visitor) {
    let mut ada = site.user("ada").await;
    let tab = ada.clone();
    assert_eq!(ada.get(by).await.status, 200);
    assert_ne!(ada.token(), tab.token());
    site.spy.take();
    (ada, tab)
}

async fn its_write_is_409_and_the_new_cookie_goes_on(db: Db) {
    let site = Site::serve(&db, app()).await;
    for by in ["/again", "/renew"] {
        let (mut ada, tab) = replaced(&site, by).await;
        let rows = db.rows().await;
        for path in ["/put/late/yes", "/update", "/save", "/clear"] {
            let response = tab.clone().get(path).await;
            assert_eq!((response.status, response.sets_no_cookie()), (409, true), "{by}, {path}");
            assert!(response.body.contains("another request renewed this session"), "{path}");
            assert_eq!(response.all("vary"), ["cookie"]);
            assert_eq!(site.spy.take(), [Load], "{by}, {path}");
            ada.keep_cookies_of(&response);
        }
        assert_eq!(db.rows().await, rows);
        assert_eq!(ada.get("/").await.body, "ada", "{by}");
        assert_eq!(ada.get("/get/late").await.body, "nothing", "{by}");
    }
}

/// A browser on a slow network: a post leaves with the old cookie, and its answer arrives last.
async fn a_write_that_is_answered_after_a_confirmation_leaves_the_browser_logged_in(db: Db) {
    let pause = Pause::new();
    let before_it_asks = pause.clone();
    let slow = async move |request: axum::extract::Request| {
        before_it_asks.here().await;
        let session = Session::of(request.extensions()).await?;
        session.insert("cart", "one more")?;
        Ok::<_, Error>("put")
    };
    let site = Site::serve(&db, app().route("/slow", get(slow))).await;
    for by in ["/again", "/renew"] {
        let mut ada = site.user("ada").await;
        let mut post = ada.begin("/slow").await;
        pause.reached().await;
        assert_eq!(ada.get(by).await.status, 200);
        pause.go_on();
        let response = post.response().await.unwrap();
        assert_eq!((response.status, response.sets_no_cookie()), (409, true), "{by}");
        ada.keep_cookies_of(&response);
        assert_eq!(ada.get("/").await.body, "ada", "{by}");
        // A second try is written.
        let again = ada.get("/put/cart/again").await;
        assert_eq!((again.status, again.sets_no_cookie()), (200, true));
        assert_eq!(ada.get("/get/cart").await.body, "again");
    }
}

async fn it_reads_as_nobody_and_a_guard_can_tell_it_from_a_visitor(db: Db) {
    let site = Site::serve(&db, app()).await;
    for by in ["/again", "/renew", "/log-in/ada"] {
        let (mut ada, mut tab) = replaced(&site, by).await;
        for (path, body) in [("/", "nobody"), ("/get/a", "nothing"), ("/tells", "None None true")] {
            let response = tab.get(path).await;
            assert_eq!((response.status, response.body.as_str()), (200, body), "{by}");
            assert!(response.sets_no_cookie(), "{by}, {path}");
            assert_eq!(response.all("vary"), ["cookie"]);
        }
        assert_eq!(ada.get("/").await.body, "ada");
    }
    // Neither a visitor nor a dead cookie counts as superseded.
    assert_eq!(site.visitor().get("/tells").await.body, "None None false");
    let mut dead = site.user("bob").await;
    site.sessions.revoke_user("bob").await.unwrap();
    assert_eq!(dead.get("/tells").await.body, "None None false");
}

async fn its_log_out_is_409_and_ends_nothing(db: Db) {
    let site = Site::serve(&db, app()).await;
    let _phone = site.user("ada").await;
    let (mut ada, tab) = replaced(&site, "/again").await;
    for path in ["/log-out", "/out-everywhere"] {
        let response = tab.clone().get(path).await;
        assert_eq!((response.status, response.sets_no_cookie()), (409, true), "{path}");
        assert!(response.body.contains("try again"), "{}", response.body);
        assert_eq!(site.spy.take(), [Load], "{path}");
        ada.keep_cookies_of(&response);
    }
    assert_eq!(site.sessions.count_of_user("ada").await.unwrap(), 2);
    assert_eq!(ada.get("/").await.body, "ada");
    // With the new cookie, the request has its effect.
    assert!(ada.get("/log-out").await.removes_the_cookie());
    assert_eq!(site.sessions.count_of_user("ada").await.unwrap(), 1);
}

async fn its_log_in_gets_a_session_and_a_cookie(db: Db) {
    let site = Site::serve(&db, app()).await;
    let (mut ada, tab) = replaced(&site, "/again").await;
    ada.get("/put/a/adas").await;
    let mut same_user = tab.clone();
    assert_eq!(same_user.get("/log-in/ada").await.set_cookies().len(), 1);
    assert_eq!(same_user.get("/").await.body, "ada");
    assert_eq!(ada.get("/").await.body, "ada");

    // Another user in the same browser gets a new session, without any data of the first user's.
    site.spy.take();
    let mut other_user = tab.clone();
    assert_eq!(other_user.get("/log-in/bob").await.set_cookies().len(), 1);
    assert_eq!(*site.spy.take().last().unwrap(), LogIn);
    assert_eq!(other_user.get("/").await.body, "bob");
    assert_eq!(other_user.get("/get/a").await.body, "nothing");
    assert_eq!(ada.get("/").await.body, "ada");
    assert_eq!(ada.get("/get/a").await.body, "adas");
}

/// Its session is unreachable, and the session with the other secret does not change.
async fn is_an_ordinary_dead_cookie(site: &Site, ada: &mut Visitor, dead: &Visitor) {
    site.spy.take();
    for (path, body) in [("/", "nobody"), ("/tells", "None None false")] {
        let response = dead.clone().get(path).await;
        assert_eq!((response.body.as_str(), response.sets_no_cookie()), (body, true));
        assert_eq!(site.spy.take(), [Load]);
    }
    let mut writes = dead.clone();
    let response = writes.get("/put/late/yes").await;
    assert_eq!((response.status, response.body.as_str()), (200, "put"));
    assert_eq!(site.spy.take(), [Load, Create]);
    assert_ne!(response.set_cookie().value[..16], ada.token()[..16]);
    assert_eq!(writes.get("/").await.body, "a guest");

    site.spy.take();
    assert!(dead.clone().get("/log-out").await.removes_the_cookie());
    assert_eq!(site.spy.take(), [Load]);
    let mut logs_in = dead.clone();
    logs_in.get("/log-in/bob").await;
    assert_eq!(logs_in.get("/").await.body, "bob");

    assert_eq!(ada.get("/").await.body, "ada");
    assert_eq!(ada.get("/get/late").await.body, "nothing");
}

async fn after_a_minute_it_is_an_ordinary_dead_cookie(db: Db) {
    let site = Site::serve(&db, app()).await;
    let (mut ada, tab) = replaced(&site, "/again").await;
    db.pass(minutes(1) - std::time::Duration::from_secs(20)).await;
    assert_eq!(tab.clone().get("/tells").await.body, "None None true");
    db.pass(std::time::Duration::from_secs(20)).await;
    is_an_ordinary_dead_cookie(&site, &mut ada, &tab).await;
}

async fn any_other_wrong_secret_is_an_ordinary_dead_cookie(db: Db) {
    let site = Site::serve(&db, app()).await;
    let (mut ada, oldest) = replaced(&site, "/again").await;
    let superseded = ada.clone();
    ada.get("/renew").await;
    // The secret before the replaced one.
    is_an_ordinary_dead_cookie(&site, &mut ada, &oldest).await;
    // Both other secrets, with one bit changed.
    for token in [ada.token().to_owned(), superseded.token().to_owned()] {
        let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        bytes[47] ^= 1;
        let forged = cookies(&[&URL_SAFE_NO_PAD.encode(bytes)]);
        let response = site.get("/tells", std::slice::from_ref(&forged)).await;
        assert_eq!(response.body, "None None false");
        let response = site.get("/put/late/yes", &[forged]).await;
        assert_eq!((response.status, response.set_cookies().len()), (200, 1));
    }
    assert_eq!(superseded.clone().get("/tells").await.body, "None None true");
    assert_eq!(ada.get("/get/late").await.body, "nothing");
}
