//! More requests than a silent database can take.

use std::{future::Future, task::Poll, time::Duration};

use axum::{Router, body::Body, http::Request, routing::get};
use sessile::{ErrorKind, Session, SessionLayer, Sessions};
use tower::ServiceExt;

use crate::{
    patience::{failed, within},
    proxy::Proxy,
    support::{Browser, Db, cases},
};

cases! {
    @postgres [
        a_full_queue_is_answered_at_once_and_clients_that_give_up_leave_it
    ]
}

/// The number of requests in a queue, and of those in its statements.
const WAITING: usize = 8_192;
const IN_HAND: usize = 2 * 256;

/// Polls each call once.
async fn begin<F: Future>(calls: &mut [std::pin::Pin<Box<F>>]) -> usize {
    let mut done = 0;
    std::future::poll_fn(|context| {
        done =
            calls.iter_mut().map(|call| usize::from(call.as_mut().poll(context).is_ready())).sum();
        Poll::Ready(())
    })
    .await;
    done
}

async fn a_full_queue_is_answered_at_once_and_clients_that_give_up_leave_it(db: Db) {
    let proxy = Proxy::before(&db).await;
    let backend = sessile::connect(&proxy.url).await.unwrap();
    // Long enough that no call reaches its deadline here.
    let deadline = Duration::from_secs(60);
    let sessions = Sessions::builder(backend).deadline(deadline).build().unwrap();
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let cookie = format!("__Host-id={}", browser.cookie.clone().unwrap());
    let app: Router = Router::new()
        .route("/", get(|session: Session| async move { session.user_id().unwrap_or_default() }))
        .layer(SessionLayer::new(sessions.clone()));
    let request = || Request::get("/").header("cookie", &cookie).body(Body::empty()).unwrap();

    proxy.is_silent(true);
    for round in 0..3 {
        let load = || Box::pin(browser.try_open(&sessions));
        let mut calls: Vec<_> = (0..WAITING + IN_HAND).map(|_| load()).collect();
        assert_eq!(begin(&mut calls[..WAITING]).await, 0, "round {round}");
        // The lanes take their first batches.
        tokio::time::sleep(Duration::from_millis(20)).await;
        begin(&mut calls[WAITING..]).await;

        let error = within(Duration::from_secs(1), browser.try_open(&sessions)).await;
        let error = failed(error, ErrorKind::Overloaded);
        assert!(error.is_transient());
        let answer = within(Duration::from_secs(1), app.clone().oneshot(request())).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "1");
        // The browser keeps its cookie.
        assert!(!answer.headers().contains_key("set-cookie"));
        drop(calls);
    }

    proxy.is_silent(false);
    let answer = within(Duration::from_secs(5), app.oneshot(request())).await.unwrap();
    assert_eq!(answer.status(), 200);
}
