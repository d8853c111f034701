//! Rows as the statements return them, and their way into the store's records.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    client,
    expiry::Lifetime,
    store::{PendingLogIn, Record, Replaced, SessionInfo},
    token::{SecretHash, SessionId},
};

/// A session as a statement returns its columns, or as an array of them in this order.
#[derive(Deserialize)]
pub(super) struct Row<Data = String> {
    pub(super) id: Uuid,
    pub(super) realm: String,
    #[serde(with = "hex::serde")]
    pub(super) secret_hash: Vec<u8>,
    /// Empty for null, as `hex` has it.
    #[serde(with = "hex::serde")]
    pub(super) twin_hashes: Vec<u8>,
    #[serde(with = "hex::serde")]
    pub(super) replaced_hash: Vec<u8>,
    pub(super) replaced_at: Option<i64>,
    pub(super) user_id: Option<String>,
    pub(super) remembered: Option<i64>,
    pub(super) pending_user_id: Option<String>,
    pub(super) pending_since: Option<i64>,
    pub(super) pending_until: Option<i64>,
    pub(super) data: Data,
    pub(super) revision: i64,
    pub(super) created_at: i64,
    pub(super) authenticated_at: Option<i64>,
    pub(super) last_seen_at: i64,
    pub(super) idle_timeout: i64,
    pub(super) absolute_expires_at: i64,
    pub(super) valid_until: i64,
    pub(super) expires_at: i64,
    pub(super) now: i64,
}

impl TryFrom<Row> for Record {
    type Error = sqlx::Error;

    fn try_from(mut row: Row) -> Result<Self, sqlx::Error> {
        let data = std::mem::take(&mut row.data);
        row.into_record(&data)
    }
}

/// What a load returns: of each row an array of its columns, with the length of the data in bytes in
/// its place, and behind it the data. In the array it would be escaped, and would have to be read
/// once more.
pub(super) fn records(mut rows: &str) -> Result<Vec<Record>, sqlx::Error> {
    let mut records = Vec::new();
    while !rows.is_empty() {
        let mut arrays = serde_json::Deserializer::from_str(rows).into_iter::<Row<usize>>();
        let row = arrays.next().transpose().map_err(decode_error)?;
        let behind = &rows[arrays.byte_offset()..];
        let split = row.and_then(|row| Some((behind.split_at_checked(row.data)?, row)));
        let Some(((data, rest), row)) = split else {
            return Err(sqlx::Error::Decode("a loaded row is shorter than it says".into()));
        };
        records.push(row.into_record(data)?);
        rows = rest;
    }
    Ok(records)
}

impl<Data> Row<Data> {
    fn into_record(self, data: &str) -> Result<Record, sqlx::Error> {
        Ok(Record {
            id: self.id.into(),
            realm: self.realm.parse().map_err(decode_error)?,
            secret_hash: SecretHash::try_from(&*self.secret_hash).map_err(decode_error)?,
            twins: SecretHash::of_each(&self.twin_hashes),
            replaced: Replaced::from_row(&self.replaced_hash, self.replaced_at.map(moment)),
            user_id: self.user_id,
            remembered: self.remembered.map(|remembered| remembered != 0),
            pending: PendingLogIn::from_row(
                self.pending_user_id,
                self.pending_since.map(moment),
                self.pending_until.map(moment),
            ),
            data: data.into(),
            revision: self.revision,
            created_at: moment(self.created_at),
            authenticated_at: self.authenticated_at.map(moment),
            lifetime: Lifetime::from_row(
                moment(self.last_seen_at),
                u32::try_from(self.idle_timeout).map_err(decode_error)?,
                moment(self.absolute_expires_at),
                moment(self.valid_until),
                moment(self.expires_at),
            ),
            now: moment(self.now),
            received: Instant::now(),
            is_copy: false,
        })
    }
}

pub(super) struct InfoRow {
    pub(super) id: Uuid,
    pub(super) user_id: Option<String>,
    pub(super) created_at: i64,
    pub(super) authenticated_at: Option<i64>,
    pub(super) last_seen_at: i64,
    pub(super) valid_until: i64,
    pub(super) ip: Option<String>,
    pub(super) user_agent: Option<String>,
}

impl From<InfoRow> for SessionInfo {
    fn from(row: InfoRow) -> Self {
        Self {
            id: row.id.into(),
            user_id: row.user_id,
            created_at: moment(row.created_at),
            authenticated_at: row.authenticated_at.map(moment),
            last_seen_at: moment(row.last_seen_at),
            expires_at: moment(row.valid_until),
            ip: row.ip.as_deref().and_then(client::parse_address),
            user_agent: row.user_agent,
        }
    }
}

/// A lifetime as the columns hold it.
pub(super) struct Millis {
    pub(super) last_seen_at: i64,
    pub(super) idle_timeout: u32,
    pub(super) absolute_expires_at: i64,
    pub(super) valid_until: i64,
    pub(super) expires_at: i64,
}

impl From<&Lifetime> for Millis {
    fn from(lifetime: &Lifetime) -> Self {
        Self {
            last_seen_at: lifetime.last_seen_at.timestamp_millis(),
            idle_timeout: lifetime.idle_timeout,
            absolute_expires_at: lifetime.absolute_expires_at.timestamp_millis(),
            valid_until: lifetime.valid_until.timestamp_millis(),
            expires_at: lifetime.expires_at.timestamp_millis(),
        }
    }
}

/// The column's milliseconds as a moment. What chrono cannot hold (the year 262,000) is its last
/// one.
pub(super) fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// An id in a parameter for `json_each`.
pub(super) fn hex(id: &SessionId) -> String {
    id.as_uuid().simple().to_string()
}

/// A parameter for `json_each`.
pub(super) fn array(items: impl Iterator<Item = Value>) -> String {
    Value::Array(items.collect()).to_string()
}

pub(super) fn decode_error(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
