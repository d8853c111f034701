//! Poolers between this process and the server.

use sqlx::{PgConnection, Row, raw_sql};

/// Whether a pooler answers for the server. sqlx asks for `extra_float_digits = 2` when it connects.
/// PgBouncer ignores that, and the server's own value is 1. This is not a prepared statement, which a pooler
/// could confuse.
pub(crate) async fn is_between(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let row = raw_sql("show extra_float_digits").fetch_one(connection).await?;
    let digits: String = row.try_get(0)?;
    Ok(digits != "2")
}

/// Whether a pooler has refused the connection because of a setting that sqlx asks for.
pub(crate) fn refuses_start_up(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().contains("extra_float_digits"))
}

pub(crate) fn warn() {
    tracing::warn!(target: "sessile", "a pooler such as PgBouncer is between: if it is in transaction mode and older than 1.21, or has max_prepared_statements = 0, open the database with ConnectOptions::behind_pooler");
}
