use anyhow::{Context, Result, ensure};
use harness::{Peer, Values, encode};
use sqlx::SqlitePool;
use uuid::Uuid;

use crate::{fill, sqlite, stores};

/// Statements over one row, in sessile's table, as an application would write them by hand.
const LOAD: &str = "select id, secret_hash, user_id, data, revision, created_at, authenticated_at,
        last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at
    from sessions where id = ?1 and unixepoch('subsec') * 1000 < valid_until";
const SAVE: &str = "update sessions
    set data = ?2, revision = revision + 1, last_seen_at = now,
        valid_until = min(absolute_expires_at, now + 1000 * idle_timeout)
    from (select cast(round(unixepoch('subsec') * 1000) as integer) as now)
    where id = ?1 and now < valid_until";
const CREATE: &str =
    "insert into sessions (id, secret_hash, data, revision, created_at, last_seen_at,
        idle_timeout, absolute_expires_at, valid_until, expires_at)
    select ?1, ?2, ?3, 0, now, now, 604800, now + 2419200000, now + 604800000,
        ((now + 604800000) / 302400000 + 1) * 302400000
    from (select cast(round(unixepoch('subsec') * 1000) as integer) as now)";
const DELETE: &str = "delete from sessions where id = ?1";

type Row = (Uuid, Vec<u8>, Option<String>, String, i64, i64, Option<i64>, i64, i64, i64, i64, i64);

/// One query for each request through sqlx, on a pool like an application's, without the ping.
#[derive(Debug)]
pub(super) struct Raw {
    pool: SqlitePool,
    ids: Vec<Uuid>,
}

pub(super) async fn peer(url: &str, sessions: usize) -> Result<Raw> {
    stores::open(url).await?.migrate().await?;
    let pool = sqlite::pool_without_ping(url).await?;
    let ids = fill::sqlite(&pool, sessions).await?.into_iter().map(Uuid::from).collect();
    Ok(Raw { pool, ids })
}

impl Peer for Raw {
    type Created = Uuid;

    fn sessions(&self) -> usize {
        self.ids.len()
    }

    async fn load(&self, session: usize) -> Result<Values> {
        let row: Option<Row> =
            sqlx::query_as(LOAD).bind(self.ids[session]).fetch_optional(&self.pool).await?;
        let row = row.context("no such session")?;
        ensure!(row.1 == fill::secret_hash().as_bytes(), "another secret");
        Ok(serde_json::from_str(&row.3)?)
    }

    async fn save(&self, session: usize, values: Values) -> Result<()> {
        let data = encode(&values)?;
        let done = sqlx::query(SAVE).bind(self.ids[session]).bind(data).execute(&self.pool).await?;
        ensure!(done.rows_affected() == 1, "not saved");
        Ok(())
    }

    async fn create(&self, values: Values) -> Result<Uuid> {
        let id = Uuid::now_v7();
        sqlx::query(CREATE)
            .bind(id)
            .bind(fill::secret_hash().as_bytes().to_vec())
            .bind(encode(&values)?)
            .execute(&self.pool)
            .await?;
        Ok(id)
    }

    async fn delete(&self, created: Uuid) -> Result<()> {
        let done = sqlx::query(DELETE).bind(created).execute(&self.pool).await?;
        ensure!(done.rows_affected() == 1, "not deleted");
        Ok(())
    }
}
