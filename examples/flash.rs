//! A flash message: the next page shows it once.
//!
//! `cargo run --example flash`, then `curl -L -b jar -c jar -d name=Ada localhost:3002/name`, which shows the
//! message, and `curl -b jar -c jar localhost:3002/`, which does not.

use std::error::Error;

use axum::{
    Form, Router,
    response::Redirect,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use sessile::{Session, SessionCookie, SessionLayer, Sessions};

#[derive(Deserialize, Serialize)]
enum Flash {
    Saved { name: String },
    Empty,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

async fn save(session: Session, Form(form): Form<Name>) -> Result<Redirect, sessile::Error> {
    let flash = match form.name.is_empty() {
        true => Flash::Empty,
        false => Flash::Saved { name: form.name },
    };
    session.insert("flash", flash)?;
    Ok(Redirect::to("/"))
}

async fn page(session: Session) -> Result<String, sessile::Error> {
    Ok(match session.take("flash").await? {
        Some(Flash::Saved { name }) => format!("Saved: {name}.\n"),
        Some(Flash::Empty) => "A name, please.\n".to_owned(),
        None => "Nothing new.\n".to_owned(),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sessions = Sessions::builder(sessile::connect("sqlite::memory:").await?).build()?;
    sessions.migrate().await?;
    let router = Router::new()
        .route("/", get(page))
        .route("/name", post(save))
        .layer(SessionLayer::new(sessions).cookie(SessionCookie::insecure_for_development()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3002").await?;
    println!("Listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
