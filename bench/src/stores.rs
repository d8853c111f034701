//! The only place that creates sessile's stores, as `Sessions` creates them.

use std::sync::Arc;

use anyhow::Result;
use sessile::store::{BatchOptions, Batched, CacheOptions, Cached, Store};

/// The store that `sessile::connect` opens, with the store that `Sessions` puts around it.
pub(crate) async fn open(url: &str) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(Batched::new(sessile::connect(url).await?.into(), BatchOptions::default())))
}

/// With a cache around it, with default options.
pub(crate) fn cached(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Cached::new(store, CacheOptions::default()))
}
