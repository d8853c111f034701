//! A response that waits for its own body.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::Request,
    routing::get,
};
use futures_core::Stream;
use sessile::{Session, SessionLayer};
use tower::ServiceExt;

use crate::{
    patience::within,
    support::{Browser, Db, cases, tap},
};

cases! {
    a_response_does_not_wait_for_good_for_an_update_of_its_own_body,
}

async fn a_response_does_not_wait_for_good_for_an_update_of_its_own_body(db: Db) {
    // The update has begun when the handler returns, and only the body polls it further.
    let gate = tap::Gate::after(tap::Verb::Save);
    let sessions = db.tapped(&gate).build().unwrap();
    let (browser, _) = Browser::with(&sessions, "n", serde_json::json!(0)).await;
    let reached = gate.clone();
    let handler = move |session: Session| {
        let gate = reached.clone();
        async move {
            session.insert("m", 1).unwrap();
            let updating = session.clone();
            let mut update: Update =
                Box::pin(async move { updating.update("n", |n: &mut i64| *n += 1).await });
            tokio::select! {
                _ = &mut update => unreachable!("it is held"),
                () = gate.reached() => gate.open(),
            }
            Body::from_stream(Updates(update))
        }
    };
    let app: Router =
        Router::new().route("/", get(handler)).layer(SessionLayer::new(sessions.clone()));
    let cookie = format!("__Host-id={}", browser.cookie.clone().unwrap());
    let request = Request::get("/").header("cookie", cookie).body(Body::empty()).unwrap();
    // The layer waits for six seconds.
    let answer = within(Duration::from_secs(8), app.oneshot(request)).await.unwrap();
    assert_eq!(answer.status(), 503);

    let session = browser.open(&sessions).await;
    assert_eq!(session.get::<i64>("m").unwrap(), None, "the response failed");
    session.update("n", |n: &mut i64| *n += 1).await.unwrap();
}

type Update = Pin<Box<dyn Future<Output = sessile::Result<()>> + Send>>;

/// Polls the update.
struct Updates(Update);

impl Stream for Updates {
    type Item = sessile::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll(context).map(|done| done.err().map(Err))
    }
}
