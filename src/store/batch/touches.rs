use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::AcqRel},
    },
    time::Duration,
};

use crate::{
    error::Result,
    metrics,
    store::{Store, Touch, task},
    token::SessionId,
};

/// How long touches are collected. Short compared with any idle timeout, which is at least a second.
const DELAY: Duration = Duration::from_millis(100);
/// At most this many rows in a statement.
const MAX_ROWS: usize = 500;

/// Touches that wait to be written, one for each secret of a session.
#[derive(Debug)]
pub(super) struct Touches(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    deadline: Duration,
    /// The key includes the secret, so that a replaced secret's touch takes no other touch's place.
    waiting: Mutex<HashMap<(SessionId, [u8; 32]), Touch>>,
    /// Whether a task exists that will write the waiting touches.
    is_scheduled: AtomicBool,
    /// Whether the last touches were lost. This is logged once, not ten times a second.
    is_failing: AtomicBool,
    /// Held during a write, so that a flush also waits for a write that began before it.
    writing: tokio::sync::Mutex<()>,
}

impl Touches {
    pub(super) fn new(store: Arc<dyn Store>, deadline: Duration) -> Self {
        Self(Arc::new(Shared {
            store,
            deadline,
            waiting: Mutex::default(),
            is_scheduled: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            writing: tokio::sync::Mutex::default(),
        }))
    }

    pub(super) fn add(&self, touches: &[Touch]) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for touch in touches {
            let key = (touch.holder.id, *touch.holder.secret_hash.as_bytes());
            let newest = waiting.entry(key).or_insert(*touch);
            if touch.lifetime.last_seen_at > newest.lifetime.last_seen_at {
                let (ip, settles) = (touch.ip.or(newest.ip), touch.settles || newest.settles);
                *newest = Touch { ip, settles, ..*touch };
            }
        }
        drop(waiting);
        if !self.0.is_scheduled.swap(true, AcqRel) {
            tokio::spawn(Scheduled(self.0.clone()).write());
        }
    }

    /// Writes the touches. Those that are not written by the deadline are lost.
    pub(super) async fn flush(&self) -> Result<()> {
        let shared = self.0.clone();
        task::run(Some(self.0.deadline), false, async move { shared.write().await }).await
    }
}

/// A task that will write the touches in a moment. If its runtime ends first, the next touch starts another
/// task, which writes them all.
struct Scheduled(Arc<Shared>);

impl Scheduled {
    async fn write(self) {
        tokio::time::sleep(DELAY).await;
        let shared = self.0.clone();
        // Later touches need another task.
        drop(self);
        let result = task::within(shared.deadline, false, shared.write()).await;
        let was_failing = shared.is_failing.swap(result.is_err(), AcqRel);
        match result {
            // The next request of each session finds that a touch is due, and makes another one.
            Err(error) if !was_failing => {
                tracing::warn!(target: "sessile", error = %error, "touches lost");
            }
            Ok(()) if was_failing => tracing::info!(target: "sessile", "touches written again"),
            _ => {}
        }
    }
}

impl Drop for Scheduled {
    fn drop(&mut self) {
        self.0.is_scheduled.store(false, std::sync::atomic::Ordering::Release);
    }
}

impl Shared {
    async fn write(&self) -> Result<()> {
        let _writing = self.writing.lock().await;
        let waiting =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut touches: Vec<Touch> = waiting.into_values().collect();
        touches.sort_unstable_by_key(|touch| touch.holder.id);
        for batch in touches.chunks(MAX_ROWS) {
            metrics::batch("touch", batch.len());
            self.store.touch(batch).await?;
        }
        Ok(())
    }
}
