#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};

use super::verbs::{Answer, Verb};
use crate::{
    error::{Error, ErrorKind, Result},
    store::task,
};

/// Bytes of data in a statement at most, but for a single row that is larger.
const MAX_BYTES: usize = 1 << 20;
/// What may wait at most, in items and in bytes of data.
const MAX_WAITING: usize = 8_192;
const MAX_WAITING_BYTES: usize = 32 << 20;
/// So many have to wait for another lane to open: one alone goes with the next statement of a lane that is there.
/// But it does not wait for that longer than a moment, nor for a statement that has taken so long already.
const ENOUGH: usize = 2;
const A_MOMENT: Duration = Duration::from_millis(5);
/// How often it is seen to that there still is a lane. Further off than most timers of a process: one that is nearer
/// than all others wakes a thread, which costs a lone request as much as a round trip.
const A_WHILE: Duration = Duration::from_secs(1);
/// The pauses before a locked row is asked for again. They begin with the first and double.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// How long before its deadline it is asked for no more: an answer that is not in by then would say that nobody knows
/// whether anything was done.
const LAST_TRY: Duration = Duration::from_millis(100);

/// Items of one verb on their way into statements.
///
/// Every statement runs in a lane: a task that goes on until nothing waits. A caller is only ever a
/// receiver, so that one which is dropped, or not polled any more, holds up nobody. Each runtime has
/// lanes of its own: one that ends takes nothing with it that another one waits for.
#[derive(Debug)]
pub(super) struct Queue<V: Verb>(Arc<Shared<V>>);

#[derive(Debug)]
struct Shared<V: Verb> {
    verb: V,
    limits: Limits,
    /// Never given twice: whoever leaves a place leaves no other one's.
    tickets: AtomicU64,
    state: Mutex<HashMap<runtime::Id, State<V>>>,
}

#[derive(Debug)]
struct State<V: Verb> {
    /// When each began its statement.
    lanes: BTreeMap<u64, Instant>,
    /// By the order in which they came.
    waiting: BTreeMap<u64, Waiting<V>>,
    waiting_bytes: usize,
}

#[derive(Debug)]
struct Waiting<V: Verb> {
    item: V::Item,
    answer: Sender<V>,
}

/// What a queue keeps to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Statements in flight at once, in each runtime.
    pub(super) lanes: usize,
    /// Rows of a statement.
    pub(super) rows: usize,
    /// How long a call may take, and how long a statement.
    pub(super) deadline: Duration,
}

type Sender<V> = oneshot::Sender<Result<Reply<V>>>;
type Receiver<V> = oneshot::Receiver<Result<Reply<V>>>;

#[derive(Debug)]
enum Reply<V: Verb> {
    Done(V::Output),
    /// Another transaction has its row; nothing was done.
    Locked(V::Item),
}

impl<V: Verb> Queue<V> {
    pub(super) fn new(verb: V, limits: Limits) -> Self {
        Self(Arc::new(Shared { verb, limits, tickets: AtomicU64::new(0), state: Mutex::default() }))
    }

