//! The contract between the session logic and a database.
//!
//! A [`Store`] knows rows and moments; it decides nothing. [`Sessions`](crate::Sessions) holds the
//! policy. An application needs this module only to write a store of its own, or to wrap one.

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

use std::{fmt::Debug, ops::Range};

use async_trait::async_trait;

pub use backend::Backend;
pub use batch::{BatchOptions, Batched};
#[cfg(feature = "cache")]
pub use cache::{CacheOptions, Cached};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use connect::{ConnectOptions, connect, connect_with};
pub use log_in::{Admission, Began, Cutoff, LogIn, LogInOutcome, OnLimit};
pub use record::{PageKey, PendingLogIn, Record, Replaced, SecretCheck, SessionInfo};
pub use request::{
    Changed, End, Holder, Invalidation, NewPendingLogIn, NewSession, Page, Reauthentication,
    Renewal, Revocation, Revoke, Save, Scope, Survey, Swept, Touch,
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
/// - **One statement a verb**, over as many rows as are given (`log_in` and `revoke` are one
///   transaction). One row is a batch of one.
/// - **Only `create` and `log_in` insert.** Every other verb changes rows that are there, so that
///   nothing in flight brings an ended session back.
/// - **A row is live while the database's clock is before its `valid_until`**, and every verb but the
///   sweep treats a row that is not live as absent, in the statement itself.
/// - **The database's clock is the only one.** A store never asks the node for the time. Moments that
///   come as parameters were derived from a `now` that the database returned.
/// - An id given twice in a call is the caller's mistake; what happens to it is not specified. A
///   `touch` may be given one twice, with two secrets: one of them is the row's, or both are twins.
/// - **No statement over several rows waits for one of them.** What another transaction has locked is
///   left out, and told. Whatever does wait for a lock gives up by itself after a bounded time.
/// - Dropping a returned future leaves the database with the whole effect of the verb or with none,
///   and its connection closed. [`Batched`] bounds every call that way.
/// - A write whose answer is missing fails as [`OutcomeUnknown`](ErrorKind::OutcomeUnknown). Every other
///   error means that nothing was done.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// The live ones among `ids`, of whatever realm, in any order. A row that cannot be read is among them, and says
    /// so: see [`Record::unreadable`].
    async fn load(&self, ids: &[SessionId]) -> Result<Vec<Record>>;

    /// As [`load`](Self::load), but as the database has them now. A wrapper that keeps copies must not
    /// answer with one.
    async fn load_now(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        self.load(ids).await
    }

    /// Inserts anonymous sessions that begin now, and returns their records in any order.
    async fn create(&self, sessions: &[NewSession]) -> Result<Vec<Record>>;

    /// Writes `data` where the row is live, has the holder's secret and still is of the given
    /// revision, and counts the revision up.
    async fn save(&self, saves: &[Save]) -> Result<Changed>;

    /// Moves what a touch moves, where the row is live, has the holder's secret, was seen before
    /// that, has the timeouts that the touch was computed from, and is not locked. May do so a little
    /// later: `flush` waits for it.
    async fn touch(&self, touches: &[Touch]) -> Result<()>;

    /// Replaces the secret where the row is live and still has the holder's, which is kept as the
    /// replaced one. Returns whether it did.
    async fn renew(&self, renewal: &Renewal) -> Result<bool>;

    /// Replaces the secret and restarts the session's time, where the row is live, has the old
    /// secret and belongs to the user. Returns the new record, or `None` where it did not.
    async fn reauthenticate(&self, reauthentication: &Reauthentication) -> Result<Option<Record>>;

    /// Binds a user to a session, in one transaction that holds the user's lock and then
    /// everybody's: admits the log-in ([`LogIn::admit`]), enforces the limit, then updates the row
    /// where it is live and has the old secret (or is the [same log-in's](LogIn)), or inserts it.
    /// Ends every pending log-in of the row.
    async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome>;

    /// Deletes the rows that are of their realm, and their user's, and whose holder holds: done are
    /// those that were live.
    async fn end(&self, ends: &[End]) -> Result<Changed>;

    /// Deletes the sessions in its scope, after it has taken the lock that log-ins take and recorded
    /// the cut-off. Returns `None`, and changes nothing, where its holder does not hold.
    async fn revoke(&self, revoke: &Revoke) -> Result<Option<Revocation>>;

    /// Live sessions of a user, the newest log-in first.
    async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>>;

    /// One live session, as a list shows it.
    async fn find(&self, realm: &Realm, id: SessionId) -> Result<Option<SessionInfo>>;

    /// How many sessions of the realm are live: one user's, or all.
    async fn count(&self, realm: &Realm, user_id: Option<&str>) -> Result<u64>;

    /// Deletes at most `limit` rows of all realms whose `expires_at` has passed, and at most as many cut-offs
    /// that were last used a day ago, unless another sweeper is at work. Waits for no row: those
    /// that another transaction has locked are passed by. Costs one index probe when there are none.
    async fn sweep(&self, limit: u32) -> Result<Swept>;

    /// What a sweep of the whole table would meet; `None` where rows are not found faster by their
    /// place than by the index.
    async fn survey(&self) -> Result<Option<Survey>> {
        Ok(None)
    }

    /// As [`sweep`](Self::sweep), but of the expired rows on these pages of the table, of those
    /// that [`survey`](Self::survey) counted, and of no cut-offs.
    async fn sweep_pages(&self, pages: Range<u32>) -> Result<Swept> {
        let _ = pages;
        Ok(Swept::Rows(0))
    }

    /// Brings the schema to this version's. Safe to call from several nodes at once.
    async fn migrate(&self) -> Result<()>;

    /// Writes what a wrapper holds back. A plain store holds nothing back.
    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// Tells `on` what other nodes end, renew and log in, until the connection that learns of it is
    /// lost: beginning with [`Invalidation::All`], when it listens. For a cache; a store that
    /// cannot be watched says so at once.
    async fn watch(&self, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
        let _ = on;
        Err(Error::new(
            ErrorKind::Configuration,
            "this store cannot be watched, and so not be cached",
        ))
    }

    /// How many statements of one verb are best in flight at once.
    fn lanes(&self) -> Lanes {
        Lanes { reads: 2, writes: 2 }
    }
}

/// How many statements of one verb a store likes to have in flight, of those that read and of those
/// that write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// Of a verb that reads.
    pub reads: usize,
    /// Of a verb that writes.
    pub writes: usize,
}
