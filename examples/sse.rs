//! A stream of server-sent events, which ends when its user logs out: here, on another device, or because an
//! hour passes without another request.
//!
//! `cargo run --example sse`, then `curl -c jar -X POST localhost:3003/login`, `curl -N -b jar localhost:3003/news`,
//! and in another terminal `curl -b jar -X POST localhost:3003/logout`.

use std::{convert::Infallible, error::Error, time::Duration};

use axum::{
    Router,
    response::{Sse, sse::Event},
    routing::{get, post},
};
use futures_util::{Stream, StreamExt, stream};
use sessile::{CrossSiteLayer, LoggedIn, Session, SessionCookie, SessionLayer, Sessions};
use tokio::time::interval;

async fn news(
    LoggedIn(user): LoggedIn,
    session: Session,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let news = stream::unfold(interval(Duration::from_secs(5)), async |mut ticks| {
        ticks.tick().await;
        Some((Event::default().data("Something happened"), ticks))
    });
    let hello = Event::default().data(format!("Hello {user}"));
    // The page reloads at this event, and shows the log-in.
    let end = Event::default().event("session-ended").data("");
    let events = stream::iter([hello]).chain(news).take_until(session.ended());
    Sse::new(events.chain(stream::iter([end])).map(Ok))
}

async fn log_in(session: Session) -> sessile::Result<()> {
    session.log_in("ada").await
}

async fn log_out(session: Session) -> sessile::Result<()> {
    session.log_out().await.map(drop)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sessions = Sessions::builder(sessile::connect("sqlite::memory:").await?).build()?;
    sessions.migrate().await?;
    let router = Router::new()
        .route("/news", get(news))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .layer(SessionLayer::new(sessions).cookie(SessionCookie::insecure_for_development()))
        .layer(CrossSiteLayer::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3003").await?;
    println!("Listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
