//! An application with orders: its own tables and migrations, its own `DATABASE_URL`, and its own checked
//! queries, whose timestamps keep their type.

// sqlx would warn if the features of another crate had made the type of a timestamp ambiguous.
#![deny(warnings)]

use sqlx::PgPool;

/// The type that `query!` uses for a `timestamptz` here.
#[cfg(feature = "chrono")]
pub type Moment = sqlx::types::chrono::DateTime<sqlx::types::chrono::Utc>;
#[cfg(feature = "time")]
pub type Moment = sqlx::types::time::OffsetDateTime;

pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    sqlx::migrate!().run(pool).await
}

pub async fn order(pool: &PgPool, item: &str) -> sqlx::Result<(i64, Moment)> {
    let row = sqlx::query!("insert into orders (item) values ($1) returning id, created_at", item)
        .fetch_one(pool)
        .await?;
    let created_at: Moment = row.created_at;
    Ok((row.id, created_at))
}

pub async fn orders_since(pool: &PgPool, moment: Moment) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("select item from orders where created_at >= $1 order by id", moment)
        .fetch_all(pool)
        .await
}
