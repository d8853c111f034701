use std::{
    collections::{HashSet, VecDeque},
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot, time::timeout};

use super::{spin::Spin, verbs::Verb};
use crate::error::{Error, Result};

/// Rows of a statement at most. More gain nothing, and make the first of them wait.
const MAX_ROWS: usize = 256;
/// Bytes of data in a statement at most, but for a single row that is larger.
const MAX_BYTES: usize = 1 << 20;
/// So many requests that wait are enough to do: nobody spins.
const FEW: usize = 8;
/// How long a statement keeps its lane to itself.
const STALLS_AFTER: Duration = Duration::from_millis(100);
/// Statements beyond the lanes at most: each of them has a connection.
const MAX_STALLED: usize = 4;

/// Items of one verb on their way into statements.
///
/// A lane is the right to have a statement in flight. An item that finds every lane free runs
/// inline, in its caller's task: no hop to another one. Every other statement runs in a task of its
/// own, which goes on until nothing waits: so a caller that is dropped, or that is not polled any
/// more, holds up nobody but itself.
///
/// Nor does a statement that waits for a row which somebody has locked hold up the other sessions:
/// after a tenth of a second it goes on without a lane, and the next one takes its place. Not where
/// there is one lane, and for no more than [`MAX_STALLED`] statements at once.
#[derive(Debug)]
pub(super) struct Queue<V: Verb>(Arc<Shared<V>>);

#[derive(Debug)]
struct Shared<V: Verb> {
    verb: V,
    lanes: usize,
    spin: Spin,
    state: Mutex<State<V>>,
}

#[derive(Debug)]
struct State<V: Verb> {
    lanes_taken: usize,
    /// Statements that go on without a lane.
    stalled: usize,
    waiting: VecDeque<Waiting<V>>,
}

#[derive(Debug)]
struct Waiting<V: Verb> {
    item: V::Item,
    answer: oneshot::Sender<Result<V::Output>>,
}

impl<V: Verb> Queue<V> {
    pub(super) fn new(verb: V, lanes: usize) -> Self {
        let state = Mutex::new(State { lanes_taken: 0, stalled: 0, waiting: VecDeque::new() });
        Self(Arc::new(Shared { verb, lanes: lanes.max(1), spin: Spin::default(), state }))
    }

    pub(super) async fn submit(&self, item: V::Item) -> Result<V::Output> {
        match self.0.enter(item) {
            Entered::Alone(item, mut lane) => {
                let items = [item];
                let statement = self.0.spin.wait(self.0.verb.run(&items), || self.0.is_calm());
                let answers = lane.while_running(statement).await;
                drop(lane);
                answers?.pop().ok_or_else(lost)
            }
            Entered::Waiting(answer) => answer.await.map_err(|_| lost())?,
        }
    }
}

enum Entered<V: Verb> {
    Alone(V::Item, Lane<V>),
    Waiting(oneshot::Receiver<Result<V::Output>>),
}

#[cfg(test)]
impl<V: Verb> Queue<V> {
    pub(super) fn is_idle(&self) -> bool {
        let state = self.0.state();
        state.lanes_taken == 0 && state.stalled == 0 && state.waiting.is_empty()
    }
}

impl<V: Verb> Shared<V> {
    fn state(&self) -> MutexGuard<'_, State<V>> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so few requests wait that the threads would only wait too.
    fn is_calm(&self) -> bool {
        self.state().waiting.len() < FEW
    }

    fn enter(self: &Arc<Self>, item: V::Item) -> Entered<V> {
        let mut state = self.state();
        if state.lanes_taken == 0 {
            state.lanes_taken = 1;
            return Entered::Alone(item, Lane::new(self, true));
        }
        let (sender, answer) = oneshot::channel();
        state.waiting.push_back(Waiting { item, answer: sender });
        let is_free = state.lanes_taken < self.lanes;
        state.lanes_taken += usize::from(is_free);
        drop(state);
        if is_free {
            // A runtime that shuts down drops the task here and now, which takes the lock.
            tokio::spawn(Lane::new(self, false).run());
        }
        Entered::Waiting(answer)
    }

