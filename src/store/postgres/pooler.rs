//! What is between this process and the server, if anything is.

use sqlx::{PgConnection, Row, raw_sql};

/// Whether somebody else answers for the server. sqlx asks for `extra_float_digits = 2` when it connects, which a
/// PgBouncer ignores: the server's own value is 1. A statement without a prepared one, which would be the first
/// to go wrong.
pub(crate) async fn is_between(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let row = raw_sql("show extra_float_digits").fetch_one(connection).await?;
    let digits: String = row.try_get(0)?;
    Ok(digits != "2")
}

/// Whether a pooler has refused the connection for what sqlx asks for.
pub(crate) fn refuses_start_up(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().contains("extra_float_digits"))
}

pub(crate) fn warn() {
    tracing::warn!(target: "sessile", "a pooler such as PgBouncer is between: if it is in transaction mode and older than 1.21, or has max_prepared_statements = 0, open the database with ConnectOptions::behind_pooler");
}
