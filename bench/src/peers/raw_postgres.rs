use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use harness::{Peer, Values, encode};
use sqlx::{PgPool, postgres::PgPoolOptions, types::Json};
use uuid::Uuid;

use crate::{
    fill::{self, Seen},
    postgres::Database,
    stores,
};

/// Statements over one row, in sessile's table, as an application would write them by hand.
pub(super) const LOAD: &str =
    "select id, secret_hash, user_id, data, revision, created_at, authenticated_at,
        last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at
    from sessile.sessions where id = $1 and now() < valid_until";
pub(super) const SAVE: &str = "update sessile.sessions
    set data = $2::text::json, revision = revision + 1, last_seen_at = now(),
        valid_until = least(absolute_expires_at, now() + make_interval(secs => idle_timeout))
    where id = $1 and now() < valid_until";
pub(super) const CREATE: &str = "insert into sessile.sessions (id, secret_hash, data, revision,
        created_at, last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at)
    values ($1, $2, $3::text::json, 0, now(), now(), 604800, now() + interval '28 days',
        now() + interval '7 days',
        date_bin(interval '84 hours', now() + interval '7 days', timestamptz 'epoch')
            + interval '84 hours')";
pub(super) const DELETE: &str = "delete from sessile.sessions where id = $1";

type Row = (
    Uuid,
    Vec<u8>,
    Option<String>,
    Json<Values>,
    i64,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    DateTime<Utc>,
    i32,
    DateTime<Utc>,
    DateTime<Utc>,
    DateTime<Utc>,
);

/// One query for each request through sqlx, without the ping that its pool sends by default.
#[derive(Debug)]
pub(super) struct Raw {
    pool: PgPool,
    ids: Vec<Uuid>,
}

pub(super) async fn peer(database: &Database, sessions: usize) -> Result<Raw> {
    let pool = PgPoolOptions::new().max_connections(10).test_before_acquire(false);
    Ok(Raw { pool: pool.connect(&database.url).await?, ids: fill(database, sessions).await? })
}

/// sessile's table with its indexes, full.
pub(super) async fn fill(database: &Database, sessions: usize) -> Result<Vec<Uuid>> {
    stores::open(&database.url).await?.migrate().await?;
    fill::postgres(&database.pool, sessions, Seen::Now).await?;
    Ok(fill::ids(&database.pool, sessions).await?.into_iter().map(Uuid::from).collect())
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
        Ok(row.3.0)
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
            .bind(fill::secret_hash().as_bytes())
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
