//! The contract between the session logic and a database.
//!
//! A [`Store`] handles rows and times, and decides nothing. [`Sessions`](crate::Sessions) holds the policy.
//! An application needs the trait only to write its own store, or to wrap one. The modules `postgres` and `sqlite`
//! also have functions for applications: revocation in your own transaction, and the migrations as text.

mod backend;
mod batch;
#[cfg(feature = "cache")]
mod cache;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod connect;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod connections;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) mod failure;
mod log_in;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod migrations;
#[cfg(feature = "postgres")]
pub mod postgres;
mod record;
mod request;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod task;

use std::{collections::HashMap, fmt::Debug, ops::Range};

use async_trait::async_trait;
#[cfg(feature = "testing")]
use chrono::TimeDelta;

pub use backend::Backend;
pub use batch::{BatchOptions, Batched};
#[cfg(feature = "cache")]
pub use cache::{CacheOptions, Cached};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use connect::{ConnectOptions, connect, connect_with};
pub use log_in::{Admission, Began, Cutoff, LogIn, LogInOutcome, OnLimit};
pub use record::{PageKey, PendingLogIn, Record, Replaced, SecretCheck, SessionInfo};
pub use request::{
    Cause, Changed, CleanupRun, End, Filed, Holder, HolderState, Invalidation, NewPendingLogIn,
    NewSession, Page, Reauthentication, Rehash, Renewal, Revocation, Revoke, Save, Scope,
    SupersededUse, Survey, Sweep, Swept, Touch,
};

use crate::{
    error::{Error, ErrorKind, Result},
    realm::Realm,
    token::SessionId,
};
pub use crate::{
    expiry::{Lifetime, Timeouts},
    token::SecretHash,
};

