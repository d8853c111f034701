//! What goes into a store and comes out of it: plain values.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::{
    client::Client,
    error::{Error, ErrorKind, Result},
    expiry::{Lifetime, Timeouts},
    realm::Realm,
    token::{SecretHash, SessionId},
};

/// How long a replaced secret is told from a wrong one: longer than any request that its browser
/// sent before it had the new cookie is likely to take.
pub(crate) const SUPERSEDED_FOR: TimeDelta = TimeDelta::minutes(1);

/// A live session as it was read.
#[derive(Clone, Debug)]
pub struct Record {
    /// The public handle.
    pub id: SessionId,
    /// Which application's session it is.
    pub realm: Realm,
    /// SHA-256 of the cookie's secret.
    pub secret_hash: SecretHash,
    /// Secrets that are as good: see [`LogIn`].
    pub twins: Vec<SecretHash>,
    /// The secret before the last one.
    pub replaced: Option<Replaced>,
    /// Whose session it is; `None` while anonymous.
    pub user_id: Option<String>,
    /// Whether its log-in said "remember me". `None` where the first release wrote the row.
    pub remembered: Option<bool>,
    /// The last log-in of several requests that was begun, lapsed or not.
    pub pending: Option<PendingLogIn>,
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
    /// Whether it was read before it was asked for: a wrapper around the store had kept it. Another
    /// node may have given the session a new secret since.
    pub is_copy: bool,
}

/// A secret that another one replaced.
#[derive(Clone, Copy, Debug)]
pub struct Replaced {
    /// SHA-256 of it.
    pub hash: SecretHash,
    /// When it was replaced.
    pub at: DateTime<Utc>,
}

/// A log-in of several requests, between two of them. It grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PendingLogIn {
    /// Who is about to log in, if that is known yet.
    pub user_id: Option<String>,
    /// When it began: a revocation of the user's sessions since then refuses it.
    pub began_at: DateTime<Utc>,
    /// When it lapses.
    pub lapses_at: DateTime<Utc>,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Replaced {
    pub(crate) fn from_row(hash: &[u8], at: Option<DateTime<Utc>>) -> Option<Self> {
        Some(Self { hash: SecretHash::try_from(hash).ok()?, at: at? })
    }
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl PendingLogIn {
    pub(crate) fn from_row(
        user_id: Option<String>,
        began_at: Option<DateTime<Utc>>,
        lapses_at: Option<DateTime<Utc>>,
    ) -> Option<Self> {
        Some(Self { user_id, began_at: began_at?, lapses_at: lapses_at? })
    }
}

/// What a secret is to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretCheck {
    /// The session's.
    Current,
    /// Another one replaced it within the last minute: the browser that sent it has the new cookie,
    /// or is about to get it.
    Superseded,
    /// Not the session's.
    Wrong,
}

impl Record {
    /// The database's time, as far as this node can tell: at the read, plus what has passed since.
    /// Never ahead of the database, since the answer took its time to come.
    pub fn now(&self) -> DateTime<Utc> {
        let elapsed = TimeDelta::from_std(self.received.elapsed()).unwrap_or_default();
        self.now + elapsed
    }

    /// What a secret is to this session, in a time that does not depend on where it differs.
    pub fn check(&self, hash: &SecretHash) -> SecretCheck {
        let is_twin = self.twins.iter().fold(false, |found, twin| found | twin.matches(hash));
        if self.secret_hash.matches(hash) | is_twin {
            return SecretCheck::Current;
        }
        match &self.replaced {
            Some(replaced) if replaced.hash.matches(hash) && !self.is_settled() => {
                SecretCheck::Superseded
            }
            _ => SecretCheck::Wrong,
        }
    }

    /// Whether the answer that brought the newest secret has arrived by now, or never will.
    pub fn is_settled(&self) -> bool {
        self.replaced.is_none_or(|replaced| self.now() - replaced.at >= SUPERSEDED_FOR)
    }

    /// The log-in of several requests that may be completed now.
    pub fn pending(&self) -> Option<&PendingLogIn> {
        let has_begun_since = |pending: &&PendingLogIn| {
            // The first release completes no pending log-in, and leaves it behind when it logs in.
            self.authenticated_at.is_none_or(|at| at <= pending.began_at)
        };
        self.pending
            .as_ref()
            .filter(|pending| self.now() < pending.lapses_at)
            .filter(has_begun_since)
    }
}

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
    /// the same beginning was sent twice, the second one gets a twin, as a [`LogIn`] does.
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

/// A user to bind to a session.
///
/// # A log-in that was sent twice
///
/// A double click sends the same log-in twice with the same cookie, and nobody knows whose answer
/// the browser keeps. So the second one finds a row that has replaced the secret it came with, less
/// than a minute ago, and already belongs to the user. It gets a secret of its own to the same row,
/// beside the first one's: a *twin*. The first request that comes a minute later, with either, makes
/// its secret the only one ([`Touch::settles`]).
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

/// The most that a row's twins take: four of them. Who clicks a sixth time gets a session of their
/// own.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) const MOST_TWIN_BYTES: i32 = 4 * 32;

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

/// Where a page of a user's sessions ends: the last one's log-in by the database's clock, and its id
/// where two are of the same moment. Its text may stand in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageKey {
    /// When the user last authenticated.
    pub authenticated_at: DateTime<Utc>,
    /// The session.
    pub id: SessionId,
}

impl fmt::Display for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.authenticated_at.timestamp_micros(), self.id)
    }
}

impl FromStr for PageKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let key = text.split_once('.').and_then(|(micros, id)| {
            let authenticated_at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
            Some(Self { authenticated_at, id: id.parse().ok()? })
        });
        key.ok_or_else(|| {
            Error::new(ErrorKind::InvalidPageKey, "this is not the key of a page of sessions")
        })
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
    /// When it was last seen, to about a [`touch_interval`](crate::Policy::touch_interval).
    pub last_seen_at: DateTime<Utc>,
    /// When it will end unless it is seen before.
    pub expires_at: DateTime<Utc>,
    /// The client's address, when it was last seen.
    pub ip: Option<IpAddr>,
    /// The client's user agent at creation, log-in or renewal, whichever was last.
    pub user_agent: Option<String>,
}

impl SessionInfo {
    /// Where a page of a user's sessions that ends with this one goes on; `None` while anonymous.
    pub fn page_key(&self) -> Option<PageKey> {
        Some(PageKey { authenticated_at: self.authenticated_at?, id: self.id })
    }
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
