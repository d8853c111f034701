//! A console in an application, with the application's own log-in as its guard.
//!
//! ```sh
//! cargo run -p sessile-console --example mounted            # or with the URL of a database, and an address
//! ```
//!
//! Then open <http://127.0.0.1:3000>.

use std::{env, error::Error};

use axum::{
    Form, Router,
    extract::FromRequestParts,
    http::request::Parts,
    response::{Html, Redirect},
    routing::{get, post},
};
use sessile::{Schedule, Session, SessionCookie, SessionLayer, Sessions, minutes};
use sessile_admin::Database;
use sessile_console::{Access, Console, Refusal};

const PAGE: &str = r#"<!doctype html><title>Log in</title><h1>Log in</h1>
<p>As <b>grace</b> you may end sessions, as <b>alan</b> you may only look, and nobody else may use the console.</p>
<form method="post" action="/login"><label>Name <input name="name" value="grace"></label> <button>Log in</button></form>"#;

#[derive(serde::Deserialize)]
struct LogIn {
    name: String,
}

/// Without a password, because this is an example.
async fn log_in(session: Session, Form(form): Form<LogIn>) -> sessile::Result<Redirect> {
    session.log_in(form.name).await?;
    Ok(Redirect::to("/admin/sessions/"))
}

async fn guard(mut request: Parts) -> Result<Access, Refusal> {
    let session = Session::from_request_parts(&mut request, &()).await?;
    if sessile_console::is_poll(&request) {
        session.set_activity(false); // An open overview does not keep its reader logged in.
    }
    match session.user_id().as_deref() {
        Some("grace") => Ok(Access::full("grace")),
        Some("alan") => Ok(Access::read_only("alan")),
        Some(_) => Err(Refusal::not_allowed()),
        None => Err(Refusal::answer(Redirect::to("/"))),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "sqlite://console-example.db".to_owned());
    let sessions = Sessions::builder(sessile::connect(&url).await?).build()?;
    sessions.migrate().await?;
    let _cleanup = sessions.spawn_cleanup(Schedule::every(minutes(5)));
    let console = Console::new(Database::open(&url).await?, guard).base_path("/admin/sessions");
    let cookie = SessionCookie::insecure_for_development();
    let app = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/login", post(log_in))
        .merge(console.router())
        .layer(SessionLayer::new(sessions).cookie(cookie));
    let address = env::args().nth(2).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("Open http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
