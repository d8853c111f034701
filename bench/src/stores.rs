//! The one place that makes sessile's stores, as `Sessions` makes them.

use std::sync::Arc;

use anyhow::Result;
use sessile::store::{BatchOptions, Batched, CacheOptions, Cached, Store};

/// What `sessile::connect` opens, and `Sessions` puts around it.
pub(crate) async fn open(url: &str) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(Batched::new(sessile::connect(url).await?.into(), BatchOptions::default())))
}

/// With a cache around it that is turned on, with its own defaults.
pub(crate) fn cached(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Cached::new(store, CacheOptions::default()))
}
