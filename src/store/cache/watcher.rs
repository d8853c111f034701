use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::AbortHandle;

use super::Shared;
use crate::{
    error::ErrorKind,
    store::{Invalidation, Store},
};

/// The first pause before another attempt to listen. Pauses double up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The task that listens for changes by other nodes, from the first load until the cache is dropped.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    is_running: Arc<AtomicBool>,
    task: Mutex<Option<AbortHandle>>,
}

impl Watcher {
    /// Starts the task unless it runs: at first, and again after its runtime has ended.
    pub(super) fn start(&self, store: &Arc<dyn Store>, shared: &Arc<Shared>) {
        if self.is_running.load(Ordering::Acquire) || self.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = Running { is_running: self.is_running.clone(), shared: shared.clone() };
        let task = tokio::spawn(watch(store.clone(), running)).abort_handle();
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// Held by the task. However the task ends, the cache then no longer listens.
struct Running {
    is_running: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.listening.store(false, Ordering::Release);
        self.is_running.store(false, Ordering::Release);
    }
}

async fn watch(store: Arc<dyn Store>, running: Running) {
    let shared = &running.shared;
    let mut pause = FIRST_PAUSE;
    loop {
        let on = |invalidation: Invalidation| {
            shared.generations.invalidate(&invalidation);
            shared.listening.store(true, Ordering::Release);
            (shared.teller.0)(&invalidation);
        };
        let result = store.watch(&on).await;
        if shared.listening.swap(false, Ordering::AcqRel) {
            pause = FIRST_PAUSE;
        }
        if let Err(error) = &result {
            tracing::warn!(target: "sessile", error = %error, "the cache is off: it does not hear of revocations");
            if error.kind() == ErrorKind::Configuration {
                // For good: every further attempt would fail the same way.
                std::future::pending::<()>().await;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
