//! The results of a store's verbs: plain values.

use std::{fmt, net::IpAddr, ops::RangeInclusive, str::FromStr, sync::Arc, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::user_id::check_user_id;
use crate::{
    error::{Error, ErrorKind, Result},
    expiry::{FIRST, Lifetime, known},
    realm::Realm,
    token::{SecretHash, SessionId},
    user_id::{self, UserId},
};

/// How long the store tells a replaced secret from a wrong one. Requests that the browser sent before it had
/// the new cookie rarely take longer.
pub(crate) const SUPERSEDED_FOR: TimeDelta = TimeDelta::minutes(1);

/// A live session as it was read.
///
/// A person may have edited its row. All times here are between 1970 and the year 9999, even if those in the row are
/// not.
#[derive(Clone, Debug)]
pub struct Record {
    /// The public id.
    pub id: SessionId,
    /// The application that the session belongs to.
    pub realm: Realm,
    /// The hash of the cookie's secret.
    pub secret_hash: SecretHash,
    /// Hashes of further valid secrets: see [`LogIn`](super::LogIn).
    pub twins: Vec<SecretHash>,
    /// The secret before the present one.
    pub replaced: Option<Replaced>,
    /// The session's user; `None` while anonymous.
    pub user_id: Option<String>,
    /// Whether the log-in asked for "remember me". `None` if the first release wrote the row.
    pub remembered: Option<bool>,
    /// The last log-in of several requests that was begun, lapsed or not.
    pub pending: Option<PendingLogIn>,
    /// The JSON object as text. Shared, so that a copy of the record does not copy the data.
    pub data: Arc<str>,
    /// Counts the writes to `data`.
    pub revision: i64,
    /// When the row was first written.
    pub created_at: DateTime<Utc>,
    /// When the user last authenticated.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// When the session was last seen, and when it will end.
    pub lifetime: Lifetime,
    /// The database's clock when the row was read.
    pub now: DateTime<Utc>,
    /// When this node got the answer. Used only to measure the time since then.
    pub received: Instant,
    /// Whether the record was read before the call that returned it, because a wrapper around the store had
    /// kept it. Another node may have given the session a new secret since then.
    pub is_copy: bool,
    /// The first column that the store cannot read, or that contradicts another column, because a person has edited
    /// the row. This record may then have a placeholder for the column's value. No request gets into such a session.
    pub unreadable: Option<&'static str>,
}

/// A secret that was replaced by another one.
#[derive(Clone, Copy, Debug)]
pub struct Replaced {
    /// The hash of the secret.
    pub hash: SecretHash,
    /// When the secret was replaced.
    pub at: DateTime<Utc>,
}

/// A log-in of several requests, between two of these requests. It grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PendingLogIn {
    /// The user who is about to log in, if the user is known yet.
    pub user_id: Option<String>,
    /// When the log-in began. A later revocation of the user's sessions refuses it.
    pub began_at: DateTime<Utc>,
    /// When the log-in lapses.
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

/// Reads the columns that a person may have edited, and notes the first one without a valid value.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
#[derive(Default)]
pub(crate) struct Columns {
    unreadable: Option<&'static str>,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Columns {
    /// Takes `None` for a value that cannot be read, and returns the default in its place.
    pub(crate) fn read<T: Default>(&mut self, column: &'static str, value: Option<T>) -> T {
        value.unwrap_or_else(|| {
            self.unreadable.get_or_insert(column);
            T::default()
        })
    }

    /// The default hash, which replaces an unreadable one, is the hash of no secret.
    pub(crate) fn secret_hash(&mut self, bytes: &[u8], key: Option<&str>) -> SecretHash {
        let bytes = self.read("secret_hash", bytes.try_into().ok().map(|hash: [u8; 32]| hash));
        let hash = SecretHash::from(bytes);
        hash.with_key(key).unwrap_or_else(|| {
            self.read("hash_key", None::<()>);
            hash
        })
    }

    pub(crate) fn user_id(&mut self, user_id: Option<String>) -> Option<String> {
        let is_one = user_id.as_ref().is_none_or(|user_id| check_user_id(user_id).is_ok());
        self.read("user_id", is_one.then_some(user_id))
    }

    pub(crate) fn idle_timeout(&mut self, seconds: i64) -> u32 {
        let is_positive = i32::try_from(seconds).ok().filter(|seconds| *seconds > 0);
        self.read("idle_timeout", is_positive.map(i32::unsigned_abs))
    }

    /// The record with the first unreadable column, if there is one. Columns that contradict each other count as
    /// unreadable, because the table's checks would refuse every write to such a row.
    pub(crate) fn of(self, record: Record) -> Record {
        let contradicts = [
            ("authenticated_at", record.user_id.is_some() != record.authenticated_at.is_some()),
            ("valid_until", record.lifetime.valid_until > record.lifetime.absolute_expires_at),
            ("expires_at", record.lifetime.expires_at < record.lifetime.valid_until),
        ];
        let to_blame = || contradicts.iter().find(|(_, contradicts)| *contradicts);
        let unreadable = self.unreadable.or_else(|| to_blame().map(|(column, _)| *column));
        Record { unreadable, ..record }
    }
}

/// The result of comparing a secret with a session's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretCheck {
    /// The session's secret, or a twin of it.
    Current,
    /// A secret that was replaced within the last minute. The browser that sent it has the new cookie, or is
    /// about to get it.
    Superseded,
    /// Any other secret.
    Wrong,
}

