//! Carries what was written from the write-ahead log into the database file, beside the writer.
//!
//! SQLite by itself lets whoever commits the thousandth page do this, and everybody who wants to
//! write waits for the disk meanwhile. A passive checkpoint by another connection holds up neither
//! readers nor the writer (<https://www.sqlite.org/wal.html#performance_considerations>).

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use sqlx::{Sqlite, query};

use crate::{
    error::Result,
    store::connections::{Connections, Use},
};

/// About as many pages as SQLite's own limit: a row that is written is one, mostly.
const ROWS: u64 = 1_000;

#[derive(Clone, Debug)]
pub(super) struct Checkpoints(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connections: Connections<Sqlite>,
    /// Rows since the last one began.
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

    /// Called after each statement that wrote. Starts one when it is time.
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
                // The next one, or at last the writer itself, does what this one did not.
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
