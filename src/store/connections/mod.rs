//! Connections that stay out of their pool between statements.

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;

mod asking;
mod lease;
mod statements;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Database, Pool,
    pool::{CloseEvent, PoolConnection},
};
use tokio::{
    runtime::{self, Handle},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep, timeout},
};

use self::asking::Asking;
#[cfg(feature = "postgres")]
pub(super) use self::lease::Ended;
pub(super) use self::{
    lease::{End, Lease},
    statements::Statements,
};

/// How long a connection may rest before it goes back to its pool.
const REST: Duration = Duration::from_secs(1);
/// How long a connection stays out of its pool at most, so that the pool can apply its limit of age.
const OUT: Duration = Duration::from_secs(60);
/// Both limits, for a pool that others use too. A connection that was out for too long goes back at the next
/// check, at most one rest later. So no request waits longer than 50 ms for a connection that only rests,
/// however often that connection is used.
const REST_OF_SHARED: Duration = Duration::from_millis(15);
const OUT_OF_SHARED: Duration = Duration::from_millis(30);
/// How long a request waits for a connection at most. This is shorter than the default deadlines, so that a
/// request without a connection can report that nothing was done. So is a log-in's wait for a connection and
/// then for a lock (three seconds): it can report that it did not get the lock.
const WAIT: Duration = Duration::from_millis(1500);
/// While the pool tries to connect, how often to check it for connections that were given back.
const LOOK: Duration = Duration::from_millis(20);

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A statement that reads, and waits for no other transaction.
    Read,
    /// A statement that writes: its commit may wait for a disk, or for another server.
    Write,
    /// A transaction that waits for locks.
    Transaction,
}

/// The connections of a pool, some of which are kept ready after their use.
///
/// A pool of sqlx pings every connection that comes back, in a task that it spawns: a second round trip for
/// each statement, as long as the first. Here, a connection whose statement succeeded goes to the next
/// statement unchecked, and directly to a request that already waits. A connection that has rested for a
/// second goes back to the pool. All of them go back when the pool is closed.
///
/// A connection whose statement or transaction did not end properly (a deadline, a dropped future, a rollback
/// that failed) is closed, because its state is unknown.
///
/// Each [`Use`] has its part of the pool: statements that may wait for others leave connections to those that
/// do not.
pub(super) struct Connections<DB: Database>(Arc<Shared<DB>>);

struct Shared<DB: Database> {
    pool: Pool<DB>,
    /// Permits: as many as the pool may have connections, fewer for writes, and still fewer for transactions.
    /// A request waits here for a permit, and then takes the connection that the request before has kept.
    all: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    transactions: Arc<Semaphore>,
    at_most: usize,
    /// Whether only this store uses the pool.
    is_dedicated: bool,
    rest: Duration,
    out: Duration,
    /// The `begin` of a transaction around each single statement, if such a transaction is necessary.
    single_in: Option<&'static str>,
    /// Whether the database is lost with the connection: a database in memory.
    is_all_there_is: bool,
    /// Whether a connection works in every runtime, because it has no socket.
    is_of_any_runtime: bool,
    state: Mutex<State<DB>>,
}

struct State<DB: Database> {
    resting: Vec<Resting<DB>>,
    /// The requests that wait for a connection, each with its runtime.
    waiting: VecDeque<(runtime::Id, Sender<DB>)>,
    /// The runtimes in which a task asks the pool on behalf of these requests.
    asking: Vec<runtime::Id>,
    /// Whether a task exists that gives back rested connections.
    is_watched: bool,
    runtimes: Runtimes,
}

type Sender<DB> = oneshot::Sender<Result<Resting<DB>, sqlx::Error>>;
type Receiver<DB> = oneshot::Receiver<Result<Resting<DB>, sqlx::Error>>;

/// Whether connections of several runtimes can meet in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runtimes {
    None,
    One(runtime::Id),
    Several,
}

struct Resting<DB: Database> {
    connection: PoolConnection<DB>,
    /// The runtime that reads the connection's socket. The socket dies with it.
    runtime: runtime::Id,
    out_since: Instant,
    since: Instant,
}

impl<DB: Database> Connections<DB> {
    /// On a pool that others use too: a fifth of its connections may be kept, and none if the pool has fewer
    /// than five.
    pub(super) fn shared(pool: Pool<DB>) -> Self {
        let at_most = pool.options().get_max_connections() / 5;
        Self::new(pool, at_most, REST_OF_SHARED, OUT_OF_SHARED)
    }

