//! A WebSocket, which closes when its user logs out anywhere. Messages of the user keep the session alive, and the
//! open socket alone does not.
//!
//! `cargo run --example websocket`, then open http://127.0.0.1:3004 in two tabs, and log out in one of them.

use std::{error::Error, pin::pin};

use axum::{
    Router,
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    response::{Html, Redirect, Response},
    routing::{get, post},
};
use sessile::{CrossSiteLayer, LoggedIn, Session, SessionCookie, SessionLayer, Sessions};

const PAGE: &str = r#"<!doctype html><title>Echo</title>
<form method=post action=/login><button>Log in</button></form>
<form method=post action=/logout><button>Log out</button></form>
<input placeholder="Say something"><pre></pre><script>
const [socket, show] = [new WebSocket("ws://" + location.host + "/echo"), document.querySelector("pre")];
socket.onmessage = ({ data }) => show.append(data + "\n");
socket.onclose = ({ reason }) => show.append((reason || "Not logged in") + "\n");
document.querySelector("input").onchange = ({ target }) => socket.send(target.value);
</script>"#;

async fn echo(user: LoggedIn, session: Session, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |socket| talk(socket, &user.0, session).await)
}

async fn talk(mut socket: WebSocket, user: &str, session: Session) {
    let mut ended = pin!(session.ended());
    loop {
        let answer = tokio::select! {
            () = &mut ended => {
                let close = CloseFrame { code: 1008, reason: "Logged out".into() };
                socket.send(Message::Close(Some(close))).await.ok();
                return;
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => format!("{user}: {text}"),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
        };
        // The user is there. If the session has ended, `ended` tells it.
        session.refresh().await.ok();
        if socket.send(answer.into()).await.is_err() {
            return;
        }
    }
}

async fn log_in(session: Session) -> sessile::Result<Redirect> {
    session.log_in("ada").await.map(|()| Redirect::to("/"))
}

async fn log_out(session: Session) -> sessile::Result<Redirect> {
    session.log_out().await.map(|_| Redirect::to("/"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sessions = Sessions::builder(sessile::connect("sqlite::memory:").await?).build()?;
    sessions.migrate().await?;
    let router = Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/echo", get(echo))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .layer(SessionLayer::new(sessions).cookie(SessionCookie::insecure_for_development()))
        .layer(CrossSiteLayer::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3004").await?;
    println!("Listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
