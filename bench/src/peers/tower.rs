use anyhow::{Context, Result};
use harness::{Peer, Values, values};
use time::{Duration, OffsetDateTime};
use tower_sessions::{
    SessionStore,
    session::{Id, Record},
};
use tower_sessions_sqlx_store::{PostgresStore, SqliteStore};

use crate::{postgres::Database, sqlite};

#[derive(Debug)]
pub(super) struct Tower<S> {
    store: S,
    ids: Vec<Id>,
    expiry_date: OffsetDateTime,
}

/// A record for a week.
pub(crate) fn record(id: Id, data: Values) -> Record {
    Record { id, data, expiry_date: OffsetDateTime::now_utc() + Duration::WEEK }
}

/// On a pool with sqlx's defaults, as in the crate's documentation.
pub(crate) async fn postgres_store(url: &str) -> Result<PostgresStore> {
    let store = PostgresStore::new(sqlx_08::PgPool::connect(url).await?);
    store.migrate().await?;
    Ok(store)
}

pub(super) async fn postgres(database: &Database, sessions: usize) -> Result<Tower<PostgresStore>> {
    let store = postgres_store(&database.url).await?;
    let ids = new_ids(sessions);
    fill(database, &ids).await?;
    Ok(Tower::new(store, ids))
}

/// The store alone, with this many sessions in it.
pub(crate) async fn filled(database: &Database, sessions: usize) -> Result<PostgresStore> {
    let store = postgres_store(&database.url).await?;
    fill(database, &new_ids(sessions)).await?;
    Ok(store)
}

async fn fill(database: &Database, ids: &[Id]) -> Result<()> {
    for chunk in ids.chunks(20_000) {
        let (names, data) = encode(chunk)?;
        sqlx::query(
            "insert into tower_sessions.session (id, data, expiry_date)
             select id, data, now() + interval '7 days'
             from unnest($1::text[], $2::bytea[]) as new (id, data)",
        )
        .bind(names)
        .bind(data)
        .execute(&database.pool)
        .await?;
    }
    database.vacuum().await
}

pub(super) async fn sqlite(url: &str, sessions: usize) -> Result<Tower<SqliteStore>> {
    let store = SqliteStore::new(sqlite::pool_08(url).await?);
    store.migrate().await?;
    let (ids, pool) = (new_ids(sessions), sqlite::pool(url).await?);
    let mut transaction = pool.begin().await?;
    for chunk in ids.chunks(5_000) {
        let (names, data) = encode(chunk)?;
        let rows: Vec<_> = names.into_iter().zip(data.into_iter().map(hex::encode)).collect();
        sqlx::query(
            "insert into tower_sessions (id, data, expiry_date)
             select value ->> 0, unhex(value ->> 1),
                 strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '+7 days')
             from json_each(?1)",
        )
        .bind(serde_json::to_string(&rows)?)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(Tower::new(store, ids))
}

pub(super) fn new_ids(n: usize) -> Vec<Id> {
    std::iter::repeat_with(Id::default).take(n).collect()
}

/// The format of a record in this family of stores.
fn encode(ids: &[Id]) -> Result<(Vec<String>, Vec<Vec<u8>>)> {
    let encode = |id: &Id| Ok((id.to_string(), rmp_serde::to_vec(&record(*id, values()))?));
    ids.iter().map(encode).collect()
}

impl<S: SessionStore> Tower<S> {
    pub(super) fn new(store: S, ids: Vec<Id>) -> Self {
        Self { store, ids, expiry_date: OffsetDateTime::now_utc() + Duration::WEEK }
    }

    fn record(&self, id: Id, data: Values) -> Record {
        Record { id, data, expiry_date: self.expiry_date }
    }
}

impl<S: SessionStore> Peer for Tower<S> {
    type Created = Id;

    fn sessions(&self) -> usize {
        self.ids.len()
    }

    async fn load(&self, session: usize) -> Result<Values> {
        let record = self.store.load(&self.ids[session]).await?;
        Ok(record.context("no such session")?.data)
    }

    async fn save(&self, session: usize, values: Values) -> Result<()> {
        Ok(self.store.save(&self.record(self.ids[session], values)).await?)
    }

    async fn create(&self, values: Values) -> Result<Id> {
        let mut record = self.record(Id::default(), values);
        self.store.create(&mut record).await?;
        Ok(record.id)
    }

    async fn delete(&self, created: Id) -> Result<()> {
        Ok(self.store.delete(&created).await?)
    }

    /// As its `cycle_id` and the save after it: the record gets another id, and so another row.
    async fn visit_and_log_in(&self, values: Values) -> Result<()> {
        let id = self.create(values).await?;
        let mut record = self.store.load(&id).await?.context("no such session")?;
        self.store.delete(&id).await?;
        record.id = Id::default();
        Ok(self.store.create(&mut record).await?)
    }
}
