//! When changes are written: the table in the documentation of `sessile::http`, row by row.

use std::sync::Arc;

use axum::{Router, extract::Path, response::Redirect, routing::get};
use http::StatusCode;
use sessile::{Error, Session};
use tokio::sync::Semaphore;

use crate::{
    pause::Pause,
    site::{Site, Visitor, routes},
    support::{
        Db, cases,
        tap::Verb::{Create, Load, Save},
    },
};

cases! {
    the_response_waits_for_the_save,
    the_first_cookie_waits_for_its_row,
    an_answer_up_to_4xx_is_written,
    a_5xx_drops_what_was_recorded,
    a_5xx_lets_stand_what_acted_at_once,
    a_5xx_hands_out_a_new_secret,
    a_5xx_takes_no_cookie_away,
    a_panic_writes_nothing,
    a_browser_that_goes_away_writes_nothing,
    a_browser_that_goes_away_leaves_what_acted_at_once,
    a_session_that_ends_in_flight_is_401,
    a_log_out_holds_before_its_response,
}

/// `/as/{status}/{what}`: does the action, and answers with that status.
fn with_status() -> Router {
    let handler = |session: Session, Path((status, what)): Path<(u16, String)>| async move {
        match what.as_str() {
            "put" => session.insert("a", "new")?,
            "update" => session.update("a", |a: &mut String| "updated".clone_into(a)).await?,
            "save" => {
                session.insert("a", "saved")?;
                session.save().await?;
                session.insert("a", "not saved")?;
            }
            "log-in" => {
                session.log_in("ada").await?;
                session.insert("a", "new")?;
            }
            "renew" => session.renew().await?,
            "log-out" => drop(session.log_out().await?),
            _ => {}
        }
        Ok::<_, Error>((StatusCode::from_u16(status).unwrap(), "the handler's"))
    };
    Router::new().route("/as/{status}/{what}", get(handler))
}

/// `/slow`: records a value, stops, and answers 200; `/slow/{status}` another one.
fn slow(pause: &Pause) -> Router {
    let handler = |pause: Pause| {
        async move |session: Session, status: Option<Path<u16>>| {
            session.insert("a", "slow")?;
            pause.here().await;
            let Path(status) = status.unwrap_or(Path(200));
            Ok::<_, Error>((StatusCode::from_u16(status).unwrap(), "the handler's"))
        }
    };
    Router::new()
        .route("/slow", get(handler(pause.clone())))
        .route("/slow/{status}", get(handler(pause.clone())))
}

async fn a_of(visitor: &Visitor) -> String {
    visitor.clone().get("/get/a").await.body
}

async fn the_response_waits_for_the_save(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let guest = site.guest().await;
    let pause = site.spy.stop(Save);
    let mut connection = guest.begin("/put/a/2").await;
    pause.reached().await;
    // Enough time for a response, if there were one.
    for _ in 0..5 {
        assert_eq!(guest.clone().get("/get/a").await.body, "1");
    }
    assert!(connection.is_silent());

    site.spy.let_all_pass();
    pause.go_on();
    assert_eq!(connection.response().await.unwrap().body, "put");
    assert_eq!(a_of(&guest).await, "2");
}

async fn the_first_cookie_waits_for_its_row(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let pause = site.spy.stop(Create);
    let mut connection = site.visitor().begin("/put/a/1").await;
    pause.reached().await;
    for _ in 0..5 {
        assert_eq!(site.visitor().get("/").await.body, "nobody");
    }
    assert!(connection.is_silent());
    assert_eq!(db.rows().await, 0);

    pause.go_on();
    assert_eq!(connection.response().await.unwrap().set_cookie().name, "__Host-id");
    assert_eq!(db.rows().await, 1);
}

async fn an_answer_up_to_4xx_is_written(db: Db) {
    let redirect = |session: Session| async move {
        session.insert("a", "redirected")?;
        Ok::<_, Error>(Redirect::to("/"))
    };
    let app = routes().merge(with_status()).route("/redirect", get(redirect));
    let site = Site::serve(&db, app).await;
    for status in [200, 201, 302, 400, 401, 404, 409, 499] {
        let guest = site.guest().await;
        let response = guest.clone().get(&format!("/as/{status}/put")).await;
        assert_eq!((response.status, response.body.as_str()), (status, "the handler's"));
        assert_eq!(a_of(&guest).await, "new", "{status}");

        let mut visitor = site.visitor();
        assert_eq!(visitor.get(&format!("/as/{status}/put")).await.status, status);
        assert_eq!(a_of(&visitor).await, "new", "{status}");
    }
    let mut visitor = site.visitor();
    let response = visitor.get("/redirect").await;
    assert_eq!((response.status, response.one("location")), (303, Some("/")));
    assert_eq!(a_of(&visitor).await, "redirected");
}

