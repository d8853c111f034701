//! A log-in, and the decision whether to admit it.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::record::Record;
use crate::{
    client::Client,
    expiry::Timeouts,
    realm::Realm,
    token::{SecretHash, SessionId},
};

/// The size of a row's twins is limited to four secrets. The sixth click of one log-in gets its own session.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) const MOST_TWIN_BYTES: i32 = 4 * 32;

/// A user to bind to a session.
///
/// # A log-in that was sent twice
///
/// A double click sends the same log-in twice with the same cookie, and the browser may keep either answer.
/// So the second log-in finds a row that already belongs to the user, and that replaced the log-in's secret
/// less than a minute ago. The second log-in gets its own secret to the same row, beside the first one's: a
/// *twin*. The first request that comes a minute later, with either secret, makes its own secret the only one
/// ([`Touch::settles`](super::Touch::settles)).
#[derive(Clone, Debug)]
pub struct LogIn {
    /// The row to update, or to insert.
    pub id: SessionId,
    /// The user's realm.
    pub realm: Realm,
    /// The secret of an existing row: the row must have it, or must have replaced it in a log-in of the same
    /// user within the last minute. `None` to insert a new row.
    pub old_hash: Option<SecretHash>,
    /// The hash of the session's new secret.
    pub new_hash: SecretHash,
    /// The user.
    pub user_id: String,
    /// New data for the row; `None` keeps the row's data. A new row has `{}` without it.
    pub data: Option<String>,
    /// The revision of the row that `data` was made from. The row must still have it, unless it belongs to this user
    /// already: then it keeps its data. `None`: `data` replaces the data of every revision.
    pub of_revision: Option<i64>,
    /// The session's timeouts from now on.
    pub timeouts: Timeouts,
    /// Whether the user said "remember me".
    pub remembered: bool,
    /// The client that logs in.
    pub client: Client,
    /// When the authentication began.
    pub began: Began,
    /// A revocation that this log-in follows, and that therefore does not refuse it.
    pub after: Option<DateTime<Utc>>,
    /// How many live sessions the user may have, this one included, and how the limit is enforced.
    pub limit: Option<(u32, OnLimit)>,
    /// The other user whose session it was until now, as far as the caller knows.
    pub replaces_user: Option<String>,
    /// Whether the log of events records the log-in, the sessions that the limit ends, and a refusal.
    pub is_recorded: bool,
}

/// When an authentication began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// In a request of this node, by the node's monotonic clock.
    Here(Instant),
    /// In an earlier request, by the database's clock.
    At(DateTime<Utc>),
}

impl LogIn {
    /// Decides whether the log-in may continue, from the values that the store read under the user's lock.
    ///
    /// It refuses if a revocation is younger than the authentication, or was committed while the log-in
    /// waited for the lock, or if the user has too many sessions.
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
            // A cut-off that the sweep has deleted meanwhile was a day old, and refuses no log-in.
            let waited_for = cutoff.before_lock != Some(at);
            (waited_for || at >= began) && !follows(at)
        };
        // The table of cut-offs keeps a cut-off for a day. A beginning in the future means that the clock was
        // set back since then, so nothing is known about later revocations.
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

    /// How many of the user's other sessions must end, those with the least recent log-ins first.
    pub fn surplus(&self, admission: &Admission) -> u64 {
        match self.limit {
            Some((limit, OnLimit::EndOldest)) => {
                (admission.others + 1).saturating_sub(limit.into())
            }
            _ => 0,
        }
    }
}

/// The values that decide a log-in, read in its transaction.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// The user's cut-off.
    pub of_user: Cutoff,
    /// The realm's cut-off for all users.
    pub of_all: Cutoff,
    /// The database's clock, read after the locks were taken.
    pub now: DateTime<Utc>,
    /// The number of the user's other live sessions. Zero if there is no limit: then the store does not count
    /// them.
    pub others: u64,
}

/// A cut-off, as a log-in finds it. It refuses log-ins that began before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cutoff {
    /// Its value before the log-in asked for the lock.
    pub before_lock: Option<DateTime<Utc>>,
    /// Its value under the lock. A cut-off can be in the database's future if the clock was set back since.
    /// It then counts as now, and the store writes the present time into it, so that it refuses this log-in
    /// but not the next one.
    pub at: Option<DateTime<Utc>>,
}

impl Cutoff {
    /// Whether the cut-off is in the database's future by more than the millisecond by which SQLite rounds it
    /// up.
    pub fn is_ahead(&self, now: DateTime<Utc>) -> bool {
        self.at.is_some_and(|at| at - now > TimeDelta::milliseconds(1))
    }
}

/// The result of a log-in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LogInOutcome {
    /// The user is bound to the session. The limit ended the listed sessions.
    LoggedIn(Box<Record>, Vec<SessionId>),
    /// The row has ended, or has another secret now. Nothing was changed.
    Absent,
    /// The user's sessions were revoked after the authentication began. Nothing was changed.
    Refused,
    /// The user has reached the limit, and the limit says to refuse. Nothing was changed.
    TooManySessions,
}

impl LogInOutcome {
    /// Why the log-in was refused, for the logs.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Refused => Some("revoked since the authentication began"),
            Self::TooManySessions => Some("limit of sessions"),
            Self::LoggedIn(..) | Self::Absent => None,
        }
    }
}

/// How the limit is enforced when a user logs in to more sessions than the policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// The sessions with the least recent log-ins end.
    EndOldest,
    /// The log-in is refused.
    Refuse,
}
