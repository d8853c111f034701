//! The facade: policy and store, and the operations that are not about one request.

mod builder;
mod cutoffs;
mod list;
pub(crate) mod observed;

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Utc};

pub use self::{builder::SessionsBuilder, list::UserSessions};
use self::{cutoffs::RecentCutoffs, observed::Observed};
use crate::{
    cleanup::{Cleanup, CleanupBuilder, CleanupReport, Schedule},
    client::Client,
    error::{Error, ErrorKind, Result},
    policy::Rules,
    session::Session,
    store::{Backend, End, Revocation, Scope, SessionInfo},
    token::{SessionId, Token},
};

/// All the sessions of an application: made once, cloned cheaply, shared by its router, its jobs
/// and its admin pages.
///
/// ```no_run
/// # async fn example(pool: sqlx::PgPool) -> Result<(), sessile::Error> {
/// use sessile::{Schedule, Sessions, days, minutes};
///
/// let sessions = Sessions::builder(pool)
///     .idle_timeout(minutes(30))
///     .absolute_timeout(days(7))
///     .build()?;
/// sessions.migrate().await?;
/// let cleanup = sessions.spawn_cleanup(Schedule::cron("*/5 * * * *")?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Observed,
    rules: Rules,
    cutoffs: RecentCutoffs,
    /// Who writes to a contended session next, on this node: see [`Session::write`].
    turns: [tokio::sync::Mutex<()>; 64],
}

impl Sessions {
    /// Over an application's pool (`PgPool`, `SqlitePool`), what [`connect`](crate::connect())
    /// opened, or any [`Store`](crate::store::Store) as a [`Backend`].
    pub fn builder(backend: impl Into<Backend>) -> SessionsBuilder {
        SessionsBuilder::new(backend.into())
    }

    /// Brings the database's schema to this version's: creates it, or runs the migrations it lacks.
    ///
    /// Nodes may call it at the same time. `sqlx migrate run` with this crate's `migrations` folder
    /// does the same, with the same ledger. The application's own `_sqlx_migrations` is not
    /// touched.
    ///
    /// # Errors
    ///
    /// [`Schema`](ErrorKind::Schema) if the database's schema is newer than this version of the
    /// library.
    pub async fn migrate(&self) -> Result<()> {
        self.store().migrate().await
    }

    /// The session that a cookie's value names, or an anonymous one: what the layer and the
    /// adapters are made of.
    ///
    /// One query; none without a cookie, or for a value that this library cannot have written.
    pub async fn open(&self, cookie: Option<&[u8]>, client: Client) -> Result<Session> {
        let token = cookie.and_then(|value| {
            let token = Token::parse(value);
            if token.is_none() {
                observed::refused_cookie("malformed");
            }
            token
        });
        Session::open(self.clone(), token, client, Instant::now()).await
    }