    /// On a pool that only this store uses.
    pub(super) fn dedicated(pool: Pool<DB>) -> Self {
        let at_most = pool.options().get_max_connections();
        Self::new(pool, at_most, REST, OUT)
    }

    fn new(pool: Pool<DB>, at_most: u32, rest: Duration, out: Duration) -> Self {
        let all = pool.options().get_max_connections() as usize;
        let permits = |count: usize| Arc::new(Semaphore::new(count.max(1)));
        let state = State {
            resting: Vec::new(),
            waiting: VecDeque::new(),
            asking: Vec::new(),
            is_watched: false,
            runtimes: Runtimes::None,
        };
        Self(Arc::new(Shared {
            all: permits(all),
            writes: permits(all - all.div_ceil(5)),
            transactions: permits(all * 3 / 5),
            at_most: at_most as usize,
            is_dedicated: out == OUT,
            rest,
            out,
            single_in: None,
            is_all_there_is: false,
            is_of_any_runtime: false,
            state: Mutex::new(state),
            pool,
        }))
    }

    /// For a database that is lost with its connection: the connection is never closed here.
    #[cfg(feature = "sqlite")]
    pub(super) fn never_closing(mut self) -> Self {
        self.settings().is_all_there_is = true;
        self
    }

    /// For a database without sockets.
    #[cfg(feature = "sqlite")]
    pub(super) fn of_any_runtime(mut self) -> Self {
        self.settings().is_of_any_runtime = true;
        self
    }

    /// Behind a pooler: each statement goes without a name, in a transaction that begins with `begin`.
    #[cfg(feature = "postgres")]
    pub(super) fn single_in(mut self, begin: &'static str) -> Self {
        self.settings().single_in = Some(begin);
        self
    }

    fn settings(&mut self) -> &mut Shared<DB> {
        Arc::get_mut(&mut self.0).expect("settings are made before anything else has it")
    }

    pub(super) fn pool(&self) -> &Pool<DB> {
        &self.0.pool
    }

    /// Takes a connection, as soon as one is free.
    ///
    /// # Errors
    ///
    /// As the pool's own, after 1.5 seconds at most. Nothing was sent then.
    pub(super) async fn take(&self, wanted: Use) -> Result<Lease<DB>, sqlx::Error> {
        let at_most = self.0.pool.options().get_acquire_timeout().min(WAIT);
        match timeout(at_most, self.wait(wanted)).await {
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => Err(self.0.why_not().await),
            Ok(result) => result,
        }
    }

    async fn wait(&self, wanted: Use) -> Result<Lease<DB>, sqlx::Error> {
        let permits = self.0.permits(wanted).await?;
        self.0.note_runtime();
        let Resting { connection, out_since, .. } = match self.0.resting_or_wait() {
            Ok(resting) => resting,
            Err(receiver) => {
                self.0.ask();
                let mut handed = Handed { receiver, shared: &self.0 };
                (&mut handed.receiver).await.unwrap_or(Err(sqlx::Error::PoolClosed))?
            }
        };
        Ok(Lease::new(connection, out_since, self.0.clone(), permits))
    }

    /// Closes the resting connections, because their server is gone or has changed.
    #[cfg(feature = "postgres")]
    pub(super) fn close_resting(&self) {
        let resting = std::mem::take(&mut self.0.state().resting);
        resting.into_iter().for_each(|resting| self.0.close(resting.connection));
    }
}

impl<DB: Database> Clone for Connections<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Database> fmt::Debug for Connections<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.pool.fmt(f)
    }
}

impl<DB: Database> Shared<DB> {
    fn state(&self) -> MutexGuard<'_, State<DB>> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the permits in one order, so that requests never wait in a circle.
    async fn permits(&self, wanted: Use) -> Result<Vec<OwnedSemaphorePermit>, sqlx::Error> {
        let needed: &[&Arc<Semaphore>] = match wanted {
            Use::Read => &[&self.all],
            Use::Write => &[&self.writes, &self.all],
            Use::Transaction => &[&self.transactions, &self.writes, &self.all],
        };
        let mut permits = Vec::with_capacity(needed.len());
        for semaphore in needed {
            let permit = Arc::clone(semaphore).acquire_owned().await;
            permits.push(permit.map_err(|_| sqlx::Error::PoolClosed)?);
        }
        Ok(permits)
    }

