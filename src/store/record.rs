//! What goes into a store and comes out of it: plain values.

use std::{net::IpAddr, sync::Arc, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::{
    client::Client,
    expiry::{Lifetime, Timeouts},
    token::{SecretHash, SessionId},
};

/// A live session as it was read.
#[derive(Clone, Debug)]
pub struct Record {
    /// The public handle.
    pub id: SessionId,
    /// SHA-256 of the cookie's secret.
    pub secret_hash: SecretHash,
    /// Whose session it is; `None` while anonymous.
    pub user_id: Option<String>,
    /// The JSON object as text. Shared, so that a copy of the record is not one of the data.
    pub data: Arc<str>,
    /// Counts the writes to `data`.
    pub revision: i64,
    /// When the row was first written.
    pub created_at: DateTime<Utc>,
    /// When the user last authenticated.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// When it was seen and will end.
    pub lifetime: Lifetime,
    /// The database's clock when the row was read.
    pub now: DateTime<Utc>,
    /// When this node got the answer. Only ever used for how long ago that was.
    pub received: Instant,
}

impl Record {
    /// The database's time, as far as this node can tell: at the read, plus what has passed since.
    /// Never ahead of the database, since the answer took its time to come.
    pub fn now(&self) -> DateTime<Utc> {
        let elapsed = TimeDelta::from_std(self.received.elapsed()).unwrap_or_default();
        self.now + elapsed
    }
}

/// An anonymous session to insert.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Made by the application, so that rows arrive in the order of their ids.
    pub id: SessionId,
    /// SHA-256 of the cookie's secret.
    pub secret_hash: SecretHash,
    /// The JSON object as text.
    pub data: String,
    /// When it is to end.
    pub timeouts: Timeouts,
    /// Who asked for it.
    pub client: Client,
}

/// New data for a row that was read before.
#[derive(Clone, Debug)]
pub struct Save {
    /// The row.
    pub id: SessionId,
    /// The revision that was read.
    pub revision: i64,
    /// The JSON object as text.
    pub data: String,
    /// A save is a touch too. Moves nothing back.
    pub lifetime: Lifetime,
}

/// The record that a session was seen.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    /// The row.
    pub id: SessionId,
    /// What it becomes. Moves nothing back.
    pub lifetime: Lifetime,
}

/// A new secret for the same session.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The row.
    pub id: SessionId,
    /// Of the secret that the request came with.
    pub old_hash: SecretHash,
    /// Of the one that it gets.
    pub new_hash: SecretHash,
    /// Who asked for it.
    pub client: Client,
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

/// A user to bind to a session.
#[derive(Clone, Debug)]
pub struct LogIn {
    /// The row to update, or to insert.
    pub id: SessionId,
    /// The secret that an existing row has to have; `None` to insert a new one.
    pub old_hash: Option<SecretHash>,
    /// Of the secret that the session gets.
    pub new_hash: SecretHash,
    /// The user.
    pub user_id: String,
    /// Replaces the row's data; `None` leaves it as it is. Required to insert.
    pub data: Option<String>,
    /// Of the session from now on.
    pub timeouts: Timeouts,
    /// Who logs in.
    pub client: Client,
    /// When the authentication began, by this node's monotonic clock.
    pub began: Instant,
    /// A revocation which this log-in follows, and which therefore does not refuse it.
    pub after: Option<DateTime<Utc>>,
    /// How many live sessions the user may have with this one, and what happens beyond that.
    pub limit: Option<(u32, OnLimit)>,
}

