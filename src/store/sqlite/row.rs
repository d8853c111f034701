//! Rows as the statements return them, and their way into the store's records.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    client::Client,
    expiry::Lifetime,
    store::{Record, SessionInfo},
    token::SecretHash,
};

/// A session as a statement returns its columns, or its place in an array of them in this order.
#[derive(Deserialize)]
pub(super) struct Row {
    pub(super) id: Uuid,
    #[serde(with = "hex::serde")]
    pub(super) secret_hash: Vec<u8>,
    pub(super) user_id: Option<String>,
    pub(super) data: String,
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

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id.into(),
            secret_hash: SecretHash::try_from(&*row.secret_hash).map_err(decode_error)?,
            user_id: row.user_id,
            data: row.data.into(),
            revision: row.revision,
            created_at: moment(row.created_at),
            authenticated_at: row.authenticated_at.map(moment),
            lifetime: Lifetime::from_row(
                moment(row.last_seen_at),
                u32::try_from(row.idle_timeout).map_err(decode_error)?,
                moment(row.absolute_expires_at),
                moment(row.valid_until),
                moment(row.expires_at),
            ),
            now: moment(row.now),
            received: Instant::now(),
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
            ip: row.ip.and_then(|ip| ip.parse().ok()),
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

/// A parameter for `json_each`.
pub(super) fn array(items: impl Iterator<Item = Value>) -> String {
    Value::Array(items.collect()).to_string()
}

pub(super) fn address(client: &Client) -> Option<String> {
    client.ip.map(|ip| ip.to_string())
}

pub(super) fn decode_error(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
