use chrono::{DateTime, Utc};
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef, types::Oid},
};

use crate::expiry::{FIRST, LAST, known};

/// A `timestamptz`; `sqlx.toml` gives this type to the query macros. sqlx's own type for chrono is behind a feature.
/// That feature would make sqlx warn about every timestamp in the queries of an application that uses `time`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) DateTime<Utc>);

/// The server counts microseconds from 1 January 2000.
const EPOCH: i64 = 946_684_800_000_000;

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let since = <i64 as Decode<Postgres>>::decode(value)?;
        // `infinity` is the largest number, and `-infinity` the smallest.
        let known = FIRST.timestamp_micros()..=LAST.timestamp_micros();
        let micros = since.saturating_add(EPOCH).clamp(*known.start(), *known.end());
        Ok(Self(DateTime::from_timestamp_micros(micros).unwrap_or(LAST)))
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let since = known(self.0).timestamp_micros() - EPOCH;
        <i64 as Encode<Postgres>>::encode(since, buffer)
    }
}
