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
    metrics,
    store::task,
};

/// At most this many bytes of data in a statement, unless a single row is larger.
const MAX_BYTES: usize = 1 << 20;
/// At most this many items, and bytes of data, may wait.
const MAX_WAITING: usize = 8_192;
const MAX_WAITING_BYTES: usize = 32 << 20;
/// Another lane opens if this many requests wait. A single request waits for the next statement of a lane
/// that exists, but for at most `A_MOMENT`, and not for a statement that has already taken as long.
const ENOUGH: usize = 2;
const A_MOMENT: Duration = Duration::from_millis(5);
/// How often a waiting request checks that there still is a lane. Later than most timers of a process: the
/// nearest timer of all wakes a thread, which costs a lone request as much as a round trip.
const A_WHILE: Duration = Duration::from_secs(1);
/// The pauses before a locked row is tried again. Each pause is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// In this time before its deadline, a locked row is not tried again: an answer that came too late would
/// leave the outcome unknown.
const LAST_TRY: Duration = Duration::from_millis(100);

/// The items of one verb, on their way into statements.
///
/// Every statement runs in a lane: a task that continues until nothing waits. A caller only waits for the
/// answer, so a caller that is dropped, or no longer polled, delays no other caller. Each runtime has its own
/// lanes, so that a runtime that ends takes no other runtime's items with it.
#[derive(Debug)]
pub(super) struct Queue<V: Verb>(Arc<Shared<V>>);

#[derive(Debug)]
struct Shared<V: Verb> {
    verb: V,
    limits: Limits,
    /// No ticket is used twice, so that a caller never removes another caller's item.
    tickets: AtomicU64,
    state: Mutex<HashMap<runtime::Id, State<V>>>,
}

#[derive(Debug)]
struct State<V: Verb> {
    /// When each lane began its statement.
    lanes: BTreeMap<u64, Instant>,
    /// By the order of arrival.
    waiting: BTreeMap<u64, Waiting<V>>,
    waiting_bytes: usize,
}

#[derive(Debug)]
struct Waiting<V: Verb> {
    item: V::Item,
    answer: Sender<V>,
}

/// The limits of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many statements are in flight at once, in each runtime.
    pub(super) lanes: usize,
    /// How many rows a statement has.
    pub(super) rows: usize,
    /// How long a call may take, and how long a statement.
    pub(super) deadline: Duration,
}

type Sender<V> = oneshot::Sender<Result<Reply<V>>>;
type Receiver<V> = oneshot::Receiver<Result<Reply<V>>>;

#[derive(Debug)]
enum Reply<V: Verb> {
    Done(V::Output),
    /// Another transaction has locked the row; nothing was done.
    Locked(V::Item),
}

impl<V: Verb> Queue<V> {
    pub(super) fn new(verb: V, limits: Limits) -> Self {
        Self(Arc::new(Shared { verb, limits, tickets: AtomicU64::new(0), state: Mutex::default() }))
    }

    /// Returns the answer, or an error at the deadline.
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
            metrics::retry("locked");
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl<V: Verb> Shared<V> {
    /// Changes the state of a runtime, and removes the state when it is empty.
    fn change<T>(
        &self,
        runtime: runtime::Id,
        change: impl FnOnce(&mut State<V>) -> T,
    ) -> Option<T> {
        // Nothing panics while the lock is held.
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
        // Nothing panics while the lock is held.
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

    /// Opens a lane if one is free, and if this many items wait or no existing lane has begun its statement
    /// recently. Returns the time after which the caller must check again.
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
            // A runtime that shuts down drops the task inside `spawn`, and that takes the lock.
            tokio::spawn(Lane { shared: self.clone(), runtime, number }.run());
        }
        if may || !can { A_WHILE } else { A_MOMENT }
    }

    async fn run(&self, batch: Vec<Waiting<V>>) {
        let (items, mut answers): (Vec<V::Item>, Vec<Option<Sender<V>>>) =
            batch.into_iter().map(|waiting| (waiting.item, Some(waiting.answer))).unzip();
        // A caller that is gone needs no answer.
        let mut send = |i: usize, answer| answers[i].take().map(|sender| sender.send(answer).ok());
        let mut parts = Vec::from_iter(std::iter::once(0..items.len()));
        while let Some(part) = parts.pop() {
            let (rows, begun) = (&items[part.clone()], Instant::now());
            metrics::batch(V::NAME, rows.len());
            let run = task::within(self.limits.deadline, V::WRITES, self.verb.run(rows));
            let replies = run.await.or_else(|error| match error.kind() {
                // A short `lock_timeout` can refuse the lock of the queue of notifications. Or a row is
                // locked on Citus, which does not say which row. Nothing was done.
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
                // One row may be the cause: the others must not fail with it.
                Err(error) if part.len() > 1 && is_of_one_row(&error) => {
                    metrics::retry("one_row");
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
                Err(error) => part.for_each(|i| _ = send(i, Err(error.clone()))),
            }
        }
    }
}

impl<V: Verb> State<V> {
    /// Takes the oldest items that fit into one statement, sorted by id.
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

/// The place of an item in the queue. A caller that is dropped leaves it.
struct Place<V: Verb> {
    shared: Arc<Shared<V>>,
    runtime: runtime::Id,
    ticket: u64,
}

impl<V: Verb> Place<V> {
    /// Removes the item. Returns whether it still waited.
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
            // The callers that were just answered may send further requests, which make the next batch
            // larger.
            task::others_first().await;
        }
    }

    /// Takes a batch. If nothing waits, gives the lane back under the same lock, so that no caller counts on
    /// the lane in between.
    fn take_batch(&self) -> Option<Vec<Waiting<V>>> {
        let (batch, waiting) = self.shared.change(self.runtime, |state| {
            let waiting = state.waiting.len();
            let batch = state.take_batch(self.shared.limits.rows);
            match batch.is_empty() {
                true => state.lanes.remove(&self.number),
                false => state.lanes.insert(self.number, Instant::now()),
            };
            (batch, waiting)
        })?;
        if batch.is_empty() {
            return None;
        }
        metrics::queue(V::NAME, waiting);
        Some(batch)
    }
}

/// A lane may also end early: by a panic, or with its runtime. A caller that waits and is polled then opens
/// another.
impl<V: Verb> Drop for Lane<V> {
    fn drop(&mut self) {
        self.shared.change(self.runtime, |state| state.lanes.remove(&self.number));
    }
}

/// Whether one row caused the failure. After any other failure, each single statement would fail the same
/// way.
fn is_of_one_row(error: &Error) -> bool {
    error.kind() == ErrorKind::Database && !error.is_transient()
}
