//! The facade: policy and store, and the operations that are not about one request.

mod builder;
mod data;
mod list;

use std::{sync::Arc, time::Instant};

pub use self::{builder::SessionsBuilder, list::UserSessions};
use crate::{
    cleanup::{Cleanup, CleanupBuilder, CleanupReport, Schedule},
    client::Client,
    context::Context,
    error::Result,
    realm::Realm,
    session::{Presented, Session},
    store::{Backend, End, Revocation, Revoke, Scope, SessionInfo},
    token::SessionId,
    user_id::{UserId, checked},
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
pub struct Sessions(Arc<Context>);

impl Sessions {
    /// Over an application's pool (`PgPool`, `SqlitePool`), what [`connect`](crate::connect())
    /// opened, or any [`Store`](crate::store::Store) as a [`Backend`].
    ///
    /// # An application's own pool
    ///
    /// Sessions use up to all of its connections, four fifths of them for writes, and keep a fifth at hand for a
    /// moment after their last use: the application waits 50 ms at most for one that only rests.
    /// Transactions that the application holds open count against the same limit: if a request may
    /// hold one while it uses its session, give the pool one connection more than such requests, or
    /// sessions a pool of their own ([`connect`](crate::connect())).
    ///
    /// A pool that several runtimes use hands a connection of one to another: when the first one ends, a
    /// write of the other's may fail as [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown). A
    /// pool that `connect` opened does not.
    pub fn builder(backend: impl Into<Backend>) -> SessionsBuilder {
        SessionsBuilder::new(backend.into())
    }

    /// Brings the database's schema to this version's: creates it, or runs the migrations it lacks.
    ///
    /// Nodes may call it at the same time. `sqlx migrate run` with this crate's `migrations` folder
    /// does the same, with the same ledger. The application's own `_sqlx_migrations` is not
    /// touched.
    /// Where nothing is to be done, it only reads. `docs/operations.md` has the grants that the roles need, and
    /// other ways to run the migrations.
    ///
    /// # Errors
    ///
    /// [`Schema`](crate::ErrorKind::Schema) if the database's schema needs a newer version of the library;
    /// on Postgres, if the role lacks a right that this takes, which the text names, or if another migrator has
    /// held its lock for a minute; on SQLite, if the file has a table of the application's under a name that
    /// sessile needs. On both, if the database's encoding is not UTF-8.
    pub async fn migrate(&self) -> Result<()> {
        self.0.store.migrate().await
    }

    /// Which of several applications on the database these are the sessions of.
    pub fn realm(&self) -> &Realm {
        &self.0.realm
    }

    /// Whether the policy has "remember me". If it has none, a page should not offer it: see
    /// [`LogIn::remember_me`](crate::LogIn::remember_me).
    pub fn offers_remember_me(&self) -> bool {
        self.0.rules.remember_me.is_some()
    }

    /// The session that a request's cookies name, or an anonymous one: what the layer and the
    /// adapters are made of. Takes the values of all cookies of the session's name.
    ///
    /// One query; none without a cookie, or for values that this library cannot have written. Of
    /// several values, the one that names a live session counts. Two live ones are none, and so are
    /// more than four.
    pub async fn open<'a>(
        &self,
        cookies: impl IntoIterator<Item = &'a [u8]>,
        client: Client,
    ) -> Result<Session> {
        let (arrived, presented) = (Instant::now(), Presented::of(cookies));
        Session::open(self.0.clone(), &presented, client, arrived).await
    }

    /// A user's live sessions, the newest log-in first: await it for the first hundred, or page
    /// through it.
    ///
    /// ```no_run
    /// # async fn example(sessions: sessile::Sessions) -> Result<(), sessile::Error> {
    /// let newest = sessions.of_user("ada").limit(20).await?;
    /// if let Some(last) = newest.last().and_then(|last| last.page_key()) {
    ///     let older = sessions.of_user("ada").after(last).limit(20).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn of_user(&self, user_id: impl UserId) -> UserSessions {
        UserSessions::new(self.0.clone(), &user_id)
    }

    /// One live session by its id.
    pub async fn find(&self, id: SessionId) -> Result<Option<SessionInfo>> {
        self.0.store.find(id).await
    }

    /// How many sessions are live. Reads all of them: for an admin page, not for each request.
    pub async fn count(&self) -> Result<u64> {
        self.0.store.count(None).await
    }

    /// How many live sessions a user has.
    pub async fn count_of_user(&self, user_id: impl UserId) -> Result<u64> {
        let user_id = checked(&user_id)?;
        self.0.store.count(Some(&user_id)).await
    }

    /// Ends one session, at once and on every node. Returns whether it was live.
    pub async fn revoke(&self, id: SessionId) -> Result<bool> {
        let end = End { id, realm: self.realm().clone(), user_id: None, by: None };
        self.0.store.end(end, "revoked").await
    }

    /// Ends all sessions of a user. When it returns, no request gets into any of them, and a log-in
    /// of the user whose authentication began before is refused. To do it in a transaction with
    /// other changes, see [`store::postgres`](crate::store::postgres::revoke_user) and
    /// [`store::sqlite`](crate::store::sqlite::revoke_user).
    pub async fn revoke_user(&self, user_id: impl UserId) -> Result<Revocation> {
        self.revoke_all_in(Scope::User(checked(&user_id)?)).await
    }

    /// Ends all sessions of a user but one, as [`revoke_user`](Self::revoke_user) does.
    pub async fn revoke_others(&self, user_id: impl UserId, keep: SessionId) -> Result<Revocation> {
        self.revoke_all_in(Scope::OthersOf(checked(&user_id)?, keep)).await
    }

    /// Ends every session of this realm, anonymous ones too, and refuses every log-in that is in
    /// flight.
    pub async fn revoke_all(&self) -> Result<Revocation> {
        self.revoke_all_in(Scope::All).await
    }

    async fn revoke_all_in(&self, scope: Scope) -> Result<Revocation> {
        let revoke = Revoke { realm: self.realm().clone(), scope, by: None };
        // Without a holder, nothing keeps it from being done.
        Ok(self.0.revoke(&revoke, "revoked").await?.unwrap_or_default())
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
        CleanupBuilder::new(self.0.clone(), schedule)
    }

    /// Writes what is held back: the touches of the last tenth of a second. For the end of the
    /// application; [`Cleanup::stop`] does it too.
    pub async fn flush(&self) -> Result<()> {
        self.0.store.flush().await
    }

    /// For the layer, which opens its requests' sessions itself, and for tests.
    #[cfg(any(feature = "http", feature = "testing"))]
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.0
    }
}