/// A database that keeps sessions.
///
/// # The contract
///
/// - **One statement for each verb**, over any number of rows (`log_in` and `revoke` are one transaction). A
///   single row is a batch of one.
/// - **Only `create` and `log_in` insert.** Every other verb changes existing rows only. So no call in flight
///   brings an ended session back.
/// - **A row is live while the database's clock is before its `valid_until`.** Every verb except the sweep
///   treats a row that is not live as absent, in the statement itself.
/// - **The database's clock is the only one.** A store never asks the node for the time. Times in parameters
///   are derived from a `now` that the database returned.
/// - A caller must not give one id twice in a call; the result would be unspecified. The exception is
///   `touch`, which accepts one id twice, with two secrets: one of them is the row's, or both are twins.
/// - **No statement over several rows waits for one of them.** The statement leaves out rows that another
///   transaction has locked, and reports them. Every other wait for a lock ends after a bounded time.
/// - If a returned future is dropped, the verb has its whole effect or none, and its connection is closed.
///   [`Batched`] bounds every call that way.
/// - A write whose answer is missing fails as [`OutcomeUnknown`](ErrorKind::OutcomeUnknown). Every other
///   error means that nothing was done.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Returns the live sessions among `ids`, of any realm, in any order. A row that cannot be read is among them,
    /// with [`Record::unreadable`] set.
    async fn load(&self, ids: &[SessionId]) -> Result<Vec<Record>>;

    /// As [`load`](Self::load), but always reads the database. A wrapper that keeps copies must not answer
    /// with one.
    async fn load_now(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        self.load(ids).await
    }

    /// Inserts anonymous sessions that begin now, and returns their records in any order.
    async fn create(&self, sessions: &[NewSession]) -> Result<Vec<Record>>;

    /// Writes `data` and increments the revision of each row that is live, has the holder's secret, and still
    /// has the given revision.
    async fn save(&self, saves: &[Save]) -> Result<Changed>;

    /// Moves a row's times forward, if the row is live, has the holder's secret, was last seen before the
    /// touch (unless the touch settles the secret), has the timeouts that the touch was computed from, and is
    /// not locked. A store may do this a little later: `flush` waits for it.
    async fn touch(&self, touches: &[Touch]) -> Result<()>;

    /// Replaces the secret if the row is live and has the holder's secret, and keeps the old secret as the
    /// replaced one. Returns whether it did.
    async fn renew(&self, renewal: &Renewal) -> Result<bool>;

    /// Replaces the secret and restarts the session's time, if the row is live, has the old secret and
    /// belongs to the user. Returns the new record, or `None` if nothing was changed.
    async fn reauthenticate(&self, reauthentication: &Reauthentication) -> Result<Option<Record>>;

    /// Binds a user to a session, in one transaction that holds the user's lock and then the lock of all users. Admits
    /// the log-in ([`LogIn::admit`]), enforces the limit, and updates the row if it is live and has the old
    /// secret (or is the [same log-in's](LogIn)), or inserts a row. Ends every pending log-in of the row.
    async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome>;

    /// Deletes each row that has the given realm and belongs to the given user. A given holder must be live and
    /// have its secret. `done` lists the rows that were live.
    async fn end(&self, ends: &[End]) -> Result<Changed>;

    /// Deletes the sessions in the scope, after it has taken the lock that log-ins take and recorded the
    /// cut-off. Returns `None`, and changes nothing, if the holder is not live or does not have its secret.
    async fn revoke(&self, revoke: &Revoke) -> Result<Option<Revocation>>;

    /// Returns the state of each holder, in their order. Several holders may name one row. Always queries the
    /// database, as [`load_now`](Self::load_now) does.
    async fn holding(&self, holders: &[Holder]) -> Result<Vec<HolderState>> {
        let mut ids: Vec<_> = holders.iter().map(|holder| holder.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let records = self.load_now(&ids).await?;
        let records: HashMap<_, _> = records.iter().map(|record| (record.id, record)).collect();
        let state = |holder: &Holder| match records.get(&holder.id) {
            Some(record) if record.check(&holder.secret_hash) == SecretCheck::Current => {
                HolderState::Holds
            }
            Some(_) => HolderState::Superseded,
            None => HolderState::Ended,
        };
        Ok(holders.iter().map(state).collect())
    }

    /// Live sessions of a user, the newest log-in first.
    async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>>;

    /// One live session, as a list shows it.
    async fn find(&self, realm: &Realm, id: SessionId) -> Result<Option<SessionInfo>>;

    /// The number of live sessions of the realm: one user's, or all.
    async fn count(&self, realm: &Realm, user_id: Option<&str>) -> Result<u64>;

    /// The ids of live sessions of the realm, in order, at most `limit`, after the given one. Reads one page of the index of
    /// ids, and of the rows behind it.
    async fn scan(
        &self,
        realm: &Realm,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionId>> {
        let _ = (realm, after, limit);
        Err(Error::new(ErrorKind::Configuration, "this store cannot list all sessions"))
    }

    /// Gives a row hashes with a key in the place of plain ones, and returns whether it did. The plain hashes stay
    /// valid as twins, because requests are under way that know only them. Does nothing to a row whose secret was
    /// replaced within the last minute.
    async fn rehash(&self, rehash: &Rehash) -> Result<bool> {
        let _ = rehash;
        Err(Error::new(ErrorKind::Configuration, "this store keeps no name of a key"))
    }

    /// Deletes the user's sessions, events and cut-off, in one transaction that holds the user's lock. Returns the
    /// number of sessions that were live.
    async fn forget(&self, realm: &Realm, user_id: &str) -> Result<u64>;

    /// Deletes at most `limit` expired rows of all realms (by `expires_at`), at most as many cut-offs that were not
    /// used for a day, and at most as many old events, unless another sweeper is at work. Waits for no row: it
    /// skips rows that another transaction has locked. Costs one index probe for each of the three if there is
    /// nothing to delete.
    async fn sweep(&self, sweep: &Sweep) -> Result<Swept>;

    /// The amount of work that a sweep of the whole table would meet; `None` if the store finds rows by the
    /// index as fast as by their place.
    async fn survey(&self) -> Result<Option<Survey>> {
        Ok(None)
    }

    /// As [`sweep`](Self::sweep), but deletes the expired rows on the given pages of the table, and nothing else.
    /// [`survey`](Self::survey) returns the number of pages.
    async fn sweep_pages(&self, pages: Range<u32>, is_recorded: bool) -> Result<Swept> {
        let _ = (pages, is_recorded);
        Ok(Swept::Rows(0))
    }

    /// Files events: moves at most `limit` of them from the inbox, into which other verbs write them, to the log, which has
    /// indexes. Skips events that another transaction has locked, and moves nothing if another sweeper is at work.
    ///
    /// A pass through the inbox begins with `from` 0 and goes on with [`Filed::next`]. It files every event that was in
    /// the inbox when it began and was not locked. A store without an inbox needs no such verb.
    async fn file_events(&self, from: u64, limit: u32) -> Result<Filed> {
        let _ = (from, limit);
        Ok(Filed::default())
    }

    /// Adds a run of the cleanup to the log of runs, and deletes old runs from it.
    async fn log_cleanup(&self, run: &CleanupRun) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// Adds an event to the log of events, at most one a minute for a session.
    async fn log_superseded(&self, used: &SupersededUse) -> Result<()> {
        let _ = used;
        Ok(())
    }

    /// Updates the schema to this version's. Several nodes may call it at the same time.
    async fn migrate(&self) -> Result<()>;

    /// Writes the changes that a wrapper holds back. A plain store holds nothing back.
    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// Calls `on` for the sessions that other nodes end, renew and log in, until the connection that receives
    /// this news is lost. The first call is [`Invalidation::All`], when the store begins to listen. Caches
    /// use this. A store that cannot be watched fails at once.
    async fn watch(&self, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
        let _ = on;
        Err(Error::new(
            ErrorKind::Configuration,
            "this store cannot be watched, and so not be cached",
        ))
    }

    /// Moves all times of a row back, for tests. Returns whether the row exists.
    #[cfg(feature = "testing")]
    async fn age(&self, realm: &Realm, id: SessionId, by: TimeDelta) -> Result<bool> {
        let _ = (realm, id, by);
        Err(Error::new(ErrorKind::Configuration, "this store cannot make a session older"))
    }

    /// The database's name in OpenTelemetry's conventions (`db.system.name`), for spans.
    fn system_name(&self) -> &'static str {
        "other_sql"
    }

    /// How many statements of one verb should be in flight at most.
    fn lanes(&self) -> Lanes {
        Lanes { reads: 2, writes: 2 }
    }
}

/// How many statements of one verb a store should have in flight, for verbs that read and for verbs that
/// write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// For a verb that reads.
    pub reads: usize,
    /// For a verb that writes.
    pub writes: usize,
}
