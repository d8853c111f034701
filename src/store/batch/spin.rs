use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    task::Poll,
    time::{Duration, Instant},
};

use tokio::task::yield_now;

/// How long a statement is polled for, and what statements may take lately for that to be worth it.
const AT_MOST: Duration = Duration::from_micros(200);

/// How the answers to statements are waited for while there is little to do.
///
/// A thread that parks is woken late, by 20 to 40 µs where a processor idles: as much as a database
/// on the same machine takes for all the rest. So a request goes on asking for its answer at first,
/// each time after whatever else the processor and the runtime have to do. Where answers lately took
/// longer than that, as those of a database far away or of large statements do, it parks at once.
#[derive(Debug, Default)]
pub(super) struct Spin {
    /// What statements took, in microseconds: a moving average.
    lately: AtomicU32,
}

impl Spin {
    /// Waits for `statement`, without parking for as long as that is likely to help and
    /// `is_calm`.
    pub(super) async fn wait<F: Future>(
        &self,
        statement: F,
        is_calm: impl Fn() -> bool,
    ) -> F::Output {
        let mut statement = pin!(statement);
        let began = Instant::now();
        if self.pays_off() {
            while is_calm() && began.elapsed() < AT_MOST {
                if let Poll::Ready(done) = poll_once(statement.as_mut()).await {
                    self.record(began.elapsed());
                    return done;
                }
                std::thread::yield_now();
                yield_now().await;
            }
        }
        let done = statement.await;
        self.record(began.elapsed());
        done
    }

    fn pays_off(&self) -> bool {
        u128::from(self.lately.load(Relaxed)) < AT_MOST.as_micros()
    }

    /// One that took very long counts as one that took long: it says no more about the next one.
    fn record(&self, took: Duration) {
        let took = took.min(AT_MOST * 2).as_micros() as u32;
        let lately = self.lately.load(Relaxed);
        self.lately.store((3 * lately + took) / 4, Relaxed);
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use tokio::task::JoinHandle;

    use super::*;

    const SLOW: Duration = Duration::from_millis(50);

    /// A statement that wakes nobody when it is done, which it is the fifth time that it is asked.
    fn wait(spin: Spin, is_calm: bool) -> (Arc<AtomicUsize>, JoinHandle<()>) {
        let asked = Arc::<AtomicUsize>::default();
        let count = asked.clone();
        let statement = poll_fn(move |_| match count.fetch_add(1, SeqCst) {
            ..4 => Poll::Pending,
            _ => Poll::Ready(()),
        });
        (asked, tokio::spawn(async move { spin.wait(statement, || is_calm).await }))
    }

    async fn settle() {
        for _ in 0..50 {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_statement_is_asked_until_it_is_done() {
        let (asked, done) = wait(Spin::default(), true);
        settle().await;
        assert!(done.is_finished(), "asked {asked:?} times");
        assert_eq!(asked.load(SeqCst), 5);
    }

    #[tokio::test]
    async fn under_load_it_is_waited_for() {
        let (asked, done) = wait(Spin::default(), false);
        settle().await;
        assert!(!done.is_finished());
        assert_eq!(asked.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn a_database_far_away_is_waited_for() {
        let spin = Spin::default();
        (0..10).for_each(|_| spin.record(SLOW));
        let (asked, done) = wait(spin, true);
        settle().await;
        assert!(!done.is_finished());
        assert_eq!(asked.load(SeqCst), 1);
    }

    #[test]
    fn slow_statements_are_soon_forgotten() {
        let spin = Spin::default();
        spin.record(SLOW);
        assert!(spin.pays_off(), "one of them says little");
        (0..10).for_each(|_| spin.record(SLOW));
        assert!(!spin.pays_off());
        (0..4).for_each(|_| spin.record(AT_MOST / 2));
        assert!(spin.pays_off());
    }

    #[tokio::test]
    async fn nobody_is_asked_for_longer_than_a_moment() {
        let asked = Arc::<AtomicUsize>::default();
        let count = asked.clone();
        let never = poll_fn(move |_| {
            count.fetch_add(1, SeqCst);
            Poll::<()>::Pending
        });
        let began = Instant::now();
        tokio::spawn(async move { Spin::default().wait(never, || true).await });
        while began.elapsed() < AT_MOST * 2 {
            yield_now().await;
        }
        settle().await;
        let at_first = asked.load(SeqCst);
        settle().await;
        assert!(at_first > 1);
        assert_eq!(asked.load(SeqCst), at_first);
    }

    #[tokio::test]
    async fn what_was_waited_for_is_remembered_too() {
        let spin = Spin::default();
        (0..10).for_each(|_| spin.record(SLOW));
        for _ in 0..10 {
            spin.wait(std::future::ready(()), || true).await;
        }
        assert!(spin.pays_off());
    }
}
