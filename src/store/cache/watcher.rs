use std::{
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use tokio::task::AbortHandle;

use super::Shared;
use crate::{
    error::ErrorKind,
    store::{Invalidation, Store},
};

/// The first pause before listening is tried again; they double up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The task that listens for what other nodes change, from the first load until the cache is
/// dropped.
#[derive(Debug, Default)]
pub(super) struct Watcher(OnceLock<AbortHandle>);

impl Watcher {
    pub(super) fn start(&self, store: &Arc<dyn Store>, shared: &Arc<Shared>) {
        self.0.get_or_init(|| tokio::spawn(watch(store.clone(), shared.clone())).abort_handle());
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(task) = self.0.get() {
            task.abort();
        }
    }
}

async fn watch(store: Arc<dyn Store>, shared: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let on = |invalidation: Invalidation| {
            shared.generations.invalidate(&invalidation);
            shared.listening.store(true, Ordering::Release);
        };
        let result = store.watch(&on).await;
        if shared.listening.swap(false, Ordering::AcqRel) {
            pause = FIRST_PAUSE;
        }
        if let Err(error) = &result {
            tracing::warn!(target: "sessile", error = %error, "the cache is off: it does not hear of revocations");
            if error.kind() == ErrorKind::Configuration {
                return;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
