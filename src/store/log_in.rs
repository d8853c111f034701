//! A log-in, and the decision whether it may go on.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::record::Record;
use crate::{
    client::Client,
    expiry::Timeouts,
    realm::Realm,
    token::{SecretHash, SessionId},
};

/// The most that a row's twins take: four of them. Who clicks a sixth time gets a session of their
/// own.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) const MOST_TWIN_BYTES: i32 = 4 * 32;

/// A user to bind to a session.
///
/// # A log-in that was sent twice
///
/// A double click sends the same log-in twice with the same cookie, and nobody knows whose answer
/// the browser keeps. So the second one finds a row that has replaced the secret it came with, less
/// than a minute ago, and already belongs to the user. It gets a secret of its own to the same row,
/// beside the first one's: a *twin*. The first request that comes a minute later, with either, makes
/// its secret the only one ([`Touch::settles`](super::Touch::settles)).
#[derive(Clone, Debug)]
pub struct LogIn {
    /// The row to update, or to insert.
    pub id: SessionId,
    /// In which realm the user is one.
    pub realm: Realm,
    /// The secret that an existing row has to have, or to have replaced in a log-in of the same user
    /// within the last minute; `None` to insert a new one.
    pub old_hash: Option<SecretHash>,
    /// Of the secret that the session gets.
    pub new_hash: SecretHash,
    /// The user.
    pub user_id: String,
    /// Replaces the row's data; `None` leaves it as it is. Required to insert.
    pub data: Option<String>,
    /// Of the session from now on.
    pub timeouts: Timeouts,
    /// Whether the user said "remember me".
    pub remembered: bool,
    /// Who logs in.
    pub client: Client,
    /// When the authentication began.
    pub began: Began,
    /// A revocation which this log-in follows, and which therefore does not refuse it.
    pub after: Option<DateTime<Utc>>,
    /// How many live sessions the user may have with this one, and what happens beyond that.
    pub limit: Option<(u32, OnLimit)>,
}

/// When an authentication began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// In a request of this node, by its monotonic clock.
    Here(Instant),
    /// In an earlier request, by the database's clock.
    At(DateTime<Utc>),
}

impl LogIn {
    /// Decides from what the store read under the user's lock whether this log-in may go on.
    ///
    /// It may not where a revocation is younger than the authentication, or was committed while the
    /// log-in waited for the lock, or where the user has too many sessions.
    pub fn admit(&self, admission: &Admission) -> Result<(), LogInOutcome> {
        let now = admission.now;
        let began = match self.began {
            Began::At(moment) => moment,
            Began::Here(instant) => TimeDelta::from_std(instant.elapsed())
                .ok()
                .and_then(|elapsed| now.checked_sub_signed(elapsed))
                .unwrap_or(DateTime::<Utc>::MIN_UTC),
        };
        let follows = |cutoff: DateTime<Utc>| self.after.is_some_and(|after| cutoff <= after);
        let refuses = |cutoff: &Cutoff| {
            let Some(at) = cutoff.at else { return false };
            // One that the sweep has deleted meanwhile is a day old, and refuses nobody.
            let waited_for = cutoff.before_lock != Some(at);
            (waited_for || at >= began) && !follows(at)
        };
        // The table of cut-offs forgets after a day. A moment in the future is of a clock that was set
        // back since, and says nothing about what was revoked meanwhile.
        let is_unknown = began > now || now - began >= TimeDelta::days(1);
        if is_unknown || refuses(&admission.of_user) || refuses(&admission.of_all) {
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
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// The user's cut-off.
    pub of_user: Cutoff,
    /// The one that holds for everybody in the realm.
    pub of_all: Cutoff,
    /// The database's clock, read after the locks.
    pub now: DateTime<Utc>,
    /// The user's live sessions without the one that logs in. Zero where there is no limit: nobody
    /// has to count them.
    pub others: u64,
}

/// A cut-off as a log-in met it: log-ins that began before it are refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cutoff {
    /// Before the lock was asked for.
    pub before_lock: Option<DateTime<Utc>>,
    /// Under the lock. One that lies in the database's future, because its clock was set back since,
    /// counts as now, and the store writes that down: it refuses this log-in, and not the next one.
    pub at: Option<DateTime<Utc>>,
}

impl Cutoff {
    /// Whether it lies in the database's future, by more than the millisecond by which SQLite rounds
    /// it up.
    pub fn is_ahead(&self, now: DateTime<Utc>) -> bool {
        self.at.is_some_and(|at| at - now > TimeDelta::milliseconds(1))
    }
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