async fn a_5xx_drops_what_was_recorded(db: Db) {
    let site = Site::serve(&db, routes().merge(with_status())).await;
    let guest = site.guest().await;
    for status in [500, 502, 503, 599] {
        let response = guest.clone().get(&format!("/as/{status}/put")).await;
        assert_eq!((response.status, response.body.as_str()), (status, "the handler's"));
        assert!(response.sets_no_cookie());
        assert_eq!(site.spy.take(), [Load]);
        assert_eq!(a_of(&guest).await, "1", "{status}");
        site.spy.take();

        let mut visitor = site.visitor();
        assert!(visitor.get(&format!("/as/{status}/put")).await.sets_no_cookie());
        assert!(site.spy.take().is_empty());
    }
    assert_eq!(db.rows().await, 1);
}

async fn a_5xx_lets_stand_what_acted_at_once(db: Db) {
    let site = Site::serve(&db, routes().merge(with_status())).await;
    for (what, value) in [("update", "updated"), ("save", "saved")] {
        let guest = site.guest().await;
        let response = guest.clone().get(&format!("/as/500/{what}")).await;
        assert_eq!(response.status, 500);
        assert!(response.sets_no_cookie());
        assert_eq!(a_of(&guest).await, value);

        // The row exists, so the browser gets its cookie.
        let mut visitor = site.visitor();
        assert_eq!(visitor.get(&format!("/as/500/{what}")).await.status, 500);
        assert_eq!(a_of(&visitor).await, value);
    }
}

async fn a_5xx_hands_out_a_new_secret(db: Db) {
    let site = Site::serve(&db, routes().merge(with_status())).await;
    for (what, who) in [("log-in", "ada"), ("renew", "a guest")] {
        let mut guest = site.guest().await;
        let mut before = guest.clone();
        let response = guest.get(&format!("/as/500/{what}")).await;
        assert_eq!((response.status, response.body.as_str()), (500, "the handler's"));
        assert_eq!(response.all("cache-control"), ["no-store"]);
        assert_eq!(response.all("vary"), ["cookie"]);
        assert_eq!(response.set_cookies().len(), 1);
        assert_eq!(guest.get("/").await.body, who);
        assert_eq!(a_of(&guest).await, "1");
        assert_eq!(before.get("/").await.body, "nobody");
    }
}

async fn a_5xx_takes_no_cookie_away(db: Db) {
    let site = Site::serve(&db, routes().merge(with_status())).await;
    let mut guest = site.guest().await;
    assert!(guest.get("/as/500/log-out").await.sets_no_cookie());
    assert_eq!(db.rows().await, 0);
    assert!(guest.get("/as/503/nothing").await.sets_no_cookie());
    // No other answer removes it either, except the answer to a log-out.
    assert!(guest.get("/as/404/nothing").await.sets_no_cookie());
    assert!(guest.get("/as/404/log-out").await.removes_the_cookie());
}

async fn a_panic_writes_nothing(db: Db) {
    let handler = |session: Session| async move {
        session.insert("a", "new").unwrap();
        // Without a panic message in the output of the tests.
        std::panic::resume_unwind(Box::new("a handler's mistake"));
        #[expect(unreachable_code)]
        "never"
    };
    let site = Site::serve(&db, routes().route("/panic", get(handler))).await;
    let guest = site.guest().await;
    assert!(guest.clone().try_get("/panic").await.is_none());
    assert!(site.visitor().try_get("/panic").await.is_none());
    assert_eq!(a_of(&guest).await, "1");
    assert_eq!(site.spy.take(), [Load, Load]);
    assert_eq!(db.rows().await, 1);
}

