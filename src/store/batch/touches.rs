use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    error::Result,
    store::{Store, Touch},
    token::SessionId,
};

/// How long touches are collected. Short beside any idle timeout, which is a second at least.
const DELAY: Duration = Duration::from_millis(100);
/// Rows of a statement at most.
const MAX_ROWS: usize = 500;

/// Touches on their way into the database, one a session's secret.
#[derive(Debug)]
pub(super) struct Touches(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    /// By the secret too: the touch of a replaced one takes no other's place.
    waiting: Mutex<HashMap<(SessionId, [u8; 32]), Touch>>,
    /// Held while they are written, so that a flush ends after those that were under way when it
    /// began.
    writing: tokio::sync::Mutex<()>,
}

impl Touches {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self(Arc::new(Shared {
            store,
            waiting: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }))
    }

    pub(super) fn add(&self, touches: &[Touch]) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = waiting.is_empty();
        for touch in touches {
            let key = (touch.holder.id, *touch.holder.secret_hash.as_bytes());
            let newest = waiting.entry(key).or_insert(*touch);
            if touch.lifetime.last_seen_at > newest.lifetime.last_seen_at {
                let (ip, settles) = (touch.ip.or(newest.ip), touch.settles || newest.settles);
                *newest = Touch { ip, settles, ..*touch };
            }
        }
        drop(waiting);
        if is_first {
            let shared = self.0.clone();
            tokio::spawn(async move {
                tokio::time::sleep(DELAY).await;
                if let Err(error) = shared.write().await {
                    // The next request of such a session finds that a touch is due, and makes
                    // another one.
                    tracing::warn!(target: "sessile", error = %error, "touches lost");
                }
            });
        }
    }

    pub(super) async fn flush(&self) -> Result<()> {
        self.0.write().await
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
            self.store.touch(batch).await?;
        }
        Ok(())
    }
}
