//! The application under load: a separate process, as in production.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result};
use axum::{Router, http::StatusCode, routing::get};
use harness::{Values, values};
use serde_json::Value;
use sessile::{Client, CookieChange, Session, SessionCookie, SessionLayer, Sessions, days};
use time::Duration;
use tower_sessions::{Expiry, SessionManagerLayer, SessionStore, session::Id};

use crate::peers;

/// The layer around the handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stack {
    /// Nothing.
    Bare,
    Sessile,
    Tower,
}

impl Stack {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Sessile => "sessile",
            Self::Tower => "tower",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    stack: Stack,
    #[arg(long)]
    url: String,
    /// Written before the port is printed: the `Cookie` headers of this many sessions, one on each line.
    #[arg(long)]
    cookies: PathBuf,
    #[arg(long)]
    sessions: usize,
}

/// Serves until the process is killed. Prints its port on standard output.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let (router, cookies) = match arguments.stack {
        Stack::Bare => (Router::new().route("/untouched", get(untouched)), Vec::new()),
        Stack::Sessile => sessile(&arguments).await?,
        Stack::Tower => tower(&arguments).await?,
    };
    std::fs::write(&arguments.cookies, cookies.join("\n")).context("the cookies")?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    Ok(axum::serve(listener, router).await?)
}

async fn untouched() -> &'static str {
    "ok"
}

async fn sessile(arguments: &Arguments) -> Result<(Router, Vec<String>)> {
    async fn read(session: Session) -> sessile::Result<String> {
        Ok(session.get("locale")?.unwrap_or_default())
    }
    async fn write(session: Session) -> sessile::Result<&'static str> {
        let seen: u64 = session.get("seen")?.unwrap_or_default();
        session.insert("seen", seen + 1)?;
        Ok("ok")
    }

    let database = sessile::connect(&arguments.url).await?;
    let sessions =
        Sessions::builder(database).idle_timeout(days(7)).absolute_timeout(days(28)).build()?;
    let mut cookies = Vec::with_capacity(arguments.sessions);
    for _ in 0..arguments.sessions {
        let session = sessions.open(None, Client::new()).await?;
        for (key, value) in values() {
            session.insert(&key, value)?;
        }
        if let CookieChange::Set { value, .. } = session.finish().await? {
            cookies.push(format!("id={value}"));
        }
    }
    let layer = SessionLayer::new(sessions).cookie(SessionCookie::insecure_for_development());
    let router = Router::new()
        .route("/untouched", get(untouched))
        .route("/read", get(read))
        .route("/write", get(write))
        .layer(layer);
    Ok((router, cookies))
}

async fn tower(arguments: &Arguments) -> Result<(Router, Vec<String>)> {
    use tower_sessions::Session;

    const FAILED: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

    async fn read(session: Session) -> Result<String, StatusCode> {
        Ok(session.get("locale").await.or(Err(FAILED))?.unwrap_or_default())
    }
    async fn write(session: Session) -> Result<&'static str, StatusCode> {
        let seen: u64 = session.get("seen").await.or(Err(FAILED))?.unwrap_or_default();
        session.insert("seen", Value::from(seen + 1)).await.or(Err(FAILED))?;
        Ok("ok")
    }

    let store = peers::tower_postgres(&arguments.url).await?;
    let mut cookies = Vec::with_capacity(arguments.sessions);
    let data: Values = values();
    for _ in 0..arguments.sessions {
        let mut record = peers::tower_record(Id::default(), data.clone());
        store.create(&mut record).await?;
        cookies.push(format!("id={}", record.id));
    }
    let layer = SessionManagerLayer::new(store)
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(Duration::days(7)));
    let router = Router::new()
        .route("/untouched", get(untouched))
        .route("/read", get(read))
        .route("/write", get(write))
        .layer(layer);
    Ok((router, cookies))
}