/// Reports when its handler is gone.
struct Gone(Arc<Semaphore>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// `/{what}`: does the action, records a value, and never ends. The semaphore counts the handlers that were
/// dropped.
fn endless(pause: &Pause) -> (Router, Arc<Semaphore>) {
    let gone = Arc::new(Semaphore::new(0));
    let (pause, counter) = (pause.clone(), gone.clone());
    let handler = async move |session: Session, Path(what): Path<String>| {
        let _gone = Gone(counter);
        match what.as_str() {
            "update" => session.update("n", |n: &mut String| "1".clone_into(n)).await?,
            "log-in" => session.log_in("ada").await?,
            _ => {}
        }
        session.insert("a", "new")?;
        pause.here().await;
        Ok::<_, Error>("never")
    };
    (Router::new().route("/endless/{what}", get(handler)), gone)
}

async fn a_browser_that_goes_away_writes_nothing(db: Db) {
    let pause = Pause::new();
    let (endless, gone) = endless(&pause);
    let site = Site::serve(&db, routes().merge(endless)).await;
    let guest = site.guest().await;
    for visitor in [&guest, &site.visitor()] {
        let connection = visitor.begin("/endless/put").await;
        pause.reached().await;
        drop(connection);
        gone.acquire().await.unwrap().forget();
    }
    // But a statement that was sent runs to its end, even if its caller gives up.
    let stopped = site.spy.stop(Save);
    let connection = guest.begin("/endless/update").await;
    stopped.reached().await;
    drop(connection);
    gone.acquire().await.unwrap().forget();
    assert_eq!(guest.clone().get("/get/n").await.body, "nothing");
    stopped.go_on();
    while guest.clone().get("/get/n").await.body == "nothing" {
        tokio::task::yield_now().await;
    }
    assert_eq!(guest.clone().get("/get/n").await.body, "1");
    assert_eq!(a_of(&guest).await, "1");
    assert_eq!(site.spy.take()[..4], [Load, Load, Save, Load]);
    assert_eq!(db.rows().await, 1);
}

async fn a_browser_that_goes_away_leaves_what_acted_at_once(db: Db) {
    let pause = Pause::new();
    let (endless, gone) = endless(&pause);
    let site = Site::serve(&db, routes().merge(endless)).await;
    let mut guest = site.guest().await;
    let go_away = async |path| {
        let connection = guest.begin(path).await;
        pause.reached().await;
        drop(connection);
        gone.acquire().await.unwrap().forget();
    };
    go_away("/endless/update").await;
    assert_eq!(guest.clone().get("/get/n").await.body, "1");
    assert_eq!(a_of(&guest).await, "1");

    // The browser never got its new cookie, and the old one is dead. The layer does not remove it, because it
    // cannot know that the answer was lost.
    go_away("/endless/log-in").await;
    assert_eq!(site.sessions.count_of_user("ada").await.unwrap(), 1);
    let response = guest.get("/").await;
    assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("nobody", true));
}

async fn a_session_that_ends_in_flight_is_401(db: Db) {
    let pause = Pause::new();
    let site = Site::serve(&db, routes().merge(slow(&pause))).await;
    for status in [200, 404, 500] {
        let ada = site.user("ada").await;
        let mut connection = ada.begin(&format!("/slow/{status}")).await;
        pause.reached().await;
        assert_eq!(site.sessions.revoke_user("ada").await.unwrap().ended, 1);
        pause.go_on();
        let response = connection.response().await.unwrap();
        if status == 500 {
            // The recorded change is dropped in each case.
            assert_eq!((response.status, response.body.as_str()), (500, "the handler's"));
        } else {
            assert_eq!(response.status, 401);
            assert!(response.body.contains("the session has ended"), "{}", response.body);
        }
        assert!(response.sets_no_cookie());
        assert_eq!(db.rows().await, 0);
    }
}

async fn a_log_out_holds_before_its_response(db: Db) {
    let pause = Pause::new();
    let handler = |pause: Pause| {
        async move |session: Session, Path(how): Path<String>| {
            match how.as_str() {
                "here" => session.log_out().await?,
                _ => session.log_out_everywhere().await?,
            };
            pause.here().await;
            Ok::<_, Error>("out")
        }
    };
    let app = routes().route("/slowly-out/{how}", get(handler(pause.clone())));
    let site = Site::serve(&db, app).await;

    let (ada, mut phone) = (site.user("ada").await, site.user("ada").await);
    let mut connection = ada.begin("/slowly-out/here").await;
    pause.reached().await;
    assert_eq!(ada.clone().get("/").await.body, "nobody");
    assert_eq!(phone.get("/").await.body, "ada");
    assert!(connection.is_silent());
    pause.go_on();
    assert!(connection.response().await.unwrap().removes_the_cookie());

    let ada = site.user("ada").await;
    let mut connection = ada.begin("/slowly-out/everywhere").await;
    pause.reached().await;
    assert_eq!(ada.clone().get("/").await.body, "nobody");
    let response = phone.get("/").await;
    assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("nobody", true));
    assert!(connection.is_silent());
    pause.go_on();
    assert!(connection.response().await.unwrap().removes_the_cookie());
    assert_eq!(db.rows().await, 0);
}
