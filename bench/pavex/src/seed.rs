//! The sessions at the beginning. They are written without the store, which writes one at a time.

use std::time::Duration;

use anyhow::Result;
use harness::{encode, values};
use pavex_session::SessionId;
use sqlx::{
    PgPool, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

pub(crate) async fn postgres(pool: &PgPool, sessions: usize) -> Result<Vec<SessionId>> {
    sqlx::query(
        "insert into sessions (id, deadline, state)
         select gen_random_uuid(), now() + interval '7 days', $1::jsonb
         from generate_series(1, $2)",
    )
    .bind(encode(&values())?)
    .bind(i64::try_from(sessions)?)
    .execute(pool)
    .await?;
    sqlx::query("vacuum analyze sessions").execute(pool).await?;
    ids(sqlx::query_scalar("select id from sessions").fetch_all(pool).await?)
}

pub(crate) async fn sqlite_pool(url: &str) -> Result<SqlitePool> {
    let options: SqliteConnectOptions = url.parse()?;
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(30));
    Ok(SqlitePoolOptions::new().connect_with(options).await?)
}

pub(crate) async fn sqlite(pool: &SqlitePool, sessions: usize) -> Result<Vec<SessionId>> {
    let made: Vec<Uuid> = (0..sessions).map(|_| SessionId::random().inner()).collect();
    let (data, mut transaction) = (encode(&values())?, pool.begin().await?);
    for chunk in made.chunks(5_000) {
        let texts: Vec<String> = chunk.iter().map(Uuid::to_string).collect();
        sqlx::query(
            "insert into sessions (id, deadline, state)
             select value, unixepoch() + 7 * 86400, ?2 from json_each(?1)",
        )
        .bind(serde_json::to_string(&texts)?)
        .bind(&data)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    ids(made)
}

/// The type has no constructor from a UUID, but it deserializes from one.
fn ids(ids: Vec<Uuid>) -> Result<Vec<SessionId>> {
    let id = |id: Uuid| Ok(serde_json::from_value(serde_json::Value::String(id.to_string()))?);
    ids.into_iter().map(id).collect()
}