    /// The answer, or an error at the deadline.
    pub(super) async fn submit(&self, mut item: V::Item) -> Result<V::Output> {
        let (limit, mut pause) = (self.0.limits.deadline, FIRST_PAUSE);
        let deadline = Instant::now() + limit;
        loop {
            let (place, mut answer) = self.0.enter(item)?;
            let enough = ENOUGH.min(self.0.limits.rows);
            let mut look_at = Instant::now() + self.0.open_lane(place.runtime, enough);
            let reply = loop {
                match timeout_at(look_at.min(deadline), &mut answer).await {
                    Ok(Ok(reply)) => break reply?,
                    Ok(Err(_)) => return Err(task::lost(V::WRITES)),
                    Err(_) if look_at < deadline => look_at += self.0.open_lane(place.runtime, 1),
                    Err(_) if place.leave() => return Err(task::not_begun(limit)),
                    Err(_) => return Err(task::no_answer(V::WRITES, limit)),
                }
            };
            match reply {
                Reply::Done(output) => return Ok(output),
                Reply::Locked(_) if deadline < Instant::now() + pause + LAST_TRY => {
                    return Err(task::locked());
                }
                Reply::Locked(again) => item = again,
            }
            sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl<V: Verb> Shared<V> {
    /// Changes what a runtime has, and forgets it once it has nothing.
    fn change<T>(
        &self,
        runtime: runtime::Id,
        change: impl FnOnce(&mut State<V>) -> T,
    ) -> Option<T> {
        // Nothing panics while it is held.
        let mut states = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.get_mut(&runtime)?;
        let changed = change(state);
        if state.lanes.is_empty() && state.waiting.is_empty() {
            states.remove(&runtime);
        }
        Some(changed)
    }

    fn enter(self: &Arc<Self>, item: V::Item) -> Result<(Place<V>, Receiver<V>)> {
        let runtime = Handle::current().id();
        // Nothing panics while it is held.
        let mut states = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.entry(runtime).or_insert_with(|| State {
            lanes: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
        });
        let bytes = V::bytes(&item);
        if state.waiting.len() >= MAX_WAITING
            || (state.waiting_bytes + bytes > MAX_WAITING_BYTES && !state.waiting.is_empty())
        {
            return Err(task::overloaded());
        }
        let (sender, answer) = oneshot::channel();
        let ticket = self.tickets.fetch_add(1, Relaxed);
        state.waiting_bytes += bytes;
        state.waiting.insert(ticket, Waiting { item, answer: sender });
        drop(states);
        Ok((Place { shared: self.clone(), runtime, ticket }, answer))
    }

    /// Where one is free, and so many wait, or there is none that they could wait for. And after what time that
    /// should be looked at again.
    fn open_lane(self: &Arc<Self>, runtime: runtime::Id, for_as_many: usize) -> Duration {
        let (number, now) = (self.tickets.fetch_add(1, Relaxed), Instant::now());
        let look = |state: &mut State<V>| {
            let is_soon_free = |begun: &Instant| now < *begun + A_MOMENT;
            let can = state.lanes.len() < self.limits.lanes.max(1) && !state.waiting.is_empty();
            let may = state.waiting.len() >= for_as_many || !state.lanes.values().any(is_soon_free);
            if can && may {
                state.lanes.insert(number, now);
            }
            (can, may)
        };
        let (can, may) = self.change(runtime, look).unwrap_or_default();
        if can && may {
            // A runtime that shuts down drops the task here and now, which takes the lock.
            tokio::spawn(Lane { shared: self.clone(), runtime, number }.run());
        }
        if may || !can { A_WHILE } else { A_MOMENT }
    }

    async fn run(&self, batch: Vec<Waiting<V>>) {
        let (items, mut answers): (Vec<V::Item>, Vec<Option<Sender<V>>>) =
            batch.into_iter().map(|waiting| (waiting.item, Some(waiting.answer))).unzip();
        // Whoever is gone does not want to know.
        let mut send = |i: usize, answer| answers[i].take().map(|sender| sender.send(answer).ok());
        let mut parts = Vec::from_iter(std::iter::once(0..items.len()));
        while let Some(part) = parts.pop() {
            let (rows, begun) = (&items[part.clone()], Instant::now());
            let run = task::within(self.limits.deadline, V::WRITES, self.verb.run(rows));
            let replies = run.await.or_else(|error| match error.kind() {
                // The lock of the queue of notifications, where `lock_timeout` is short; or a row's on Citus, which
                // does not say whose. Nothing was done.
                ErrorKind::Contention if V::WRITES && begun.elapsed() < LAST_TRY => {
                    Ok(rows.iter().map(|_| Answer::Locked).collect())
                }
                _ => Err(error),
            });
            match replies {
                Ok(replies) => {
                    for ((i, item), reply) in part.zip(rows).zip(replies) {
                        let reply = match reply {
                            Answer::Done(output) => Reply::Done(output),
                            Answer::Locked => Reply::Locked(item.clone()),
                        };
                        send(i, Ok(reply));
                    }
                }
                // One of them may be to blame: the others shall not suffer for it.
                Err(error) if part.len() > 1 && is_of_one_row(&error) => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
                Err(error) => part.for_each(|i| _ = send(i, Err(error.clone()))),
            }
        }
    }
}

impl<V: Verb> State<V> {
    /// Takes what fits into one statement, oldest first, in the order of their ids.
    fn take_batch(&mut self, rows: usize) -> Vec<Waiting<V>> {
        let (mut bytes, mut ids, mut tickets) = (0, HashSet::new(), Vec::new());
        for (ticket, waiting) in &self.waiting {
            let size = V::bytes(&waiting.item);
            if tickets.len() == rows || (bytes + size > MAX_BYTES && bytes > 0) {
                break;
            }
            if V::SHARES || ids.insert(V::id(&waiting.item)) {
                bytes += size;
                tickets.push(*ticket);
            }
        }
        let mut batch: Vec<_> = tickets.iter().filter_map(|ticket| self.remove(*ticket)).collect();
        batch.sort_by_key(|waiting| V::id(&waiting.item));
        batch
    }

    fn remove(&mut self, ticket: u64) -> Option<Waiting<V>> {
        let waiting = self.waiting.remove(&ticket)?;
        self.waiting_bytes -= V::bytes(&waiting.item);
        Some(waiting)
    }
}

/// The place of an item among those that wait. Whoever is dropped leaves it.
struct Place<V: Verb> {
    shared: Arc<Shared<V>>,
    runtime: runtime::Id,
    ticket: u64,
}

impl<V: Verb> Place<V> {
    /// Whether the item still waited.
    fn leave(&self) -> bool {
        let left = self.shared.change(self.runtime, |state| state.remove(self.ticket));
        left.flatten().is_some()
    }
}

impl<V: Verb> Drop for Place<V> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The right to have a statement in flight.
struct Lane<V: Verb> {
    shared: Arc<Shared<V>>,
    runtime: runtime::Id,
    number: u64,
}

impl<V: Verb> Lane<V> {
    /// Runs batches until nothing waits.
    async fn run(self) {
        while let Some(batch) = self.take_batch() {
            self.shared.run(batch).await;
            // Those that have just been answered may bring what makes the next statement a larger one.
            task::others_first().await;
        }
    }

    /// What waits, or nothing, and then the lane is given back: under one lock, so that nobody counts on it
    /// in between.
    fn take_batch(&self) -> Option<Vec<Waiting<V>>> {
        self.shared.change(self.runtime, |state| {
            let batch = state.take_batch(self.shared.limits.rows);
            match batch.is_empty() {
                true => state.lanes.remove(&self.number),
                false => state.lanes.insert(self.number, Instant::now()),
            };
            (!batch.is_empty()).then_some(batch)
        })?
    }
}

/// Before its end too: by a panic, or with its runtime. Who waits, and is still polled, opens another one.
impl<V: Verb> Drop for Lane<V> {
    fn drop(&mut self) {
        self.shared.change(self.runtime, |state| state.lanes.remove(&self.number));
    }
}

/// A failure of a row's own: of everything else, every single statement would fail the same way.
fn is_of_one_row(error: &Error) -> bool {
    error.kind() == ErrorKind::Database && !error.is_transient()
}
