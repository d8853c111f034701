//! Rows as the statements return them, and their conversion into the store's records.

use std::{borrow::Cow, fmt, time::Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, de::Visitor};
use serde_json::Value;
use sqlx::{
    Decode, Sqlite, Type,
    error::BoxDynError,
    sqlite::{SqliteTypeInfo, SqliteValueRef},
};
use uuid::Uuid;

use crate::{
    client,
    expiry::{FIRST, LAST, Lifetime},
    realm::Realm,
    store::{PendingLogIn, Record, Replaced, SessionInfo, record::Columns},
    token::{SecretHash, SessionId},
};

/// A session, as the columns of a statement or as an array of these columns in this order.
#[derive(Deserialize)]
pub(super) struct Row<Data = Text> {
    pub(super) id: Uuid,
    pub(super) realm: Text,
    #[serde(with = "hex::serde")]
    pub(super) secret_hash: Vec<u8>,
    pub(super) hash_key: Option<Text>,
    /// Empty for null, because `hex` returns an empty text for null.
    #[serde(with = "hex::serde")]
    pub(super) twin_hashes: Vec<u8>,
    #[serde(with = "hex::serde")]
    pub(super) replaced_hash: Vec<u8>,
    pub(super) replaced_at: Option<i64>,
    pub(super) user_id: Option<Text>,
    pub(super) remembered: Option<i64>,
    pub(super) pending_user_id: Option<Text>,
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

impl From<Row> for Record {
    fn from(mut row: Row) -> Self {
        let data = std::mem::take(&mut row.data);
        row.into_record(&data.0)
    }
}

/// Reads the result of a load. Each row is an array of its columns, followed by the data. The array has the data's
/// length in bytes in the place of the data, because data in the array would be escaped and read twice.
pub(super) fn records(mut rows: &[u8]) -> Result<Vec<Record>, sqlx::Error> {
    let mut records = Vec::new();
    while !rows.is_empty() {
        let mut arrays = serde_json::Deserializer::from_slice(rows).into_iter::<Row<usize>>();
        let row = arrays.next().transpose().map_err(decode_error)?;
        let behind = &rows[arrays.byte_offset()..];
        let split = row.and_then(|row| Some((behind.split_at_checked(row.data)?, row)));
        let Some(((data, rest), row)) = split else {
            return Err(sqlx::Error::Decode("a loaded row is shorter than it says".into()));
        };
        records.push(row.into_record(data));
        rows = rest;
    }
    Ok(records)
}

impl<Data> Row<Data> {
    fn into_record(self, data: &[u8]) -> Record {
        let mut columns = Columns::default();
        let hash_key = columns.read("hash_key", Text::valid(self.hash_key));
        let user_id = columns.read("user_id", Text::valid(self.user_id));
        let record = Record {
            id: self.id.into(),
            realm: Realm::of_row(&self.realm.lossy()),
            secret_hash: columns.secret_hash(&self.secret_hash, hash_key.as_deref()),
            twins: SecretHash::of_each(&self.twin_hashes),
            replaced: Replaced::from_row(&self.replaced_hash, self.replaced_at.map(moment)),
            user_id: columns.user_id(user_id),
            remembered: self.remembered.map(|remembered| remembered != 0),
            pending: PendingLogIn::from_row(
                columns.read("pending_user_id", Text::valid(self.pending_user_id)),
                self.pending_since.map(moment),
                self.pending_until.map(moment),
            ),
            data: columns.read("data", str::from_utf8(data).ok().map(Into::into)),
            revision: self.revision,
            created_at: moment(self.created_at),
            authenticated_at: self.authenticated_at.map(moment),
            lifetime: Lifetime::from_row(
                moment(self.last_seen_at),
                columns.idle_timeout(self.idle_timeout),
                moment(self.absolute_expires_at),
                moment(self.valid_until),
                moment(self.expires_at),
            ),
            now: moment(self.now),
            received: Instant::now(),
            is_copy: false,
            unreadable: None,
        };
        columns.of(record)
    }
}

/// A text as the file has it. SQLite lets a person store bytes that are not UTF-8.
#[derive(Default)]
pub(super) struct Text(Vec<u8>);

impl Text {
    /// `None` if the text is not UTF-8.
    fn valid(text: Option<Self>) -> Option<Option<String>> {
        text.map(|text| String::from_utf8(text.0)).transpose().ok()
    }

    /// For texts that are only shown or compared.
    fn lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl Type<Sqlite> for Text {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl<'r> Decode<'r, Sqlite> for Text {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <Vec<u8> as Decode<Sqlite>>::decode(value).map(Self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(bytes.to_vec()))
            }
        }

        // As bytes, because serde_json then accepts a text that is not UTF-8.
        deserializer.deserialize_byte_buf(Bytes)
    }
}

pub(super) struct InfoRow {
    pub(super) id: Uuid,
    pub(super) user_id: Option<Text>,
    pub(super) created_at: i64,
    pub(super) authenticated_at: Option<i64>,
    pub(super) last_seen_at: i64,
    pub(super) valid_until: i64,
    pub(super) ip: Option<Text>,
    pub(super) user_agent: Option<Text>,
}

impl From<InfoRow> for SessionInfo {
    fn from(row: InfoRow) -> Self {
        let shown = |text: Option<Text>| text.map(|text| text.lossy().into_owned());
        Self {
            id: row.id.into(),
            user_id: shown(row.user_id),
            created_at: moment(row.created_at),
            authenticated_at: row.authenticated_at.map(moment),
            last_seen_at: moment(row.last_seen_at),
            expires_at: moment(row.valid_until),
            ip: row.ip.and_then(|ip| client::parse_address(&ip.lossy())),
            user_agent: shown(row.user_agent),
        }
    }
}

/// A lifetime in the units of the columns.
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

/// The column's milliseconds as a moment.
pub(super) fn moment(millis: i64) -> DateTime<Utc> {
    let millis = millis.clamp(FIRST.timestamp_millis(), LAST.timestamp_millis());
    DateTime::from_timestamp_millis(millis).unwrap_or(LAST)
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
