//! The parameters of a store's verbs: plain values.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, Utc};

use super::record::{PageKey, PendingLogIn};
use crate::{
    client::Client,
    expiry::{Lifetime, Timeouts},
    realm::Realm,
    token::{SecretHash, SessionId},
};

/// The session that a request came with, and the secret that proves that it is the request's.
///
/// A statement on behalf of a session acts only while the session's row is live and still has this secret. It
/// checks both itself.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    /// The row's id.
    pub id: SessionId,
    /// The hash of the secret that the request came with.
    pub secret_hash: SecretHash,
}

/// The state of a [`Holder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderState {
    /// The row is live and has the holder's secret.
    Holds,
    /// The row is live and has another secret.
    Superseded,
    /// There is no live row.
    Ended,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl HolderState {
    /// From the live rows: the place of each holder, and whether the row has its secret.
    pub(crate) fn of_each(
        holders: &[Holder],
        live: impl Iterator<Item = (i64, bool)>,
    ) -> Vec<Self> {
        let mut states = vec![Self::Ended; holders.len()];
        for (place, holds) in live {
            let state = usize::try_from(place).ok().and_then(|place| states.get_mut(place));
            if let Some(state) = state {
                *state = if holds { Self::Holds } else { Self::Superseded };
            }
        }
        states
    }
}

/// An anonymous session to insert.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Created by the application, so that rows arrive in the order of their ids.
    pub id: SessionId,
    /// The application that the session belongs to.
    pub realm: Realm,
    /// The hash of the cookie's secret.
    pub secret_hash: SecretHash,
    /// The JSON object as text.
    pub data: String,
    /// When the session ends.
    pub timeouts: Timeouts,
    /// The client that asked for the session.
    pub client: Client,
    /// A log-in of several requests that begins with this session.
    pub pending: Option<NewPendingLogIn>,
}

/// A log-in of several requests that begins now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPendingLogIn {
    /// The user who is about to log in, if the user is known yet.
    pub user_id: Option<String>,
    /// The number of seconds after which the log-in lapses.
    pub lapses_after: u32,
}

/// New data for a row that was read before.
#[derive(Clone, Debug)]
pub struct Save {
    /// The row, and the secret that it must have.
    pub holder: Holder,
    /// The revision that was read.
    pub revision: i64,
    /// The JSON object as text.
    pub data: String,
    /// The new times: a save is a touch too. Moves no time back.
    pub lifetime: Lifetime,
    /// The request's address, if it is known.
    pub ip: Option<IpAddr>,
}

/// A record that a session was seen.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    /// The row, and the secret that it must have.
    pub holder: Holder,
    /// The new times. Moves no time back.
    pub lifetime: Lifetime,
    /// The request's address, if it is known.
    pub ip: Option<IpAddr>,
    /// Whether this secret becomes the only one of the secrets that a log-in sent twice has handed out.
    pub settles: bool,
}

/// A new secret for the same session.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The row, and the secret that it must have. That secret becomes the replaced one.
    pub holder: Holder,
    /// The hash of the session's new secret.
    pub new_hash: SecretHash,
    /// The database's time, as far as the handle knows it.
    pub at: DateTime<Utc>,
    /// The client that asked for it.
    pub client: Client,
    /// A log-in of several requests that begins with this renewal. `None` keeps the row's pending log-in. If
    /// the same beginning is sent twice, the second one gets a twin, as a [`LogIn`](super::LogIn) does.
    pub pending: Option<PendingLogIn>,
}

/// Hashes with a key, in the place of a row's plain ones, for the same secrets.
#[derive(Clone, Debug)]
pub struct Rehash {
    /// The row's id.
    pub id: SessionId,
    /// The database's time, as far as the handle knows it.
    pub at: DateTime<Utc>,
    /// The plain hash that the row must have.
    pub old_hash: SecretHash,
    /// The twins that the row must have.
    pub old_twins: Vec<SecretHash>,
    /// The hash of the secret with the key.
    pub new_hash: SecretHash,
    /// The hashes of the twins with the key.
    pub new_twins: Vec<SecretHash>,
    /// The hash of the replaced secret with the key, if there is one.
    pub new_replaced: Option<SecretHash>,
}

/// A new secret and a new beginning for a session whose user has authenticated again.
#[derive(Clone, Debug)]
pub struct Reauthentication {
    /// The row and the secrets.
    pub renewal: Renewal,
    /// The user that the session must belong to.
    pub user_id: String,
    /// The session's new times. `last_seen_at` is the moment of the authentication.
    pub lifetime: Lifetime,
    /// Whether the log of events records it.
    pub is_recorded: bool,
}

/// One session to end.
#[derive(Clone, Debug)]
pub struct End {
    /// The row's id.
    pub id: SessionId,
    /// The realm that the session must be in.
    pub realm: Realm,
    /// The user that the session must belong to. `None` accepts every session, with a user or without.
    pub user_id: Option<String>,
    /// The session on whose behalf this one ends. It must belong to the same user. `None` for the
    /// application.
    pub by: Option<Holder>,
    /// How the log of events records it: as a log-out if the session ends itself, otherwise as a revocation.
    /// `None` records nothing.
    pub cause: Option<Cause>,
}

