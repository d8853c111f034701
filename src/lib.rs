//! Server-side web sessions in an application's own Postgres or SQLite, through sqlx.
//!
//! The browser holds an unguessable token in a cookie. Everything else is one row of a table, which the
//! application can query, join and back up. Sessions survive restarts and end on time. An application can list
//! the sessions of a user, and revoke each of them from any node.
//!
//! The [guide](https://docs.rs/sessile/latest/sessile/guide/) begins with an axum application that has a table
//! of users. It covers log-in, second factor, devices, sockets, tests and deployment. It is also
//! `docs/guide.md` in the package.
//!
//! # A short example
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
//! let cleanup = sessions.spawn_cleanup(Schedule::every(minutes(5)));
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
//! - [`Session`]: the session of one request. A handler reads and writes values, logs a user in or out, and lists
//!   the user's devices.
//! - [`Sessions`]: all sessions of an application. Settings, migrations, cleanup, the sessions of a user, and
//!   everything that jobs and admin pages need.
//! - [`http`]: the tower layers and the cookie. Its docs tell when the layer writes, and how it treats a handler
//!   that fails.
//! - [`Policy`]: timeouts and limits, their defaults, and the sources of the defaults.
//! - [`store`]: the contract with the database, if you write your own store. It also has functions that revoke
//!   sessions in your own transaction.
//! - `encryption` (a feature): the data of sessions, sealed in the database, and keyed hashes of their secrets.
//! - `testing` (a feature): sessions in memory and sessions of any age, for the tests of an application.
//! - [`Error`]: the one error type, with a [`kind`](Error::kind).
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `postgres` | yes | the Postgres backend (14 or newer) |
//! | `sqlite` | yes | the SQLite backend, SQLite itself included |
//! | `cache` | no | a store that answers repeated loads from memory: `SessionsBuilder::cache` |
//! | `http` | yes | the tower layer and the cookie |
//! | `axum` | yes | the axum extractors, and `IntoResponse` for [`Error`] |
//! | `encryption` | no | sealed data and keyed hashes of secrets in the database: the module `encryption` |
//! | `cron` | yes | cron expressions for the cleanup: `Schedule::cron` |
//! | `metrics` | no | counts and latencies for the [`metrics`](https://docs.rs/metrics) facade |
//! | `testing` | no | the module `testing`, for the tests of an application |
//!
//! A Postgres-only application needs `default-features = false, features = ["postgres", "axum"]`.
//!
//! sqlx provides TLS to Postgres. The application chooses it with sqlx's own features (`tls-rustls`,
//! `tls-native-tls`).
//!
//! # Events
//!
//! These are the events for the application's own log. The database has a log of its own, for people and tools:
//! [`Policy::record_events`], and `docs/sql.md` in the package.
//!
//! The library emits [tracing](https://docs.rs/tracing) events and spans with the target `sessile`. They contain
//! public ids and user ids, and never a token, a hash or a value.
//!
//! An operator should look at warnings and errors. Events that any client can cause are at debug level, so that
//! no client can fill the log.
//!
//! | event | level | fields |
//! |---|---|---|
//! | `session created` | debug | `session_id` |
//! | `session renewed` | info | `session_id`, `user_id` |
//! | `log-in begun`: a log-in of several requests | debug | `session_id`, `user_id` |
//! | `logged in` | info | `session_id`, `user_id`; `ended`: the number of sessions that the limit ended |
//! | `log-in refused`: the client has the password | warn | `user_id`, `reason` |
//! | `reauthenticated` | info | `session_id`, `user_id` |
//! | `sessions revoked` | info | `scope`, `session_id`, `user_id`, `reason`, `ended` |
//! | `user forgotten` | info | `user_id`, `ended` |
//! | `cookie refused` | debug | `session_id`, `reason` |
//! | `write refused` | debug | `session_id`, `reason` |
//! | `a row cannot be read`: a person has edited it | warn | `session_id`, `error` |
//! | `cache headers overruled` | warn once, then debug | `cache_control` |
//! | `swept` | info, or debug if nothing was deleted | `rows`, `batches`, `elapsed_ms` |
//! | `cleanup panicked`: in its hook or its store; the next run goes on | error | `panic` |
//! | `cleanup abandoned`: at its stop, because the database did not answer | warn | `what` (`run`, `touches`) |
//! | `request failed` | error | `error`, `source` |
//! | `session database failed` | error | `verb`, `error`, `source` |
//! | `touches lost`: once, until they are written again | warn | `error` |
//! | `touches written again` | info | |
//! | `the cache is off: …` | warn | `error` |
//! | `the cache hears of nothing through a pooler: …` | info | |
//! | `a pooler such as PgBouncer is between: …` | warn | |
//! | `the schema is of a newer release, …` | info | `release`, `needs_release` |
//!
//! Each call to the database is a span at debug level, with the verb as its name: `load`, `create`, `save`, `touch`,
//! `log_in`, `end`, `revoke`, `sweep`. Its fields have OpenTelemetry's names for calls to a database, so that
//! [tracing-opentelemetry](https://docs.rs/tracing-opentelemetry) exports it as one:
//!
//! | field | value |
//! |---|---|
//! | `session_id`, `user_id`, `scope` | of the call, as in the events |
//! | `otel.name` | `load sessions` |
//! | `otel.kind` | `client` |
//! | `db.system.name` | `postgresql`, `sqlite`, or the answer of a store's [`system_name`](store::Store::system_name) |
//! | `db.operation.name` | the verb |
//! | `error.type` | only after a failure: the [kind](ErrorKind::as_str) |
//! | `otel.status_code` | only after a failure: `ERROR` |
//!
//! # Metrics
//!
//! The feature `metrics` counts for the facade of that name: latencies, errors, conflicts, retries, the sizes of batches,
//! log-ins and log-outs, and the work of the cleanup. `docs/operations.md` in the package has the table.

mod cleanup;
mod client;
mod context;
mod data;
#[cfg(feature = "encryption")]
pub mod encryption;
mod error;
mod expiry;
mod hasher;
/// From an axum application with a table of users to sessions in production. This module exists only in the docs.
/// Its links to files are relative to the folder `docs` of the package.
#[cfg(all(
    any(doc, doctest),
    feature = "axum",
    feature = "encryption",
    feature = "postgres",
    feature = "sqlite",
    feature = "testing"
))]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}
#[cfg(feature = "http")]
pub mod http;
mod metrics;
mod policy;
mod realm;
mod sealer;
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
#[cfg(feature = "encryption")]
pub use crate::sessions::{Rewrap, RewrapReport};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use crate::store::{ConnectOptions, connect, connect_with};
pub use crate::{
    cleanup::{Cleanup, CleanupBuilder, CleanupReport, Schedule},
    client::Client,
    error::{Error, ErrorKind, Result},
    policy::{Policy, days, hours, minutes, seconds},
    realm::Realm,
    session::{BeginLogIn, CookieChange, Device, LogIn, Session, SessionData},
    sessions::{Revoke, Sessions, SessionsBuilder, UserSessions},
    store::{OnLimit, PageKey, PendingLogIn, Revocation, SessionInfo},
    token::SessionId,
    user_id::UserId,
};

/// The README's example compiles.
#[cfg(all(doctest, feature = "axum", feature = "sqlite"))]
#[doc = include_str!("../README.md")]
struct Readme;
