//! The order of calls that would disturb each other.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::timeout,
};

use crate::token::SessionId;

/// Admits calls one at a time, in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    mutex: Arc<AsyncMutex<()>>,
    /// The number of turns so far.
    taken: AtomicU64,
}

impl Turn {
    /// Waits while other calls take their turns. `None` if no call has taken a turn for this long: the call that
    /// has the turn waits for an event that never comes, or is no longer polled.
    pub(crate) async fn wait(&self, stalls_after: Duration) -> Option<OwnedMutexGuard<()>> {
        let mut next = pin!(self.mutex.clone().lock_owned());
        loop {
            let taken = self.taken.load(Relaxed);
            match timeout(stalls_after, &mut next).await {
                Ok(guard) => {
                    self.taken.fetch_add(1, Relaxed);
                    return Some(guard);
                }
                Err(_) if self.taken.load(Relaxed) == taken => return None,
                Err(_) => {}
            }
        }
    }
}

/// A turn for each session, as long as a call uses it.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<SessionId, Weak<Turn>>>);

impl Turns {
    pub(crate) fn of(&self, id: SessionId) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&id).and_then(Weak::upgrade) {
            return turn;
        }
        // The map only has the few sessions that several requests write to at the moment.
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::<Turn>::default();
        turns.insert(id, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn whoever_holds_a_turn_for_long_is_not_waited_for() {
        let turn = Turn::default();
        let held = turn.wait(STALL).await.unwrap();
        assert!(turn.wait(STALL).await.is_none());
        drop(held);
        assert!(turn.wait(STALL).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_row_is_waited_for_while_it_moves() {
        let turn = Arc::<Turn>::default();
        let waiting = (0..10).map(|_| {
            let turn = turn.clone();
            tokio::spawn(async move {
                let mine = turn.wait(STALL).await;
                tokio::time::sleep(STALL * 3 / 4).await;
                mine.is_some()
            })
        });
        for had_one in waiting.collect::<Vec<_>>() {
            assert!(had_one.await.unwrap());
        }
    }

    #[test]
    fn each_session_has_its_own_while_it_is_wanted() {
        let turns = Turns::default();
        let (a, b) = (SessionId::generate(), SessionId::generate());
        let of_a = turns.of(a);
        assert!(Arc::ptr_eq(&of_a, &turns.of(a)));
        assert!(!Arc::ptr_eq(&of_a, &turns.of(b)));
        drop(of_a);
        turns.of(b);
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
