use std::sync::Arc;

use super::Store;

/// The database that [`Sessions`](crate::Sessions) uses: made of a pool, by
/// [`connect`](crate::connect()), or of any [`Store`].
#[derive(Clone, Debug)]
pub struct Backend(Arc<dyn Store>);

impl Backend {
    /// From any store.
    pub fn new(store: impl Store) -> Self {
        Self(Arc::new(store))
    }
}

impl From<Arc<dyn Store>> for Backend {
    fn from(store: Arc<dyn Store>) -> Self {
        Self(store)
    }
}

/// The store itself, to put another one around it: `Sessions` puts its own around whatever it gets.
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