    /// Starts the task that asks the pool for as long as requests wait, unless it runs already.
    fn ask(self: &Arc<Self>) {
        let here = Handle::current().id();
        let mut state = self.state();
        if !state.asking.contains(&here) {
            state.asking.push(here);
            drop(state);
            tokio::spawn(Asking::of(self.clone(), here).ask());
        }
    }

    /// Takes a connection from the pool, but none of a runtime that has ended.
    async fn acquire(&self) -> Result<PoolConnection<DB>, sqlx::Error> {
        loop {
            let mut connection = self.pool.acquire().await?;
            if !self.may_meet_others() || connection.ping().await.is_ok() {
                return Ok(connection);
            }
            self.close(connection);
        }
    }

    /// While a server refuses, sqlx tries to connect again and again, and does not check for connections that
    /// the application gives back to the pool. So this checks for them.
    async fn acquire_or_find(&self) -> Result<PoolConnection<DB>, sqlx::Error> {
        let given_back = async {
            loop {
                sleep(LOOK).await;
                if !self.may_meet_others()
                    && let Some(connection) = self.pool.try_acquire()
                {
                    break connection;
                }
            }
        };
        tokio::select! {
            acquired = self.acquire() => acquired,
            connection = given_back => Ok(connection),
        }
    }

    /// When a second runtime appears, closes the connections that the first one gave back to the pool. They
    /// would fail in the second runtime when the first one ends, and the outcome of their statements would be
    /// unknown.
    fn note_runtime(&self) {
        if self.is_of_any_runtime {
            return;
        }
        let here = Handle::current().id();
        let mut state = self.state();
        match state.runtimes {
            Runtimes::None => state.runtimes = Runtimes::One(here),
            Runtimes::One(only) if only != here => {
                state.runtimes = Runtimes::Several;
                drop(state);
                while self.is_dedicated
                    && let Some(connection) = self.pool.try_acquire()
                {
                    self.close(connection);
                }
            }
            Runtimes::One(_) | Runtimes::Several => {}
        }
    }

    fn may_meet_others(&self) -> bool {
        self.state().runtimes == Runtimes::Several
    }

    /// Gives the connection back to the pool. In an application's pool, connections of several runtimes meet
    /// anyway.
    fn give_back(&self, connection: PoolConnection<DB>) {
        match self.is_dedicated && self.may_meet_others() && !self.pool.is_closed() {
            true => self.close(connection),
            false => drop(connection),
        }
    }

    /// Returns the connection that was used last, or a place among the waiting requests.
    fn resting_or_wait(&self) -> Result<Resting<DB>, Receiver<DB>> {
        let here = Handle::current().id();
        let mut state = self.state();
        let fits = |resting: &Resting<DB>| {
            self.is_of_use(resting.runtime, here) && resting.since.elapsed() < self.rest
        };
        if let Some(last) = state.resting.iter().rposition(fits) {
            return Ok(state.resting.remove(last));
        }
        // The pool may check a connection that has rested for so long, and hands it out again. It may have no other one,
        // and the task that gives such connections back comes by only once in a rest.
        let has_rested = |resting: &mut Resting<DB>| resting.since.elapsed() >= self.rest;
        let rested: Vec<_> = state.resting.extract_if(.., has_rested).collect();
        let (sender, receiver) = oneshot::channel();
        state.waiting.retain(|(_, sender)| !sender.is_closed());
        state.waiting.push_back((here, sender));
        // A connection of another runtime is of no use here, and may take the place of a usable one.
        let of_other = |resting: &Resting<DB>| !self.is_of_use(resting.runtime, here);
        let in_the_way = match self.is_full() {
            true => state.resting.iter().position(of_other).map(|i| state.resting.remove(i)),
            false => None,
        };
        drop(state);
        rested.into_iter().for_each(|resting| self.give_back(resting.connection));
        if let Some(resting) = in_the_way {
            self.close(resting.connection);
        }
        Err(receiver)
    }

    fn is_of_use(&self, of: runtime::Id, here: runtime::Id) -> bool {
        self.is_of_any_runtime || of == here
    }

    /// Whether the pool can neither hand out nor open a connection.
    fn is_full(&self) -> bool {
        let most = self.pool.options().get_max_connections();
        self.pool.size() >= most && self.pool.num_idle() == 0
    }

