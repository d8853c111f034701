//! Helpers for the tests of an application: sessions in memory, cookies of users, sessions of any age.
//!
//! Enable the features `testing` and `sqlite` in the `dev-dependencies` only:
//!
//! ```toml
//! [dev-dependencies]
//! sessile = { version = "0.2", features = ["testing", "sqlite"] }
//! ```
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::{Request, StatusCode};
//! use sessile::{LoggedIn, SessionLayer, Sessions, hours, testing};
//! use tower::ServiceExt;
//!
//! fn app(sessions: Sessions) -> Router {
//!     Router::new()
//!         .route("/", get(async |LoggedIn(user): LoggedIn<i64>| format!("Hello {user}")))
//!         .layer(SessionLayer::new(sessions))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // #[tokio::test] async fn a_session_ends_after_an_idle_hour()
//! let sessions = testing::sessions().await?;
//! let user = testing::log_in(&sessions, 7).await?;
//! let request = || Request::get("/").header("cookie", user.cookie()).body(Body::empty()).unwrap();
//!
//! let response = app(sessions.clone()).oneshot(request()).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//!
//! testing::age(&sessions, user.id(), hours(2)).await?;
//! let response = app(sessions).oneshot(request()).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! # Ok(()) }
//! ```
//!
//! # On the application's own pool
//!
//! All functions except [`sessions`] and [`database`] take any [`Sessions`], also those over your own test
//! database, Postgres or SQLite: `Sessions::builder(pool).build()?`. Call [`Sessions::migrate`] once, before or
//! after your own migrations. `sqlx::test` gives each test such a pool.
//!
//! # Time
//!
//! Sessions expire by the database's clock, so a paused or mocked clock in the test has no effect. Make the session
//! older instead, with [`age`] or [`expire`].
//!
//! Do not use `#[tokio::test(start_paused = true)]` with sqlx. tokio moves a paused clock on when all tasks wait,
//! also when they wait for the database. Time-outs then expire at once, and calls fail with "no connection to
//! the session database was free in time".

use std::{fmt, time::Duration};

use crate::{
    client::Client,
    error::{Error, ErrorKind, Result},
    session::CookieChange,
    sessions::Sessions,
    token::SessionId,
    user_id::UserId,
};

/// New sessions in memory, with the default policy. They are ready to use.
#[cfg(feature = "sqlite")]
pub async fn sessions() -> Result<Sessions> {
    Sessions::builder(database().await?).build()
}

/// A new database in memory, ready to use, for [`Sessions::builder`] with other settings. The database is dropped
/// together with the last of its `Sessions`.
#[cfg(feature = "sqlite")]
pub async fn database() -> Result<crate::store::Backend> {
    let database = crate::connect("sqlite::memory:").await?;
    Sessions::builder(database.clone()).build()?.migrate().await?;
    Ok(database)
}

/// Logs a user in, in a new session.
///
/// # Errors
///
/// As [`Session::log_in`](crate::Session::log_in).
pub async fn log_in(sessions: &Sessions, user_id: impl UserId) -> Result<TestSession> {
    let session = sessions.open([], Client::new()).await?;
    session.log_in(user_id).await?;
    TestSession::of(sessions, &session)
}

/// Begins an anonymous session with one value. Set more values with [`Sessions::data`].
///
/// # Errors
///
/// As [`Session::insert`](crate::Session::insert) and [`Session::save`](crate::Session::save).
pub async fn visit(
    sessions: &Sessions,
    key: &str,
    value: impl serde::Serialize,
) -> Result<TestSession> {
    let session = sessions.open([], Client::new()).await?;
    session.insert(key, value)?;
    session.save().await?;
    TestSession::of(sessions, &session)
}

/// Makes a session older: moves all its times back. If its timeout is then in the past, the session is expired.
///
/// # Errors
///
/// [`SessionEnded`](crate::ErrorKind::SessionEnded) if no row has the id.
pub async fn age(sessions: &Sessions, id: SessionId, by: Duration) -> Result<()> {
    let by = chrono::TimeDelta::from_std(by).map_err(|error| {
        let message = format!("no session is {by:?} old");
        Error::new(ErrorKind::Configuration, message).with_source(error)
    })?;
    match sessions.context().store.age(id, by).await? {
        true => Ok(()),
        false => Err(Error::session_ended()),
    }
}

/// Makes a session just old enough to be expired.
///
/// # Errors
///
/// [`SessionEnded`](crate::ErrorKind::SessionEnded) if no live session has the id.
pub async fn expire(sessions: &Sessions, id: SessionId) -> Result<()> {
    let record = sessions.context().store.load_now(id).await?.ok_or_else(Error::session_ended)?;
    // One millisecond more, because not every database stores a finer time.
    let left = (record.lifetime.valid_until - record.now).to_std().unwrap_or_default();
    age(sessions, id, left + Duration::from_millis(1)).await
}

/// A session that a test has begun, and its cookie. `Debug` does not show the secret.
#[derive(Clone)]
pub struct TestSession {
    id: SessionId,
    token: String,
    #[cfg(feature = "http")]
    realm: crate::Realm,
}

impl TestSession {
    #[cfg_attr(not(feature = "http"), expect(unused_variables))]
    fn of(sessions: &Sessions, session: &crate::Session) -> Result<Self> {
        match (session.id(), session.abandon()) {
            (Some(id), CookieChange::Set { value: token, .. }) => Ok(Self {
                id,
                token,
                #[cfg(feature = "http")]
                realm: sessions.realm().clone(),
            }),
            _ => Err(Error::session_ended()),
        }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The cookie's value.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The value of the request header `Cookie`, for a layer with the default cookie.
    #[cfg(feature = "http")]
    pub fn cookie(&self) -> String {
        self.cookie_named(&crate::SessionCookie::default())
    }

    /// The value of the request header `Cookie`, for a layer with this cookie.
    #[cfg(feature = "http")]
    pub fn cookie_named(&self, cookie: &crate::SessionCookie) -> String {
        format!("{}={}", cookie.clone().of_realm(&self.realm).name(), self.token)
    }
}

impl fmt::Debug for TestSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestSession").field("id", &self.id).finish_non_exhaustive()
    }
}