    async fn run(&self, mut batch: Vec<Waiting<V>>) {
        batch.sort_by_key(|waiting| V::id(&waiting.item));
        let items: Vec<V::Item> = batch.iter().map(|waiting| waiting.item.clone()).collect();
        match self.verb.run(&items).await {
            Ok(answers) => {
                for (waiting, answer) in batch.into_iter().zip(answers) {
                    waiting.answer.send(Ok(answer)).ok();
                }
            }
            // One of them may be to blame: the others shall not suffer for it.
            Err(error) if batch.len() > 1 && !error.is_transient() => {
                for waiting in batch {
                    let answers = self.verb.run(std::slice::from_ref(&waiting.item)).await;
                    let answer = answers.and_then(|mut answers| answers.pop().ok_or_else(lost));
                    waiting.answer.send(answer).ok();
                }
            }
            Err(error) => {
                for waiting in batch {
                    waiting.answer.send(Err(error.clone())).ok();
                }
            }
        }
    }
}

impl<V: Verb> State<V> {
    /// Takes what fits into one statement, oldest first. Whose caller is gone is left out, but for
    /// what is to outlive it: nobody has been told anything.
    fn take_batch(&mut self) -> Vec<Waiting<V>> {
        let (mut batch, mut later) = (Vec::new(), VecDeque::new());
        let (mut bytes, mut ids) = (0, HashSet::new());
        while let Some(waiting) = self.waiting.pop_front() {
            if waiting.answer.is_closed() && !V::OUTLIVES_ITS_CALLER {
                continue;
            }
            if !V::SHARES && !ids.insert(V::id(&waiting.item)) {
                later.push_back(waiting);
                continue;
            }
            bytes += V::bytes(&waiting.item);
            if batch.len() == MAX_ROWS || (bytes > MAX_BYTES && !batch.is_empty()) {
                self.waiting.push_front(waiting);
                break;
            }
            batch.push(waiting);
        }
        // Those that wait for another one of their session came before what is left.
        later.append(&mut self.waiting);
        self.waiting = later;
        batch
    }
}

/// The right to have a statement in flight.
struct Lane<V: Verb> {
    shared: Arc<Shared<V>>,
    holds: Holds,
    is_inline: bool,
}

/// What is to be given on, or back, when a lane is dropped.
#[derive(PartialEq)]
enum Holds {
    Lane,
    /// Another one has the lane; this one's statement still runs.
    Connection,
    Nothing,
}

impl<V: Verb> Lane<V> {
    fn new(shared: &Arc<Shared<V>>, is_inline: bool) -> Self {
        Self { shared: shared.clone(), holds: Holds::Lane, is_inline }
    }

    /// Runs batches until nothing waits, or until it has lost the lane.
    async fn run(mut self) {
        while self.holds == Holds::Lane {
            others_first().await;
            let batch = {
                let mut state = self.shared.state();
                let batch = state.take_batch();
                if batch.is_empty() {
                    state.lanes_taken -= 1;
                    self.holds = Holds::Nothing;
                    return;
                }
                batch
            };
            let shared = self.shared.clone();
            let statement = shared.spin.wait(shared.run(batch), || shared.is_calm());
            self.while_running(statement).await;
        }
    }

    /// Waits for a statement, for as long as it takes, but lets go of the lane if it takes long.
    async fn while_running<T>(&mut self, statement: impl Future<Output = T>) -> T {
        let mut statement = pin!(statement);
        match timeout(STALLS_AFTER, &mut statement).await {
            Ok(done) => done,
            Err(_) => {
                self.let_go();
                statement.await
            }
        }
    }

    fn let_go(&mut self) {
        let mut state = self.shared.state();
        // A store of one lane runs one statement at a time, whatever waits.
        if self.shared.lanes == 1 || state.stalled == MAX_STALLED {
            return;
        }
        state.stalled += 1;
        self.holds = Holds::Connection;
        if state.waiting.is_empty() {
            state.lanes_taken -= 1;
            return;
        }
        drop(state);
        tokio::spawn(Self::new(&self.shared, false).run());
    }
}

impl<V: Verb> Drop for Lane<V> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        match self.holds {
            Holds::Nothing => return,
            Holds::Connection => {
                state.stalled -= 1;
                return;
            }
            Holds::Lane => {}
        }
        // A task of its own is dropped before its end by a panic, or by a runtime that shuts down. The
        // latter would drop the next one as well, and so on: who waits is told that nobody will come.
        let goes_on = self.is_inline || std::thread::panicking();
        match Handle::try_current() {
            Ok(runtime) if goes_on && !state.waiting.is_empty() => {
                drop(state);
                runtime.spawn(Self::new(&self.shared, false).run());
            }
            _ => {
                state.waiting.clear();
                state.lanes_taken -= 1;
            }
        }
    }
}

/// Goes to the end of the runtime's queue once: the tasks before it, which may have been answered just
/// now, bring what makes the next statement a larger one.
async fn others_first() {
    let mut is_last = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_last, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn lost() -> Error {
    Error::database("the statement was given up: the runtime is shutting down")
}
