//! The one place that makes sessile's stores, as `Sessions` makes them.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use sessile::store::{
    Batched, CacheOptions, Cached, Store, postgres::PostgresStore, sqlite::SqliteStore,
};
use sqlx::{
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// What `sessile::connect` opens and `Sessions` puts around it.
pub(crate) async fn postgres(url: &str) -> Result<Arc<dyn Store>> {
    Ok(around(plain_postgres(url).await?))
}

/// With nothing around it.
pub(crate) async fn plain_postgres(url: &str) -> Result<PostgresStore> {
    let options: PgConnectOptions = url.parse()?;
    let pool = PgPoolOptions::new()
        .max_connections(10)
        .acquire_timeout(Duration::from_secs(3))
        .test_before_acquire(false)
        .connect_with(options)
        .await?;
    Ok(PostgresStore::dedicated(pool))
}

/// The same for a file.
pub(crate) async fn sqlite(url: &str) -> Result<Arc<dyn Store>> {
    let options: SqliteConnectOptions = url.parse()?;
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(5))
        .row_buffer_size(256);
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let readers = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
    Ok(around(SqliteStore::dedicated(readers, writer)))
}

fn around(store: impl Store) -> Arc<dyn Store> {
    Arc::new(Batched::new(Arc::new(store)))
}

/// With a cache around it that is turned on, with its own defaults.
pub(crate) fn cached(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Cached::new(store, CacheOptions::default()))
}
