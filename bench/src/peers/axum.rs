use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result};
use axum_session::DatabasePool;
use axum_session_sqlx::{SessionPgPool, SessionSqlitePool};
use harness::{Peer, Values, values};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{postgres::Database, sqlite};

const TABLE: &str = "sessions";
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// The crate's format of a session: each value as a separate text, in one JSON object. The crate's own type
/// for that has no public constructor.
#[derive(Debug, Serialize, Deserialize)]
struct Data {
    data: HashMap<String, String>,
    longterm: bool,
}

fn encode(values: &Values) -> Result<String> {
    let value = |(key, value)| Ok((String::clone(key), serde_json::to_string(value)?));
    let data = values.iter().map(value).collect::<Result<_>>()?;
    Ok(serde_json::to_string(&Data { data, longterm: false })?)
}

fn decode(text: &str) -> Result<Values> {
    let data: Data = serde_json::from_str(text)?;
    data.data.into_iter().map(|(key, value)| Ok((key, serde_json::from_str(&value)?))).collect()
}

#[derive(Debug)]
pub(super) struct Axum<D> {
    pool: D,
    ids: Vec<String>,
    expires: i64,
}

/// On a pool with sqlx's defaults, as in the crate's documentation.
pub(super) async fn postgres(database: &Database, sessions: usize) -> Result<Axum<SessionPgPool>> {
    let pool = SessionPgPool::from(sqlx::PgPool::connect(&database.url).await?);
    pool.initiate(TABLE).await?;
    sqlx::query(
        "insert into sessions (id, expires, session)
         select gen_random_uuid(), extract(epoch from now())::bigint + $3, $1
         from generate_series(1, $2)",
    )
    .bind(encode(&values())?)
    .bind(i64::try_from(sessions)?)
    .bind(i64::try_from(WEEK.as_secs())?)
    .execute(&database.pool)
    .await?;
    database.vacuum().await?;
    let ids = sqlx::query_scalar("select id from sessions").fetch_all(&database.pool).await?;
    Ok(Axum::new(pool, ids))
}

pub(super) async fn sqlite(url: &str, sessions: usize) -> Result<Axum<SessionSqlitePool>> {
    let sqlite = sqlite::pool(url).await?;
    let pool = SessionSqlitePool::from(sqlite.clone());
    pool.initiate(TABLE).await?;
    let ids: Vec<String> = (0..sessions).map(|_| Uuid::new_v4().to_string()).collect();
    sqlx::query(
        "insert into sessions (id, expires, session)
         select value, unixepoch() + ?3, ?2 from json_each(?1)",
    )
    .bind(serde_json::to_string(&ids)?)
    .bind(encode(&values())?)
    .bind(i64::try_from(WEEK.as_secs())?)
    .execute(&sqlite)
    .await?;
    Ok(Axum::new(pool, ids))
}

impl<D: DatabasePool> Axum<D> {
    fn new(pool: D, ids: Vec<String>) -> Self {
        let expires = (OffsetDateTime::now_utc() + WEEK).unix_timestamp();
        Self { pool, ids, expires }
    }

    async fn store(&self, id: &str, values: &Values) -> Result<()> {
        Ok(self.pool.store(id, &encode(values)?, self.expires, TABLE).await?)
    }
}

impl<D: DatabasePool + Send + Sync + 'static> Peer for Axum<D> {
    type Created = String;

    fn sessions(&self) -> usize {
        self.ids.len()
    }

    async fn load(&self, session: usize) -> Result<Values> {
        let text = self.pool.load(&self.ids[session], TABLE).await?;
        decode(&text.context("no such session")?)
    }

    async fn save(&self, session: usize, values: Values) -> Result<()> {
        self.store(&self.ids[session], &values).await
    }

    async fn create(&self, values: Values) -> Result<String> {
        let id = Uuid::new_v4().to_string();
        self.store(&id, &values).await?;
        Ok(id)
    }

    async fn delete(&self, created: String) -> Result<()> {
        Ok(self.pool.delete_one_by_id(&created, TABLE).await?)
    }
}
