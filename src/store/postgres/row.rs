//! Rows as the statements return them, and their conversion into the store's records.

use std::{sync::Arc, time::Instant};

use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef, types::Oid},
};
use uuid::Uuid;

use super::moment::Moment;
use crate::{
    client,
    expiry::Lifetime,
    realm::Realm,
    store::{PendingLogIn, Record, Replaced, SessionInfo, record::Columns},
    token::SecretHash,
};

pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) realm: String,
    pub(super) secret_hash: Vec<u8>,
    pub(super) hash_key: Option<String>,
    pub(super) twin_hashes: Option<Vec<u8>>,
    pub(super) replaced_hash: Option<Vec<u8>>,
    pub(super) replaced_at: Option<Moment>,
    pub(super) user_id: Option<String>,
    pub(super) remembered: Option<bool>,
    pub(super) pending_user_id: Option<String>,
    pub(super) pending_since: Option<Moment>,
    pub(super) pending_until: Option<Moment>,
    pub(super) data: JsonText,
    pub(super) revision: i64,
    pub(super) created_at: Moment,
    pub(super) authenticated_at: Option<Moment>,
    pub(super) last_seen_at: Moment,
    pub(super) idle_timeout: i32,
    pub(super) absolute_expires_at: Moment,
    pub(super) valid_until: Moment,
    pub(super) expires_at: Moment,
    pub(super) now: Moment,
}

impl From<Row> for Record {
    fn from(row: Row) -> Self {
        let mut columns = Columns::default();
        let record = Self {
            id: row.id.into(),
            realm: Realm::of_row(&row.realm),
            secret_hash: columns.secret_hash(&row.secret_hash, row.hash_key.as_deref()),
            twins: SecretHash::of_each(&row.twin_hashes.unwrap_or_default()),
            replaced: Replaced::from_row(
                row.replaced_hash.as_deref().unwrap_or_default(),
                row.replaced_at.map(|at| at.0),
            ),
            user_id: columns.user_id(row.user_id),
            remembered: row.remembered,
            pending: PendingLogIn::from_row(
                row.pending_user_id,
                row.pending_since.map(|at| at.0),
                row.pending_until.map(|at| at.0),
            ),
            data: row.data.0,
            revision: row.revision,
            created_at: row.created_at.0,
            authenticated_at: row.authenticated_at.map(|at| at.0),
            lifetime: Lifetime::from_row(
                row.last_seen_at.0,
                columns.idle_timeout(row.idle_timeout.into()),
                row.absolute_expires_at.0,
                row.valid_until.0,
                row.expires_at.0,
            ),
            now: row.now.0,
            received: Instant::now(),
            is_copy: false,
            unreadable: None,
        };
        columns.of(record)
    }
}

pub(super) struct InfoRow {
    pub(super) id: Uuid,
    pub(super) user_id: Option<String>,
    pub(super) created_at: Moment,
    pub(super) authenticated_at: Option<Moment>,
    pub(super) last_seen_at: Moment,
    pub(super) valid_until: Moment,
    pub(super) ip: Option<String>,
    pub(super) user_agent: Option<String>,
}

impl From<InfoRow> for SessionInfo {
    fn from(row: InfoRow) -> Self {
        Self {
            id: row.id.into(),
            user_id: row.user_id,
            created_at: row.created_at.0,
            authenticated_at: row.authenticated_at.map(|at| at.0),
            last_seen_at: row.last_seen_at.0,
            expires_at: row.valid_until.0,
            ip: row.ip.as_deref().and_then(client::parse_address),
            user_agent: row.user_agent,
        }
    }
}

/// The text of a `json` column. sqlx's own types for such a column would parse the text.
pub(super) struct JsonText<T = Arc<str>>(pub(super) T);

impl<T> Type<Postgres> for JsonText<T> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(114))
    }
}

impl<T> PgHasArrayType for JsonText<T> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(199))
    }
}

impl Encode<'_, Postgres> for JsonText<&str> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <&str as Encode<Postgres>>::encode(self.0, buffer)
    }
}

impl<'r> Decode<'r, Postgres> for JsonText {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(value.as_str()?.into()))
    }
}

pub(super) fn seconds(seconds: u32) -> i32 {
    i32::try_from(seconds).unwrap_or(i32::MAX)
}
