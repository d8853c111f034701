//! Moves written pages from the write-ahead log into the database file, beside the writer.
//!
//! SQLite by itself does this in the commit that reaches a thousand pages, and every other writer waits for
//! the disk meanwhile. A passive checkpoint by another connection delays neither readers nor the writer
//! (<https://www.sqlite.org/wal.html#performance_considerations>).

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use sqlx::{Sqlite, query};

use crate::{
    error::Result,
    store::connections::{Connections, Use},
};

/// About as many pages as SQLite's own limit, because a written row is usually one page.
const ROWS: u64 = 1_000;

#[derive(Clone, Debug)]
pub(super) struct Checkpoints(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connections: Connections<Sqlite>,
    /// Rows since the last checkpoint began.
    written: AtomicU64,
    is_running: AtomicBool,
}

impl Checkpoints {
    pub(super) fn new(connections: Connections<Sqlite>) -> Self {
        Self(Arc::new(Shared {
            connections,
            written: AtomicU64::new(0),
            is_running: AtomicBool::new(false),
        }))
    }

    /// Called after each statement that wrote. Starts a checkpoint when it is due.
    pub(super) fn written(&self, rows: u64) {
        let written = self.0.written.fetch_add(rows, Relaxed) + rows;
        if written >= ROWS && !self.0.is_running.swap(true, Relaxed) {
            tokio::spawn(Running(self.0.clone()).run());
        }
    }
}

struct Running(Arc<Shared>);

impl Running {
    async fn run(self) {
        while self.0.written.swap(0, Relaxed) >= ROWS {
            if let Err(error) = self.checkpoint().await {
                // The next checkpoint does the work of this one. In the end the writer itself does it.
                tracing::debug!(%error, "no checkpoint");
                return;
            }
        }
    }

    async fn checkpoint(&self) -> Result<()> {
        let connection = self.0.connections.take(Use::Read).await?;
        connection.execute(query("pragma wal_checkpoint(passive)")).await?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.is_running.store(false, Relaxed);
    }
}
