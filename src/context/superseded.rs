use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Context;
use crate::{store::SupersededUse, token::SessionId};

/// The database keeps one event a minute for a session. This node does not even ask it more often.
const ONCE_IN: Duration = Duration::from_secs(60);
/// The most sessions in a minute. Each of them has a secret that was stolen, or a browser in a hurry.
const MOST: usize = 1000;

/// The sessions whose superseded secret was used in the last minute.
#[derive(Debug, Default)]
pub(super) struct RecentUses(Mutex<HashMap<SessionId, Instant>>);

impl RecentUses {
    /// Whether this use is to be recorded.
    fn is_new(&self, id: SessionId) -> bool {
        // Nothing panics while the lock is held.
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.get(&id).is_some_and(|at| at.elapsed() < ONCE_IN) {
            return false;
        }
        if uses.len() >= MOST {
            uses.retain(|_, at| at.elapsed() < ONCE_IN);
        }
        let has_room = uses.len() < MOST;
        if has_room {
            uses.insert(id, Instant::now());
        }
        has_room
    }
}

impl Context {
    /// Records the use of a superseded secret in the background: the request that used it does not wait.
    pub(crate) fn note_superseded(self: &Arc<Self>, used: SupersededUse) {
        if self.rules.records_events && self.superseded_uses.is_new(used.id) {
            let context = self.clone();
            // A failure is logged where it happens.
            tokio::spawn(async move { context.store.log_superseded(&used).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_counts_once_and_not_without_bound() {
        let uses = RecentUses::default();
        let id = SessionId::generate();
        assert!(uses.is_new(id) && !uses.is_new(id));
        for _ in 1..MOST {
            assert!(uses.is_new(SessionId::generate()));
        }
        assert!(!uses.is_new(SessionId::generate()));
        assert_eq!(uses.0.lock().unwrap().len(), MOST);
    }
}
