//! A log-in of two requests: a password, then a code from an authenticator app (TOTP).
//!
//! `cargo run --example second_factor`, give the secret that it prints to an app, then
//! `curl -b jar -c jar -d user=ada -d password=demo localhost:3001/password`,
//! `curl -b jar -c jar -d code=123456 localhost:3001/code`, `curl -b jar localhost:3001/`.

use std::error::Error;
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::SeqCst};

use axum::routing::{get, post};
use axum::{Form, Router, extract::State, http::StatusCode};
use serde::Deserialize;
use sessile::{Session, SessionCookie, SessionLayer, Sessions, minutes};
use totp_rs::{Builder, Secret, Totp};

type Answer = Result<(StatusCode, &'static str), sessile::Error>;

/// The authenticator of every user. A real application has one secret and one last step for each user.
struct Authenticator {
    totp: Totp,
    /// A code is valid once (RFC 6238, section 5.2): the next code must be of a later step.
    last_step: AtomicU64,
}

#[derive(Deserialize)]
struct Password {
    user: String,
    password: String,
}

async fn password(session: Session, Form(form): Form<Password>) -> Answer {
    if form.password != "demo" {
        return Ok((StatusCode::UNAUTHORIZED, "That is not the password.\n"));
    }
    session.begin_log_in().user(form.user).await?;
    Ok((StatusCode::OK, "Now the code, please.\n"))
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

/// A real application also counts wrong codes for each user, and slows down guessing.
async fn code(app: State<Arc<Authenticator>>, session: Session, form: Form<Code>) -> Answer {
    if session.pending_log_in().is_none() {
        let text = "Begin with the password: there is no log-in, or it has lapsed.\n";
        return Ok((StatusCode::UNAUTHORIZED, text));
    }
    let is_new = |step| app.last_step.fetch_max(step, SeqCst) < step;
    if !app.totp.check_current(&form.code).is_some_and(is_new) {
        return Ok((StatusCode::UNAUTHORIZED, "That is not the code. Try again.\n"));
    }
    session.complete_log_in().await?;
    Ok((StatusCode::OK, "You are in.\n"))
}

async fn who(session: Session) -> String {
    format!("{}\n", session.user_id().as_deref().unwrap_or("nobody"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = sessile::connect("sqlite::memory:").await?;
    let sessions = Sessions::builder(backend).pending_log_in_timeout(minutes(5)).build()?;
    sessions.migrate().await?;
    let secret = Secret::from(*b"a secret for a demo!");
    println!("The secret for the app: {}", secret.to_base32());
    let totp = Builder::new().with_secret(secret).build()?;
    let router = Router::new()
        .route("/", get(who))
        .route("/password", post(password))
        .route("/code", post(code))
        .with_state(Arc::new(Authenticator { totp, last_step: AtomicU64::new(0) }))
        .layer(SessionLayer::new(sessions).cookie(SessionCookie::insecure_for_development()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3001").await?;
    println!("Listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
