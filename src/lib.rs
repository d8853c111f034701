//! Server-side web sessions in an application's own Postgres or SQLite, through sqlx.
//!
//! The browser holds an unguessable token in a cookie; everything else is one row of a table that
//! the application can query, join and back up. Sessions survive restarts, end when they should,
//! are listed by user, and can be revoked from any node at once.
//!
//! # A minute's tour
//!
//! ```no_run
//! use axum::{Json, Router, routing::{get, post}};
//! use sessile::{Device, Schedule, Session, SessionLayer, Sessions, days, minutes};
//!
//! async fn add(session: Session, Json(item): Json<String>) -> sessile::Result<()> {
//!     session.update("cart", |cart: &mut Vec<String>| cart.push(item.clone())).await
//! }
//! async fn log_in(session: Session, Json(user): Json<String>) -> sessile::Result<()> {
//!     // … after the password was checked:
//!     session.log_in(user).await
//! }
//! async fn devices(session: Session) -> sessile::Result<Json<Vec<Device>>> {
//!     Ok(Json(session.devices().await?))
//! }
//! async fn log_out_everywhere(session: Session) -> sessile::Result<()> {
//!     session.log_out_everywhere().await.map(drop)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Or the application's own PgPool or SqlitePool in the place of `connect`.
//! let sessions = Sessions::builder(sessile::connect("sqlite://sessions.db").await?)
//!     .idle_timeout(minutes(30))
//!     .absolute_timeout(days(7))
//!     .build()?;
//! sessions.migrate().await?;
//! let cleanup = sessions.spawn_cleanup(Schedule::cron("*/5 * * * *")?);
//!
//! let app: Router = Router::new()
//!     .route("/cart", post(add))
//!     .route("/login", post(log_in))
//!     .route("/devices", get(devices))
//!     .route("/logout-everywhere", post(log_out_everywhere))
//!     .layer(SessionLayer::new(sessions.clone()));
//! # let _ = (app, cleanup);
//! # Ok(()) }
//! ```
//!
//! # Where to look
//!
//! - [`Session`]: what a handler holds. Values, log-in, log-out, the user's devices.
//! - [`Sessions`]: the whole. Settings, migrations, cleanup, sessions by user, revocation from
//!   outside of a request.
//! - [`http`]: the tower layer and the cookie, and what is written when a handler fails.
//! - [`Policy`]: timeouts and limits, their defaults and where those come from.
//! - [`store`]: the contract with the database, for those who write a store of their own; and
//!   revocation inside the application's own transactions.
//! - [`Error`]: one type, with a [`kind`](Error::kind).
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `postgres` | yes | the Postgres backend (14 or newer) |
//! | `sqlite` | yes | the SQLite backend, SQLite itself included |
//! | `cache` | no | a store that answers repeated loads from memory: `SessionsBuilder::cache` |
//! | `http` | yes | the tower layer and the cookie |
//! | `axum` | yes | the axum extractor, and `IntoResponse` for [`Error`] |
//!
//! TLS to Postgres is sqlx's: the application chooses it with sqlx's own features (`tls-rustls`,
//! `tls-native-tls`).

mod cleanup;
mod client;
mod context;
mod data;
mod error;
mod expiry;
#[cfg(feature = "http")]
pub mod http;
mod policy;
mod realm;
mod session;
mod sessions;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod user_id;

#[cfg(feature = "axum")]
pub use crate::http::LoggedIn;
#[cfg(feature = "http")]
pub use crate::http::{CrossSiteLayer, LogInRequiredLayer, SessionCookie, SessionLayer};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use crate::store::{ConnectOptions, connect, connect_with};
pub use crate::{
    cleanup::{Cleanup, CleanupBuilder, CleanupReport, Schedule},
    client::Client,
    error::{Error, ErrorKind, Result},
    policy::{Policy, days, hours, minutes, seconds},
    realm::Realm,
    session::{BeginLogIn, CookieChange, Device, LogIn, Session, SessionData},
    sessions::{Sessions, SessionsBuilder, UserSessions},
    store::{OnLimit, PageKey, PendingLogIn, Revocation, SessionInfo},
    token::SessionId,
    user_id::UserId,
};

/// The README's example compiles.
#[cfg(all(doctest, feature = "axum", feature = "sqlite", feature = "cron"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The guide's examples compile, and its tests pass.
#[cfg(all(
    doctest,
    feature = "axum",
    feature = "postgres",
    feature = "sqlite",
    feature = "testing"
))]
#[doc = include_str!("../docs/guide.md")]
struct Guide;