impl PendingLogIn {
    /// The user's id as the application's type. As [`Session::user_id_as`](crate::Session::user_id_as).
    pub fn user_id_as<T: UserId + FromStr>(&self) -> Result<Option<T>> {
        self.user_id.as_deref().map(user_id::parse).transpose()
    }
}

impl Record {
    /// The database's time, as far as this node knows: the time of the read, plus the time since the answer
    /// came. Never ahead of the database, because the answer took time to arrive.
    pub fn now(&self) -> DateTime<Utc> {
        let elapsed = TimeDelta::from_std(self.received.elapsed()).unwrap_or_default();
        known(self.now) + elapsed
    }

    /// The revision after a save, as the statements count it: 62 bits, so that no number in an edited row
    /// overflows.
    pub(crate) fn next_revision(&self) -> i64 {
        (self.revision & (i64::MAX >> 1)) + 1
    }

    /// Compares a secret with this session's, in constant time.
    pub fn check(&self, hash: &SecretHash) -> SecretCheck {
        let is_twin = self.twins.iter().fold(false, |found, twin| found | twin.matches(hash));
        if self.secret_hash.matches(hash) | is_twin {
            return SecretCheck::Current;
        }
        match &self.replaced {
            Some(replaced) if hash.was(&replaced.hash) && !self.is_settled() => {
                SecretCheck::Superseded
            }
            _ => SecretCheck::Wrong,
        }
    }

    /// Whether the secret was replaced long enough ago: the response with the newest secret has arrived, or
    /// never will.
    pub fn is_settled(&self) -> bool {
        self.replaced.is_none_or(|replaced| self.now() - replaced.at >= SUPERSEDED_FOR)
    }

    /// The log-in of several requests that may be completed now.
    pub fn pending(&self) -> Option<&PendingLogIn> {
        // The first release does not complete a pending log-in, and leaves it in the row when it logs in. The
        // two times may be in the same millisecond, which is the precision of the beginning.
        let has_begun_since = |pending: &&PendingLogIn| {
            let is_later = |at: DateTime<Utc>| at - pending.began_at > TimeDelta::milliseconds(1);
            !self.authenticated_at.is_some_and(is_later)
        };
        self.pending
            .as_ref()
            .filter(|pending| self.now() < pending.lapses_at)
            .filter(has_begun_since)
    }
}

/// The end of a page of a user's sessions: the log-in time of the last session, by the database's clock, and its id,
/// in case two log-ins have the same time. The key's text can be part of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageKey {
    /// When the user last authenticated.
    pub authenticated_at: DateTime<Utc>,
    /// The session's id.
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
        // From 1970 to the year 9999: every database knows these times.
        const KNOWN: RangeInclusive<i64> = 0..=253_402_300_799_999_999;
        let key = text.split_once('.').and_then(|(micros, id)| {
            let micros = micros.parse().ok().filter(|micros| KNOWN.contains(micros))?;
            let authenticated_at = DateTime::from_timestamp_micros(micros)?;
            Some(Self { authenticated_at, id: id.parse().ok()? })
        });
        key.ok_or_else(|| {
            Error::new(ErrorKind::InvalidPageKey, "this is not the key of a page of sessions")
        })
    }
}

/// A live session, as a list of devices or an admin page shows it: without its secret and its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The public id.
    pub id: SessionId,
    /// The session's user; `None` while anonymous.
    pub user_id: Option<String>,
    /// When the session was first written.
    pub created_at: DateTime<Utc>,
    /// When the user last authenticated.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// When the session was last seen, to about a [`touch_interval`](crate::Policy::touch_interval).
    pub last_seen_at: DateTime<Utc>,
    /// When the session will end, unless it is seen before.
    pub expires_at: DateTime<Utc>,
    /// The client's address when the session was last seen.
    pub ip: Option<IpAddr>,
    /// The client's user agent at the last creation, log-in or renewal.
    pub user_agent: Option<String>,
}

impl SessionInfo {
    /// The user's id as the application's type. As [`Session::user_id_as`](crate::Session::user_id_as).
    pub fn user_id_as<T: UserId + FromStr>(&self) -> Result<Option<T>> {
        self.user_id.as_deref().map(user_id::parse).transpose()
    }

    /// The key for the next page, if this session is the last one of a page; `None` while anonymous.
    pub fn page_key(&self) -> Option<PageKey> {
        self.user_id.as_ref()?;
        // Only a person can have written a user's session without a log-in. Lists have it at their end.
        let authenticated_at = self.authenticated_at.unwrap_or(FIRST);
        Some(PageKey { authenticated_at, id: self.id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_key_is_a_text_and_no_other_text_is_one() {
        let id = SessionId::generate();
        let key = PageKey { authenticated_at: DateTime::from_timestamp_micros(1).unwrap(), id };
        assert_eq!(key.to_string().parse::<PageKey>().unwrap(), key);
        let year_10_000 = 253_402_300_800_000_000_i64;
        for text in [
            String::new(),
            id.to_string(),
            format!("1.{id}x"),
            format!("x.{id}"),
            // Times that a database may not know.
            format!("-1.{id}"),
            format!("{year_10_000}.{id}"),
        ] {
            let error = text.parse::<PageKey>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidPageKey, "{text}");
        }
    }
}
