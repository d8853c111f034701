//! An answer of the database that many viewers share: one question at a time, however many ask.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};

/// The newest answer, and the question that is on its way.
#[derive(Debug)]
pub(crate) struct Flight<T, E>(Arc<Inner<T, E>>);

#[derive(Debug)]
struct Inner<T, E> {
    state: Mutex<State<T, E>>,
    landed: Notify,
}

#[derive(Debug)]
struct State<T, E> {
    newest: Option<(Result<T, E>, Instant)>,
    is_flying: bool,
}

impl<T: Clone + Send + 'static, E: Clone + Send + 'static> Flight<T, E> {
    pub(crate) fn new() -> Self {
        let state = State { newest: None, is_flying: false };
        Self(Arc::new(Inner { state: Mutex::new(state), landed: Notify::new() }))
    }

    /// The answer, if it is younger than `fresh`. Otherwise it asks, waits for at most `patience`, and then returns
    /// the last answer if that is younger than `stale`. The question goes on in its own task after that. A failure is
    /// never returned when it is no longer fresh.
    pub(crate) async fn get<Ask, Asking>(
        &self,
        fresh: Duration,
        patience: Duration,
        stale: Duration,
        ask: Ask,
    ) -> Option<Result<T, E>>
    where
        Ask: FnOnce() -> Asking,
        Asking: Future<Output = Result<T, E>> + Send + 'static,
    {
        let mut landed = std::pin::pin!(self.0.landed.notified());
        landed.as_mut().enable();
        {
            let mut state = self.0.state();
            if let Some(answer) = state.younger_than(fresh, fresh) {
                return Some(answer);
            }
            if !state.is_flying {
                state.is_flying = true;
                let landing = Landing(self.0.clone());
                let asking = ask();
                tokio::spawn(async move {
                    let answer = asking.await;
                    landing.0.state().newest = Some((answer, Instant::now()));
                });
            }
        }
        let _ = timeout(patience, landed).await;
        self.0.state().younger_than(stale, fresh)
    }
}

/// The question is over when this is dropped, also after a panic.
struct Landing<T, E>(Arc<Inner<T, E>>);

impl<T, E> Drop for Landing<T, E> {
    fn drop(&mut self) {
        self.0.state().is_flying = false;
        self.0.landed.notify_waiters();
    }
}

impl<T, E> Inner<T, E> {
    fn state(&self) -> MutexGuard<'_, State<T, E>> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone, E: Clone> State<T, E> {
    fn younger_than(&self, age: Duration, age_of_failure: Duration) -> Option<Result<T, E>> {
        let (answer, at) = self.newest.as_ref()?;
        let age = if answer.is_ok() { age } else { age_of_failure };
        (at.elapsed() < age).then(|| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn many_viewers_ask_once_and_a_slow_answer_is_there_later() {
        let (flight, asked) = (Arc::new(Flight::new()), Arc::new(AtomicU32::new(0)));
        let gate = Arc::new(Notify::new());
        let get = |patience| {
            let (flight, asked, gate) = (flight.clone(), asked.clone(), gate.clone());
            async move {
                let ask = || async move {
                    gate.notified().await;
                    Ok::<_, ()>(asked.fetch_add(1, Ordering::SeqCst) + 1)
                };
                flight.get(LONG, patience, LONG, ask).await
            }
        };
        assert_eq!(get(Duration::from_millis(1)).await, None, "the answer is not there yet");
        let waiting = (0..20).map(|_| tokio::spawn(get(LONG))).collect::<Vec<_>>();
        tokio::task::yield_now().await;
        gate.notify_one();
        for viewer in waiting {
            assert_eq!(viewer.await.unwrap(), Some(Ok(1)));
        }
        assert_eq!(get(LONG).await, Some(Ok(1)), "a fresh answer is not asked again");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_panic_ends_the_question() {
        let flight = Flight::<u32, ()>::new();
        let panics = || async { panic!("for this test") };
        assert_eq!(flight.get(LONG, LONG, LONG, panics).await, None);
        assert_eq!(flight.get(LONG, LONG, LONG, || async { Ok(7) }).await, Some(Ok(7)));
    }

    #[tokio::test]
    async fn an_old_failure_is_not_repeated() {
        let (flight, soon) = (Flight::<u32, u32>::new(), Duration::from_millis(1));
        assert_eq!(flight.get(LONG, LONG, LONG, || async { Err(1) }).await, Some(Err(1)));
        assert_eq!(flight.get(LONG, LONG, LONG, || async { Ok(2) }).await, Some(Err(1)), "fresh");
        tokio::time::sleep(soon).await;
        let slow = || std::future::pending();
        assert_eq!(flight.get(soon, soon, LONG, slow).await, None, "the question is on its way");
    }
}