    /// A user's live sessions, newest first: await it for the first hundred, or page through it.
    ///
    /// ```no_run
    /// # async fn example(sessions: sessile::Sessions) -> Result<(), sessile::Error> {
    /// let newest = sessions.of_user("ada").limit(20).await?;
    /// if let Some(last) = newest.last() {
    ///     let older = sessions.of_user("ada").before(last.id).limit(20).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn of_user(&self, user_id: impl Into<String>) -> UserSessions {
        UserSessions::new(self.clone(), user_id.into())
    }

    /// One live session by its id.
    pub async fn find(&self, id: SessionId) -> Result<Option<SessionInfo>> {
        self.store().find(id).await
    }

    /// How many sessions are live. Reads all of them: for an admin page, not for each request.
    pub async fn count(&self) -> Result<u64> {
        self.store().count(None).await
    }

    /// How many live sessions a user has.
    pub async fn count_of_user(&self, user_id: &str) -> Result<u64> {
        check_user_id(user_id)?;
        self.store().count(Some(user_id)).await
    }

    /// Ends one session, at once and on every node. Returns whether it was live.
    pub async fn revoke(&self, id: SessionId) -> Result<bool> {
        self.end(End { id, user_id: None }, "revoked").await
    }

    /// Ends all sessions of a user. When it returns, no request gets into any of them, and a log-in
    /// of the user whose authentication began before is refused. To do it in a transaction with
    /// other changes, see [`store::postgres`](crate::store::postgres::revoke_user) and
    /// [`store::sqlite`](crate::store::sqlite::revoke_user).
    pub async fn revoke_user(&self, user_id: &str) -> Result<Revocation> {
        check_user_id(user_id)?;
        self.end_all(Scope::User(user_id.to_owned()), "revoked").await
    }

    /// Ends all sessions of a user but one, as [`revoke_user`](Self::revoke_user) does.
    pub async fn revoke_others(&self, user_id: &str, keep: SessionId) -> Result<Revocation> {
        check_user_id(user_id)?;
        self.end_all(Scope::OthersOf(user_id.to_owned(), keep), "revoked").await
    }

    /// Ends every session there is, anonymous ones too, and refuses every log-in that is in flight.
    pub async fn revoke_all(&self) -> Result<Revocation> {
        self.end_all(Scope::All, "revoked").await
    }

    /// Deletes all expired rows now, in batches. An expired session is unusable with or without it.
    pub async fn sweep(&self) -> Result<CleanupReport> {
        self.cleanup(Schedule::every(crate::days(1))).run_once().await
    }

    /// Sweeps on a schedule until it is stopped, with the defaults of [`cleanup`](Self::cleanup).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn_cleanup(&self, schedule: Schedule) -> Cleanup {
        self.cleanup(schedule).spawn()
    }

    /// Sweeps on a schedule, with settings of its own.
    pub fn cleanup(&self, schedule: Schedule) -> CleanupBuilder {
        CleanupBuilder::new(self.clone(), schedule)
    }

    /// Writes what is held back: the touches of the last tenth of a second. For the end of the
    /// application; [`Cleanup::stop`] does it too.
    pub async fn flush(&self) -> Result<()> {
        self.store().flush().await
    }

    pub(crate) async fn end(&self, end: End, reason: &'static str) -> Result<bool> {
        self.store().end(end, reason).await
    }

    pub(crate) async fn end_all(&self, scope: Scope, reason: &'static str) -> Result<Revocation> {
        let revocation = self.store().revoke(&scope, reason).await?;
        if let (Scope::User(user_id) | Scope::OthersOf(user_id, _), Some(at)) =
            (&scope, revocation.cutoff)
        {
            self.0.cutoffs.note(user_id, at);
        } else if let Some(at) = revocation.cutoff {
            self.0.cutoffs.note("", at);
        }
        Ok(revocation)
    }

    /// The last cut-off of this node's that an authentication which began then has followed.
    pub(crate) fn cutoff_before(&self, user_id: &str, began: Instant) -> Option<DateTime<Utc>> {
        self.0.cutoffs.before(user_id, began)
    }

    pub(crate) fn store(&self) -> &Observed {
        &self.0.store
    }

    /// A node's turn to write to a session that others keep changing. Sessions may share one.
    pub(crate) fn turn(&self, id: SessionId) -> &tokio::sync::Mutex<()> {
        // The end of a UUIDv7 is random.
        &self.0.turns[usize::from(id.as_uuid().as_bytes()[15]) % 64]
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.0.rules
    }
}

/// The same for every database: Postgres cannot store U+0000, and a key of an index has a size.
pub(crate) fn check_user_id(user_id: &str) -> Result<()> {
    const MAX: usize = 255;
    let message = if user_id.is_empty() {
        "the user id is empty"
    } else if user_id.len() > MAX {
        "the user id is longer than 255 bytes"
    } else if user_id.contains('\0') {
        "the user id holds U+0000"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidUserId, message))
}
