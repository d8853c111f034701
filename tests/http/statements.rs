//! The cost of a request: every call of the store is one statement.

use axum::{Router, extract::Request, middleware, middleware::Next, routing::get};
use sessile::{Error, Session, minutes, seconds};

use crate::{
    site::{Site, Visitor, routes},
    support::{
        Db, cases,
        tap::Verb::{self, Create, End, Load, LogIn, Save, Touch},
    },
};

cases! {
    a_request_costs_what_it_does_to_its_session,
    a_session_asked_for_twice_is_loaded_once,
    a_touch_is_due_once_in_a_twentieth_of_the_idle_timeout,
}

async fn cost(site: &Site, visitor: &mut Visitor, path: &str) -> Vec<Verb> {
    assert_eq!(visitor.get(path).await.status, 200, "{path}");
    // A touch is written in the background.
    site.sessions.flush().await.unwrap();
    site.spy.take()
}

async fn a_request_costs_what_it_does_to_its_session(db: Db) {
    let put_ten = |session: Session| async move {
        for i in 0..10 {
            session.insert(&format!("key {i}"), i)?;
        }
        session.remove("a");
        Ok::<_, Error>("ten")
    };
    let update = |session: Session| async move {
        let n = session.update("n", |n: &mut u32| *n += 1).await;
        n.map(|()| "counted")
    };
    let read_ten = |session: Session| async move {
        for i in 0..10 {
            session.get::<u32>(&format!("key {i}"))?;
        }
        Ok::<_, Error>("read")
    };
    let take_back = |session: Session| async move {
        session.remove("no such key");
        "nothing"
    };
    let app = routes()
        .route("/put-ten", get(put_ten))
        .route("/read-ten", get(read_ten))
        .route("/update", get(update))
        .route("/take-back", get(take_back));
    let site = Site::serve(&db, app).await;

    // A request without a cookie queries nothing, until it writes.
    for path in ["/untouched", "/", "/get/a", "/take-back", "/log-out", "/read-ten"] {
        let mut passer_by = site.visitor();
        assert!(cost(&site, &mut passer_by, path).await.is_empty(), "{path}");
        assert!(!passer_by.has_cookie());
    }
    assert_eq!(db.rows().await, 0);
    let mut visitor = site.visitor();
    assert_eq!(cost(&site, &mut visitor, "/put/a/1").await, [Create]);
    assert_eq!(cost(&site, &mut site.visitor(), "/put-ten").await, [Create]);
    assert_eq!(cost(&site, &mut site.visitor(), "/update").await, [Create]);
    assert_eq!(cost(&site, &mut site.visitor(), "/log-in/ada").await, [LogIn]);

    // With a cookie: no statement for a route that does not load the session, one to read, two to read and
    // write.
    assert!(cost(&site, &mut visitor, "/untouched").await.is_empty());
    assert_eq!(visitor.get("/no-such-route").await.status, 404);
    assert!(site.spy.take().is_empty());
    for path in ["/", "/get/a", "/get/none", "/read-ten", "/take-back"] {
        assert_eq!(cost(&site, &mut visitor, path).await, [Load], "{path}");
    }
    for path in ["/put/a/2", "/put-ten", "/update"] {
        assert_eq!(cost(&site, &mut visitor, path).await, [Load, Save], "{path}");
    }
    assert_eq!(cost(&site, &mut visitor, "/log-in/ada").await, [Load, LogIn]);
    assert_eq!(cost(&site, &mut visitor, "/log-out").await, [Load, End]);
}

async fn a_session_asked_for_twice_is_loaded_once(db: Db) {
    // A guard, two extractors, and a call by hand: each sees the changes that the others have recorded.
    async fn guard(session: Session, request: Request, next: Next) -> axum::response::Response {
        session.insert("by the guard", "yes").unwrap();
        let by_hand = Session::of(request.extensions()).await.unwrap();
        assert!(by_hand.contains("by the guard"));
        let response = next.run(request).await;
        assert!(session.contains("by the handler"));
        response
    }
    let handler = |first: Session, second: Session| async move {
        first.insert("by the handler", "yes")?;
        let seen: Option<String> = second.get("by the guard")?;
        Ok::<_, Error>(seen.unwrap_or_default())
    };
    let guarded =
        Router::new().route("/guarded", get(handler)).route_layer(middleware::from_fn(guard));
    let site = Site::serve(&db, routes().merge(guarded)).await;
    let mut guest = site.guest().await;
    assert_eq!(guest.get("/guarded").await.body, "yes");
    assert_eq!(site.spy.take(), [Load, Save]);
    assert_eq!(guest.get("/get/by%20the%20guard").await.body, "yes");
    assert_eq!(guest.get("/get/by%20the%20handler").await.body, "yes");

    // The same for an anonymous visitor: one session, one row.
    site.spy.take();
    assert_eq!(site.visitor().get("/guarded").await.set_cookies().len(), 1);
    assert_eq!(site.spy.take(), [Create]);
}

async fn a_touch_is_due_once_in_a_twentieth_of_the_idle_timeout(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let mut guest = site.guest().await;
    db.pass(minutes(2)).await;
    assert_eq!(cost(&site, &mut guest, "/").await, [Load]);
    db.pass(minutes(1) + seconds(1)).await;
    assert_eq!(cost(&site, &mut guest, "/").await, [Load, Touch]);
    assert_eq!(cost(&site, &mut guest, "/").await, [Load]);
    db.pass(minutes(10)).await;
    // A save is a touch too. A route that does not load the session touches nothing.
    assert!(cost(&site, &mut guest, "/untouched").await.is_empty());
    assert_eq!(cost(&site, &mut guest, "/put/a/2").await, [Load, Save]);
    assert_eq!(cost(&site, &mut guest, "/").await, [Load]);
    // Requests every 50 minutes keep a session of one hour alive.
    for _ in 0..3 {
        db.pass(minutes(50)).await;
        assert_eq!(cost(&site, &mut guest, "/").await, [Load, Touch]);
    }
}