impl LogIn {
    /// Decides from what the store read under the user's lock whether this log-in may go on.
    ///
    /// It may not where a revocation is younger than the authentication (`now` less what has passed
    /// here since it began), or was committed while the log-in waited for the lock, or where the
    /// user has too many sessions.
    pub fn admit(&self, admission: &Admission) -> Result<(), LogInOutcome> {
        let elapsed = TimeDelta::from_std(self.began.elapsed()).unwrap_or(TimeDelta::MAX);
        let began = admission.now.checked_sub_signed(elapsed).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let follows = |cutoff: DateTime<Utc>| self.after.is_some_and(|after| cutoff <= after);
        let revoked_since = |cutoff: Option<DateTime<Utc>>| {
            cutoff.is_some_and(|cutoff| cutoff >= began && !follows(cutoff))
        };
        // The table of cut-offs forgets after a day.
        let too_old = elapsed >= TimeDelta::days(1);
        let waited_for = |before: Option<DateTime<Utc>>, under: Option<DateTime<Utc>>| {
            under != before && !under.is_some_and(follows)
        };
        let waited_for_one = waited_for(admission.cutoff_before_lock, admission.cutoff)
            || waited_for(admission.cutoff_of_all_before_lock, admission.cutoff_of_all);
        if too_old
            || waited_for_one
            || revoked_since(admission.cutoff)
            || revoked_since(admission.cutoff_of_all)
        {
            return Err(LogInOutcome::Refused);
        }
        match self.limit {
            Some((limit, OnLimit::Refuse)) if admission.others >= u64::from(limit) => {
                Err(LogInOutcome::TooManySessions)
            }
            _ => Ok(()),
        }
    }

    /// How many of the user's other sessions have to end, the least recent log-ins first.
    pub fn surplus(&self, admission: &Admission) -> u64 {
        match self.limit {
            Some((limit, OnLimit::EndOldest)) => {
                (admission.others + 1).saturating_sub(limit.into())
            }
            _ => 0,
        }
    }
}

/// What a log-in is decided by, read in its transaction.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The user's cut-off before the lock was asked for.
    pub cutoff_before_lock: Option<DateTime<Utc>>,
    /// The cut-off that holds for everybody before the lock was asked for.
    pub cutoff_of_all_before_lock: Option<DateTime<Utc>>,
    /// The user's cut-off under the lock.
    pub cutoff: Option<DateTime<Utc>>,
    /// The cut-off that holds for everybody, under its lock.
    pub cutoff_of_all: Option<DateTime<Utc>>,
    /// The database's clock, read after the locks.
    pub now: DateTime<Utc>,
    /// The user's live sessions without the one that logs in.
    pub others: u64,
}

/// What became of a log-in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LogInOutcome {
    /// The user is bound; these sessions of theirs were ended for it.
    LoggedIn(Box<Record>, Vec<SessionId>),
    /// The row has ended, or has another secret by now. Nothing was changed.
    Absent,
    /// The user's sessions were revoked after the authentication began. Nothing was changed.
    Refused,
    /// The limit says to refuse. Nothing was changed.
    TooManySessions,
}

/// What happens when a user logs in to one session more than the policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// The sessions with the least recent log-ins are ended.
    EndOldest,
    /// The log-in is refused.
    Refuse,
}

/// One session to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The row.
    pub id: SessionId,
    /// Whose it has to be; `None` for anybody's and nobody's.
    pub user_id: Option<String>,
}

/// Which sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// All of a user's.
    User(String),
    /// All of a user's but this one.
    OthersOf(String, SessionId),
    /// All there are.
    All,
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
    /// Whose.
    pub user_id: String,
    /// Only what was created before this one.
    pub before: Option<SessionId>,
    /// At most this many.
    pub limit: u32,
}

impl Page {
    /// The newest hundred of a user's.
    pub fn of_user(user_id: String) -> Self {
        Self { user_id, before: None, limit: 100 }
    }
}

/// A live session as a list of devices or an admin page shows it: neither its secret nor its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The public handle.
    pub id: SessionId,
    /// Whose session it is; `None` while anonymous.
    pub user_id: Option<String>,
    /// When it was first written.
    pub created_at: DateTime<Utc>,
    /// When the user last authenticated.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// When it was last seen, to about a twentieth of its idle timeout.
    pub last_seen_at: DateTime<Utc>,
    /// When it will end unless it is seen before.
    pub expires_at: DateTime<Utc>,
    /// The client's address at creation, log-in or renewal, whichever was last.
    pub ip: Option<IpAddr>,
    /// The client's user agent, likewise.
    pub user_agent: Option<String>,
}

/// How much there is to sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Pages that the table has.
    pub pages: u32,
    /// Expired rows, counted up to 200,000.
    pub expired: u64,
}

/// What one statement of a sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Swept {
    /// Deleted that many rows.
    Rows(u64),
    /// Nothing: another sweeper holds the lock.
    Busy,
}
