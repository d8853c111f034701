//! The facade: joins the policy and the store, and offers the operations outside a request.

mod builder;
mod data;
mod list;
mod revoke;
#[cfg(feature = "encryption")]
mod rewrap;

use std::{sync::Arc, time::Instant};

#[cfg(feature = "encryption")]
pub use self::rewrap::{Rewrap, RewrapReport};
pub use self::{builder::SessionsBuilder, list::UserSessions, revoke::Revoke};
use crate::{
    cleanup::{Cleanup, CleanupBuilder, CleanupReport, Schedule},
    client::Client,
    context::Context,
    error::Result,
    realm::Realm,
    session::{Presented, Session},
    store::{self, Backend, Revocation, Scope, SessionInfo},
    token::SessionId,
    user_id::{UserId, checked},
};

/// All sessions of an application. Build it once. Clones are cheap: give one to the router, to each job and to the
/// admin pages.
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
    /// Starts the settings, over the application's pool (`PgPool`, `SqlitePool`), over the result of
    /// [`connect`](crate::connect()), or over any [`Store`](crate::store::Store) as a [`Backend`].
    ///
    /// # The application's own pool
    ///
    /// The library uses up to all connections of the pool, four fifths of them for writes. It keeps a fifth of them
    /// for a moment after their last use. The application waits at most 50 ms for such an idle connection.
    ///
    /// Transactions that the application holds open use connections of the same pool. If requests hold a
    /// transaction while they use their session, give the pool one connection more than there are such requests.
    /// Or give the library a separate pool ([`connect`](crate::connect())).
    ///
    /// If several tokio runtimes share a pool, the pool hands connections of one runtime to another. When the first
    /// runtime ends, a write of the other may fail as [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown). A pool
    /// that `connect` opened does not have this problem.
    pub fn builder(backend: impl Into<Backend>) -> SessionsBuilder {
        SessionsBuilder::new(backend.into())
    }

    /// Updates the database's schema to this version: creates it, or runs the missing migrations.
    ///
    /// Several nodes may call it at the same time. sqlx-cli with this crate's migrations and their `sqlx.toml`
    /// (`--config`) does the same, with the same ledger. The call does not touch the application's own `_sqlx_migrations`. If no migration
    /// is missing, it only reads. `docs/operations.md` has the grants that the roles need, and other ways to run the
    /// migrations.
    ///
    /// # Errors
    ///
    /// [`Schema`](crate::ErrorKind::Schema) in these cases:
    ///
    /// - The database's schema needs a newer version of the library.
    /// - The database's encoding is not UTF-8.
    /// - On Postgres, the role lacks a right that the call needs. The text names the right.
    /// - On Postgres, another migrator has held its lock for a minute.
    /// - On SQLite, the file has a table of the application under a name that sessile needs.
    pub async fn migrate(&self) -> Result<()> {
        self.0.store.migrate().await
    }

    /// The realm of these sessions: it names one of several applications on the database.
    pub fn realm(&self) -> &Realm {
        &self.0.realm
    }

    /// Whether the policy has "remember me". If it does not, the log-in page should not offer it: see
    /// [`LogIn::remember_me`](crate::LogIn::remember_me).
    pub fn offers_remember_me(&self) -> bool {
        self.0.rules.remember_me.is_some()
    }

    /// Opens the session that a request's cookies name, or an anonymous one. The layer uses it, and so can
    /// adapters for other frameworks.
    ///
    /// `cookies`: the values of all cookies of the session's name. If exactly one of them names a live session, the
    /// request has that session. If two name live sessions, or if there are more than four values, the result is
    /// anonymous.
    ///
    /// One query. None without a cookie, or for values that this library cannot have written.
    pub async fn open<'a>(
        &self,
        cookies: impl IntoIterator<Item = &'a [u8]>,
        client: Client,
    ) -> Result<Session> {
        let (arrived, presented) = (Instant::now(), Presented::of(cookies));
        Session::open(self.0.clone(), &presented, client, arrived).await
    }

    /// A user's live sessions, the newest log-in first. Await the result for the first hundred, or read page by
    /// page.
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
        let found = self.0.store.find(id).await?;
        Ok(found.map(|info| self.0.sealer.open_info(&self.0.realm, info)))
    }

    /// The address and the user agent that [`Encryption::seal_clients`](crate::encryption::Encryption::seal_clients) has
    /// sealed, from the column `user_agent` of an event.
    ///
    /// # Errors
    ///
    /// [`Encryption`](crate::ErrorKind::Encryption) if this node lacks the key; [`WrongType`](crate::ErrorKind::WrongType)
    /// if the text is of another realm, or somebody has changed it.
    #[cfg(feature = "encryption")]
    pub fn unsealed_client(&self, user_agent: &str) -> Result<Client> {
        self.0.sealer.open_client(&self.0.realm, user_agent)
    }

    /// The number of live sessions. The query reads all of them: use it for an admin page, not in each request.
    pub async fn count(&self) -> Result<u64> {
        self.0.store.count(None).await
    }

    /// The number of live sessions of a user.
    pub async fn count_of_user(&self, user_id: impl UserId) -> Result<u64> {
        let user_id = checked(&user_id)?;
        self.0.store.count(Some(&user_id)).await
    }

    /// Erases what the database has of a user: the sessions, which end, the events, and the cut-off of a revocation.
    /// Delete the user in your own table first. Otherwise a log-in that is in flight can succeed after this call, because
    /// the cut-off that refuses it is gone.
    ///
    /// Not erased: values that the application stored about the user in other sessions.
    pub async fn forget_user(&self, user_id: impl UserId) -> Result<Revocation> {
        let user_id = checked(&user_id)?;
        let scope = Scope::User(user_id.clone());
        let revoke = store::Revoke { realm: self.realm().clone(), scope, by: None, cause: None };
        let ended = self.0.revoke(&revoke, "forgotten").await?.unwrap_or_default().ended;
        Ok(Revocation::new(ended + self.0.store.forget(&user_id).await?, None))
    }

    /// Files the events that wait in the inbox, and then deletes all expired rows, in batches. An expired session is
    /// unusable even before its row is deleted.
    pub async fn sweep(&self) -> Result<CleanupReport> {
        self.cleanup(Schedule::every(crate::days(1))).run_once().await
    }

    /// Sweeps on a schedule until the job is stopped, with the defaults of [`cleanup`](Self::cleanup).
    ///
    /// # Panics
    ///
    /// If it is called outside a tokio runtime.
    pub fn spawn_cleanup(&self, schedule: Schedule) -> Cleanup {
        self.cleanup(schedule).spawn()
    }

    /// Sweeps on a schedule, with settings for the job.
    pub fn cleanup(&self, schedule: Schedule) -> CleanupBuilder {
        CleanupBuilder::new(self.0.clone(), schedule)
    }

    /// Writes the touches of the last tenth of a second, which the library holds back. Call it before the
    /// application ends. [`Cleanup::stop`] does it too.
    pub async fn flush(&self) -> Result<()> {
        self.0.store.flush().await
    }

    /// For the layer, which opens the sessions of its requests itself, and for tests.
    #[cfg(any(feature = "http", feature = "testing"))]
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.0
    }
}
