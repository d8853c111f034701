//! What a store is asked for: plain values.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::record::{PageKey, PendingLogIn};
use crate::{
    client::Client,
    expiry::{Lifetime, Timeouts},
    realm::Realm,
    token::{SecretHash, SessionId},
};

/// The session that a request came with, and the secret that makes it the request's own.
///
/// What is done on behalf of a session is done only while its row is live and still has this secret,
/// in the same statement.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    /// The row.
    pub id: SessionId,
    /// Of the secret that the request came with.
    pub secret_hash: SecretHash,
}

/// What became of a [`Holder`].
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
    /// Made by the application, so that rows arrive in the order of their ids.
    pub id: SessionId,
    /// Which application's session it is.
    pub realm: Realm,
    /// SHA-256 of the cookie's secret.
    pub secret_hash: SecretHash,
    /// The JSON object as text.
    pub data: String,
    /// When it is to end.
    pub timeouts: Timeouts,
    /// Who asked for it.
    pub client: Client,
    /// A log-in of several requests that begins with it.
    pub pending: Option<NewPendingLogIn>,
}

/// A log-in of several requests that begins now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPendingLogIn {
    /// Who is about to log in, if that is known yet.
    pub user_id: Option<String>,
    /// In how many seconds it lapses.
    pub lapses_after: u32,
}

/// New data for a row that was read before.
#[derive(Clone, Debug)]
pub struct Save {
    /// The row, and the secret that it has to have.
    pub holder: Holder,
    /// The revision that was read.
    pub revision: i64,
    /// The JSON object as text.
    pub data: String,
    /// A save is a touch too. Moves nothing back.
    pub lifetime: Lifetime,
    /// The request's address, if it is known.
    pub ip: Option<IpAddr>,
}

/// The record that a session was seen.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    /// The row, and the secret that it has to have.
    pub holder: Holder,
    /// What it becomes. Moves nothing back.
    pub lifetime: Lifetime,
    /// The request's address, if it is known.
    pub ip: Option<IpAddr>,
    /// Whether this secret becomes the only one, of those that a log-in sent twice has handed out.
    pub settles: bool,
}

/// A new secret for the same session.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The row, and the secret that it has to have: it becomes the replaced one.
    pub holder: Holder,
    /// Of the secret that the session gets.
    pub new_hash: SecretHash,
    /// The database's time, as far as the handle knows it.
    pub at: DateTime<Utc>,
    /// Who asked for it.
    pub client: Client,
    /// A log-in of several requests that begins with it. `None` leaves the row's as it is. Where
    /// the same beginning was sent twice, the second one gets a twin, as a [`LogIn`](super::LogIn) does.
    pub pending: Option<PendingLogIn>,
}

/// A new secret and a new beginning for a session whose user has authenticated again.
#[derive(Clone, Debug)]
pub struct Reauthentication {
    /// Row and secrets.
    pub renewal: Renewal,
    /// Whose session it has to be.
    pub user_id: String,
    /// Its new times. `last_seen_at` is the moment of the authentication.
    pub lifetime: Lifetime,
}

/// One session to end.
#[derive(Clone, Debug)]
pub struct End {
    /// The row.
    pub id: SessionId,
    /// In which realm it has to be.
    pub realm: Realm,
    /// Whose it has to be; `None` for anybody's and nobody's.
    pub user_id: Option<String>,
    /// On behalf of which session, which has to be the same user's; `None` for the application.
    pub by: Option<Holder>,
}

/// Sessions to end, and log-ins in flight to refuse.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// In which realm.
    pub realm: Realm,
    /// Which ones.
    pub scope: Scope,
    /// On behalf of which session, which has to be the user's; `None` for the application. It loses
    /// its twins.
    pub by: Option<Holder>,
}

/// Which sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// All of a user's.
    User(String),
    /// All of a user's but this one.
    OthersOf(String, SessionId),
    /// All of the realm.
    All,
}

impl Scope {
    /// Whose sessions; `None` for everybody's.
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

/// What was changed elsewhere, so that a copy of it is not to be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// One session.
    Session(SessionId),
    /// All of a user's sessions.
    User(String),
    /// Anything.
    All,
}

/// What a statement over several rows did to each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// What was done. Those that are in neither list had ended or were changed.
    pub done: Vec<SessionId>,
    /// Nothing was done to these: another transaction has them locked at the moment. Ask again.
    pub locked: Vec<SessionId>,
}

impl Changed {
    /// These, and none was locked.
    pub fn of(done: impl IntoIterator<Item = SessionId>) -> Self {
        Self { done: done.into_iter().collect(), locked: Vec::new() }
    }
}

/// What was ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revocation {
    /// How many live sessions ended.
    pub ended: u64,
    /// The cut-off it left, by the database's clock: a log-in whose authentication began before it
    /// is refused. `None` where it was about one session.
    pub cutoff: Option<DateTime<Utc>>,
}

impl Revocation {
    /// That many ended, without or with a cut-off.
    pub fn new(ended: u64, cutoff: Option<DateTime<Utc>>) -> Self {
        Self { ended, cutoff }
    }
}

/// A stretch of a user's sessions.
#[derive(Clone, Debug)]
pub struct Page {
    /// In which realm.
    pub realm: Realm,
    /// Whose.
    pub user_id: String,
    /// Only what comes after the session with this key.
    pub after: Option<PageKey>,
    /// At most this many.
    pub limit: u32,
    /// On behalf of which session, which has to be the user's, or there are none; `None` for the
    /// application.
    pub by: Option<Holder>,
}

/// How much there is to sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Pages that the table has.
    pub pages: u32,
    /// Expired rows, counted until there are more than a quarter of the pages, and up to 200,000.
    pub expired: u64,
}

/// What one statement of a sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Swept {
    /// Deleted that many rows: fewer than the limit where no more have expired, but for those that are
    /// locked.
    Rows(u64),
    /// The same, and as many old cut-offs as it may: there may be more of them.
    More(u64),
    /// Nothing: another sweeper holds the lock.
    Busy,
}