    /// Hands the connection to a waiting request, keeps it, or gives it back.
    fn keep(self: &Arc<Self>, connection: PoolConnection<DB>, out_since: Instant) {
        if out_since.elapsed() >= self.out || self.pool.is_closed() {
            self.give_back(connection);
            return;
        }
        let (runtime, since) = (Handle::current().id(), Instant::now());
        let mut resting = Resting { connection, runtime, out_since, since };
        let mut state = self.state();
        let is_for = |at: runtime::Id| self.is_of_use(runtime, at);
        while let Some(first) = state.waiting.iter().position(|(at, _)| is_for(*at)) {
            let Some((_, waiting)) = state.waiting.remove(first) else { break };
            match waiting.send(Ok(resting)) {
                Err(Ok(unwanted)) => resting = unwanted,
                Ok(()) | Err(Err(_)) => return,
            }
        }
        let wanted_elsewhere = state.waiting.iter().any(|(_, sender)| !sender.is_closed());
        if wanted_elsewhere && self.is_full() {
            drop(state);
            self.close(resting.connection);
            return;
        }
        if state.resting.len() >= self.at_most {
            drop(state);
            self.give_back(resting.connection);
            return;
        }
        state.resting.push(resting);
        if !std::mem::replace(&mut state.is_watched, true) {
            drop(state);
            tokio::spawn(give_back_rested(Watch(Arc::downgrade(self)), self.pool.close_event()));
        }
    }

    /// Closes the connection at once, without a task. The pool may open another one. A statement that still
    /// runs on this connection is left to the server.
    fn close(&self, connection: PoolConnection<DB>) {
        let wants_a_task = self.pool.options().get_min_connections() > 0;
        if wants_a_task && Handle::try_current().is_err() {
            // The pool would replace the connection, in a runtime that does not exist. So the socket stays
            // open until the process ends.
            std::mem::forget(connection);
        } else {
            drop(connection.detach());
        }
    }

    /// Finds out why there was no connection. sqlx only reports a time-out, so this tries to connect once
    /// more: one caller at a time, and for a moment.
    async fn why_not(&self) -> sqlx::Error {
        static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);
        const A_MOMENT: Duration = Duration::from_millis(200);
        let options = self.pool.connect_options();
        if !self.is_all_there_is
            && let Ok(_permit) = ONE_AT_A_TIME.try_acquire()
            && let Ok(Err(refused)) = timeout(A_MOMENT, options.connect()).await
        {
            return refused;
        }
        sqlx::Error::PoolTimedOut
    }
}

/// A connection that is handed to a waiting request, which may have given up by then.
struct Handed<'a, DB: Database> {
    receiver: Receiver<DB>,
    shared: &'a Shared<DB>,
}

impl<DB: Database> Drop for Handed<'_, DB> {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(Ok(resting)) = self.receiver.try_recv() {
            self.shared.give_back(resting.connection);
        }
    }
}

impl<DB: Database> Drop for Shared<DB> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let resting = std::mem::take(&mut state.resting);
        resting.into_iter().for_each(|resting| self.close(resting.connection));
    }
}

/// Held by the task that gives back rested connections. If that task ends early, its runtime has ended. Then
/// no task would give back the resting connections, and the pool could not be closed.
struct Watch<DB: Database>(Weak<Shared<DB>>);

impl<DB: Database> Drop for Watch<DB> {
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade() else { return };
        let mut state = shared.state();
        state.is_watched = false;
        let resting = std::mem::take(&mut state.resting);
        drop(state);
        resting.into_iter().for_each(|resting| shared.close(resting.connection));
    }
}

/// Gives back connections that have rested long enough, while any connection rests.
async fn give_back_rested<DB: Database>(mut watch: Watch<DB>, mut closed: CloseEvent) {
    loop {
        let Some(rest) = watch.0.upgrade().map(|shared| shared.rest) else { return };
        tokio::select! {
            () = sleep(rest) => {}
            () = &mut closed => {}
        }
        let Some(shared) = watch.0.upgrade() else { return };
        let mut state = shared.state();
        let is_closed = shared.pool.is_closed();
        let has_rested = |resting: &mut Resting<DB>| {
            is_closed
                || resting.since.elapsed() >= shared.rest
                || resting.out_since.elapsed() >= shared.out
        };
        let rested: Vec<_> = state.resting.extract_if(.., has_rested).collect();
        let is_done = state.resting.is_empty();
        // The next request that keeps a connection starts another task.
        state.is_watched = !is_done;
        drop(state);
        rested.into_iter().for_each(|resting| shared.give_back(resting.connection));
        if is_done {
            watch.0 = Weak::new();
            return;
        }
    }
}
