use std::{convert::Infallible, sync::Arc};

use http::{Request, Response, header};
use sessile::{Client, Session, SessionCookie, SessionLayer, Sessions, minutes};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{
    Browser, Db, cases,
    tap::{Spy, Verb},
};

cases! {
    promise_08_an_untouched_anonymous_request_costs_nothing,
    promise_08_a_request_that_never_asks_for_its_session_costs_nothing,
    promise_08_a_read_costs_one_statement,
    promise_08_a_read_and_a_write_cost_two,
    promise_08_a_session_that_is_extracted_twice_is_loaded_once,
    promise_08_a_touch_is_written_once_in_a_twentieth_of_the_idle_timeout,
}

fn spied(db: &Db) -> (Sessions, Arc<Spy>) {
    let spy = Spy::new();
    (db.tapped(&spy).idle_timeout(minutes(60)).build().unwrap(), spy)
}

async fn promise_08_an_untouched_anonymous_request_costs_nothing(db: Db) {
    let (sessions, spy) = spied(&db);
    let session = sessions.open(None, Client::new()).await.unwrap();
    assert_eq!(session.get::<u64>("n").unwrap(), None);
    assert_eq!((session.id(), session.user_id()), (None, None));
    // Nothing is left to write.
    session.insert("n", 1).unwrap();
    session.remove("n");
    session.clear();
    session.renew().await.unwrap();
    session.refresh().await.unwrap();
    session.save().await.unwrap();
    session.log_out().await.unwrap();
    assert_eq!(session.finish().await.unwrap(), sessile::CookieChange::Keep);
    assert_eq!(spy.calls(), []);
    assert_eq!(db.rows().await, 0);
}

async fn promise_08_a_request_that_never_asks_for_its_session_costs_nothing(db: Db) {
    let (sessions, spy) = spied(&db);
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    spy.calls();
    let response = request(&sessions, browser.cookie.as_deref(), Asks::Never).await;
    assert!(!response.headers().contains_key(header::SET_COOKIE));
    assert_eq!(spy.calls(), []);
}

async fn promise_08_a_read_costs_one_statement(db: Db) {
    let (sessions, spy) = spied(&db);
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    spy.calls();
    let session = browser.open(&sessions).await;
    session.get::<u64>("n").unwrap();
    session.user_id();
    session.require_recent(minutes(1)).unwrap();
    session.finish().await.unwrap();
    assert_eq!(spy.calls(), [(Verb::Load, 1)]);
}

async fn promise_08_a_read_and_a_write_cost_two(db: Db) {
    let (sessions, spy) = spied(&db);
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    db.pass(minutes(30)).await;
    spy.calls();
    // A touch is due, but a save is a touch too.
    let session = browser.open(&sessions).await;
    session.insert("n", 1).unwrap();
    session.insert("m", 2).unwrap();
    session.remove("n");
    session.finish().await.unwrap();
    assert_eq!(spy.calls(), [(Verb::Load, 1), (Verb::Save, 1)]);

    let session = browser.open(&sessions).await;
    session.update("n", |n: &mut u64| *n += 1).await.unwrap();
    session.finish().await.unwrap();
    assert_eq!(spy.calls(), [(Verb::Load, 1), (Verb::Save, 1)]);

    // The first write of a visitor reads nothing.
    let session = sessions.open(None, Client::new()).await.unwrap();
    session.insert("n", 1).unwrap();
    session.finish().await.unwrap();
    assert_eq!(spy.calls(), [(Verb::Create, 1)]);
}

async fn promise_08_a_session_that_is_extracted_twice_is_loaded_once(db: Db) {
    let (sessions, spy) = spied(&db);
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    spy.calls();
    request(&sessions, browser.cookie.as_deref(), Asks::Twice).await;
    assert_eq!(spy.calls(), [(Verb::Load, 1), (Verb::Save, 1)]);
    assert_eq!(browser.open(&sessions).await.keys(), ["a", "b"]);
}

async fn promise_08_a_touch_is_written_once_in_a_twentieth_of_the_idle_timeout(db: Db) {
    let (sessions, spy) = spied(&db);
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let (mut loads, mut touches) = (0, 0);
    spy.calls();
    for _ in 0..12 {
        db.pass(minutes(1)).await;
        let session = browser.open(&sessions).await;
        session.finish().await.unwrap();
        // A touch is written in the background.
        sessions.flush().await.unwrap();
        for (verb, calls) in spy.calls() {
            match verb {
                Verb::Load => loads += calls,
                Verb::Touch => touches += calls,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((loads, touches), (12, 4));
}

#[derive(Clone, Copy)]
enum Asks {
    Never,
    Twice,
}

/// A request through the tower layer.
async fn request(sessions: &Sessions, cookie: Option<&str>, asks: Asks) -> Response<String> {
    let layer = SessionLayer::new(sessions.clone()).cookie(SessionCookie::default());
    let handler = layer.layer(service_fn(move |request: Request<()>| async move {
        if let Asks::Twice = asks {
            for key in ["a", "b"] {
                let session = Session::of(request.extensions()).await.unwrap();
                session.insert(key, 1).unwrap();
            }
        }
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let cookie = cookie.map(|value| format!("__Host-id={value}")).unwrap_or_default();
    let request = Request::builder().header(header::COOKIE, cookie).body(()).unwrap();
    handler.oneshot(request).await.unwrap()
}
