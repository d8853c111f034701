use std::sync::Arc;

use super::Store;

/// The database that [`Sessions`](crate::Sessions) uses: created from a pool, by
/// [`connect`](crate::connect()), or from any [`Store`].
#[derive(Clone, Debug)]
pub struct Backend(Arc<dyn Store>);

impl Backend {
    /// Creates a backend from any store.
    pub fn new(store: impl Store) -> Self {
        Self(Arc::new(store))
    }
}

impl From<Arc<dyn Store>> for Backend {
    fn from(store: Arc<dyn Store>) -> Self {
        Self(store)
    }
}

/// Returns the store itself, so that another store can be put around it. `Sessions` does this with every
/// backend.
impl From<Backend> for Arc<dyn Store> {
    fn from(backend: Backend) -> Self {
        backend.0
    }
}

#[cfg(feature = "postgres")]
impl From<sqlx::PgPool> for Backend {
    fn from(pool: sqlx::PgPool) -> Self {
        Self::new(super::postgres::PostgresStore::new(pool))
    }
}

#[cfg(feature = "sqlite")]
impl From<sqlx::SqlitePool> for Backend {
    fn from(pool: sqlx::SqlitePool) -> Self {
        Self::new(super::sqlite::SqliteStore::new(pool))
    }
}