/// Who ended sessions, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Who did it: `user`, `application`, or a name.
    pub actor: String,
    /// In words.
    pub reason: Option<String>,
}

impl Cause {
    /// The application, for no reason that it gave.
    pub fn application() -> Self {
        Self { actor: "application".to_owned(), reason: None }
    }
}

/// Sessions to end, and log-ins in flight to refuse.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// The realm.
    pub realm: Realm,
    /// The sessions to end.
    pub scope: Scope,
    /// The session on whose behalf the others end. It must belong to the user, and it loses its twins. `None`
    /// for the application.
    pub by: Option<Holder>,
    /// How the log of events records it: a revocation of each session that has a user, and one without a session.
    /// `None` records nothing.
    pub cause: Option<Cause>,
}

/// Which sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// All sessions of a user.
    User(String),
    /// All sessions of a user except this one.
    OthersOf(String, SessionId),
    /// All sessions of the realm.
    All,
}

impl Scope {
    /// The user; `None` if the scope is the realm.
    pub fn user_id(&self) -> Option<&str> {
        match self {
            Self::User(user_id) | Self::OthersOf(user_id, _) => Some(user_id),
            Self::All => None,
        }
    }

    /// The session that stays.
    pub fn keeps(&self) -> Option<SessionId> {
        match self {
            Self::OthersOf(_, keep) => Some(*keep),
            Self::User(_) | Self::All => None,
        }
    }
}

/// A change on another node, or in this process, after which a cache must not use its copy any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// One session.
    Session(SessionId),
    /// All of a user's sessions.
    User(String),
    /// All sessions.
    All,
}

/// The effect of a statement over several rows on each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The statement changed these. Sessions in neither list had ended or had been changed.
    pub done: Vec<SessionId>,
    /// The statement did nothing to these, because another transaction has locked them. Ask again.
    pub locked: Vec<SessionId>,
}

impl Changed {
    /// These were changed, and none was locked.
    pub fn of(done: impl IntoIterator<Item = SessionId>) -> Self {
        Self { done: done.into_iter().collect(), locked: Vec::new() }
    }
}

/// The result of a revocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revocation {
    /// How many live sessions ended.
    pub ended: u64,
    /// The cut-off that the revocation left, by the database's clock. It refuses log-ins whose authentication
    /// began before it. `None` if the revocation was of one session.
    pub cutoff: Option<DateTime<Utc>>,
}

impl Revocation {
    /// A revocation that ended this many sessions, with or without a cut-off.
    pub fn new(ended: u64, cutoff: Option<DateTime<Utc>>) -> Self {
        Self { ended, cutoff }
    }
}

/// One page of a user's sessions.
#[derive(Clone, Debug)]
pub struct Page {
    /// The realm.
    pub realm: Realm,
    /// The user.
    pub user_id: String,
    /// Only sessions that come after the one with this key.
    pub after: Option<PageKey>,
    /// At most this many sessions.
    pub limit: u32,
    /// The session on whose behalf the list is read. The list is empty unless this session belongs to the
    /// user. `None` for the application.
    pub by: Option<Holder>,
}

/// A use of a secret that was replaced: by a browser that had not got its new cookie yet, or by a thief.
#[derive(Clone, Debug)]
pub struct SupersededUse {
    /// The session.
    pub id: SessionId,
    /// Its realm.
    pub realm: Realm,
    /// Its user.
    pub user_id: Option<String>,
    /// The client that used the secret.
    pub client: Client,
    /// How long ago the secret was replaced, in words.
    pub reason: &'static str,
}

/// What a statement of a sweep deletes, and records.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// At most this many rows of each kind.
    pub limit: u32,
    /// Whether the log of events records the sessions that have expired and have a user.
    pub is_recorded: bool,
    /// Events that are older than this number of seconds are deleted.
    pub keeps_events_for: u32,
}

/// The result of one statement that files events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filed {
    /// The number of events that were moved into the log.
    pub events: u64,
    /// Where the next statement begins, or `None` after the end of the inbox.
    pub next: Option<u64>,
}

/// A run of the cleanup, for the log of runs.
#[derive(Clone, Debug)]
pub struct CleanupRun {
    /// The duration of the run, which ends now.
    pub elapsed: Duration,
    /// Expired rows that were deleted.
    pub sessions: u64,
    /// The number of statements.
    pub statements: u64,
    /// Why the run ended early.
    pub error: Option<String>,
    /// Runs that ended more than this number of seconds ago are deleted.
    pub keeps_runs_for: u32,
}

/// The amount of work for a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The number of pages of the table.
    pub pages: u32,
    /// The number of expired rows. Counting stops above a quarter of the pages, and at 200,000.
    pub expired: u64,
}

/// The result of one statement of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Swept {
    /// The number of deleted rows. If it is below the limit, no further rows have expired, except locked
    /// ones.
    Rows(u64),
    /// The same, but the statement also deleted as many old cut-offs or events as it may, so more may be left.
    More(u64),
    /// Nothing was deleted: another sweeper holds the lock.
    Busy,
}
