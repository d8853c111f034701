use std::sync::Arc;

use sqlx::Database;
use tokio::{
    runtime,
    time::{Instant, timeout},
};

use super::{Shared, WAIT};

/// The task that asks the pool on behalf of all waiting requests, for one connection at a time. No request
/// asks for itself: sqlx closes a connection whose acquisition is dropped, and a waiting request often gets a
/// connection from another request first. So the pool grows only while requests wait, and a server that has
/// no more connections is asked by one task of each runtime.
pub(super) struct Asking<DB: Database> {
    shared: Arc<Shared<DB>>,
    runtime: runtime::Id,
    is_over: bool,
}

impl<DB: Database> Asking<DB> {
    pub(super) fn of(shared: Arc<Shared<DB>>, runtime: runtime::Id) -> Self {
        Self { shared, runtime, is_over: false }
    }

    pub(super) async fn ask(mut self) {
        while self.somebody_waits() {
            match timeout(WAIT, self.shared.acquire_or_find()).await {
                Ok(Ok(connection)) => self.shared.keep(connection, Instant::now()),
                // Each waiting request has its own time limit.
                Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => {}
                Ok(Err(error)) => self.refuse(error),
            }
        }
    }

    /// Returns whether a request waits. If none does, ends the task under the lock, so that no request counts
    /// on it in between.
    fn somebody_waits(&mut self) -> bool {
        let mut state = self.shared.state();
        state.waiting.retain(|(_, sender)| !sender.is_closed());
        if !state.waiting.iter().any(|(at, _)| *at == self.runtime) {
            state.asking.retain(|at| *at != self.runtime);
            self.is_over = true;
        }
        !self.is_over
    }

    /// Gives the error to the request that has waited longest. For the next request, the task asks the pool
    /// again.
    fn refuse(&self, error: sqlx::Error) {
        let mut state = self.shared.state();
        let first = state.waiting.iter().position(|(at, _)| *at == self.runtime);
        if let Some((_, waiting)) = first.and_then(|first| state.waiting.remove(first)) {
            waiting.send(Err(error)).ok();
        }
    }
}

/// If the task is dropped before its end: with its runtime, or by a panic.
impl<DB: Database> Drop for Asking<DB> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.state().asking.retain(|at| *at != self.runtime);
        }
    }
}
