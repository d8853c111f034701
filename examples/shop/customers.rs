//! The shop's own data about its customers: the preferences of an account.
//!
//! A session contains one device's preferences and ends with a log-out. Preferences that should follow a user
//! to the next device belong to the account. They are in the application's own table, here in the same
//! database.

use std::time::Duration;

use serde_json::Value;
use sqlx::{PgPool, SqlitePool, postgres::PgPoolOptions, sqlite::SqlitePoolOptions};

use crate::refusal::{Refusal, Result};

#[derive(Clone)]
pub(crate) enum Customers {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

// Both databases understand these statements.
const CREATE: &str = "create table if not exists shop_preferences \
    (user_id text not null, key text not null, value text not null, primary key (user_id, key))";
const LOOK: &str = "select 1 from shop_preferences limit 0";
const READ: &str = "select key, value from shop_preferences where user_id = $1";
const WRITE: &str = "insert into shop_preferences (user_id, key, value) values ($1, $2, $3) \
    on conflict (user_id, key) do update set value = excluded.value";

impl Customers {
    pub(crate) async fn open(url: &str) -> Result<Self, sqlx::Error> {
        let patience = Duration::from_secs(3);
        let customers = if url.starts_with("sqlite:") {
            let pool = SqlitePoolOptions::new().acquire_timeout(patience);
            Self::Sqlite(pool.max_connections(1).connect(url).await?)
        } else {
            let pool = PgPoolOptions::new().acquire_timeout(patience);
            Self::Postgres(pool.max_connections(2).connect(url).await?)
        };
        // The table's owner may have created it before, so that the shop itself needs no right to create tables. If two
        // shops start at once, both may find no table. At the second try there is one.
        if !customers.has_table().await && customers.create().await.is_err() {
            customers.create().await?;
        }
        Ok(customers)
    }

    async fn has_table(&self) -> bool {
        match self {
            Self::Postgres(pool) => sqlx::query(LOOK).execute(pool).await.is_ok(),
            Self::Sqlite(pool) => sqlx::query(LOOK).execute(pool).await.is_ok(),
        }
    }

    async fn create(&self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(pool) => sqlx::query(CREATE).execute(pool).await.map(drop),
            Self::Sqlite(pool) => sqlx::query(CREATE).execute(pool).await.map(drop),
        }
    }

    pub(crate) async fn preferences(&self, user: &str) -> Result<Vec<(String, Value)>> {
        let rows: Vec<(String, String)> = match self {
            Self::Postgres(pool) => sqlx::query_as(READ).bind(user).fetch_all(pool).await?,
            Self::Sqlite(pool) => sqlx::query_as(READ).bind(user).fetch_all(pool).await?,
        };
        let parsed =
            |(key, value): (String, String)| Some((key, serde_json::from_str(&value).ok()?));
        Ok(rows.into_iter().filter_map(parsed).collect())
    }

    pub(crate) async fn prefers(&self, user: &str, key: &str, value: &Value) -> Result<()> {
        // Postgres cannot store U+0000. In JSON text it is an escape.
        let value = value.to_string();
        match self {
            Self::Postgres(pool) => {
                sqlx::query(WRITE).bind(user).bind(key).bind(value).execute(pool).await?;
            }
            Self::Sqlite(pool) => {
                sqlx::query(WRITE).bind(user).bind(key).bind(value).execute(pool).await?;
            }
        }
        Ok(())
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the customers' table failed");
        Self::unavailable()
    }
}
