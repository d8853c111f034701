use std::sync::Arc;

use sqlx::Database;
use tokio::{
    runtime,
    time::{Instant, timeout},
};

use super::{Shared, WAIT};

/// The task that asks the pool on behalf of all that wait, for one connection at a time. It is nobody's own: sqlx
/// closes a connection whose acquisition is dropped on its way, and whoever waits is often helped by somebody
/// else first. So the pool grows only as far as there are waiting ones, and a server that has no more to give is
/// asked by one task of each process.
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
                // Whoever waits has a time of their own.
                Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => {}
                Ok(Err(error)) => self.refuse(error),
            }
        }
    }

    /// Else it ends: under the lock, so that nobody counts on it in between.
    fn somebody_waits(&mut self) -> bool {
        let mut state = self.shared.state();
        state.waiting.retain(|(_, sender)| !sender.is_closed());
        if !state.waiting.iter().any(|(at, _)| *at == self.runtime) {
            state.asking.retain(|at| *at != self.runtime);
            self.is_over = true;
        }
        !self.is_over
    }

    /// Tells it to the one that has waited longest. For the next one the pool is asked again.
    fn refuse(&self, error: sqlx::Error) {
        let mut state = self.shared.state();
        let first = state.waiting.iter().position(|(at, _)| *at == self.runtime);
        if let Some((_, waiting)) = first.and_then(|first| state.waiting.remove(first)) {
            waiting.send(Err(error)).ok();
        }
    }
}

/// Before its end: with its runtime, or by a panic.
impl<DB: Database> Drop for Asking<DB> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.state().asking.retain(|at| *at != self.runtime);
        }
    }
}
