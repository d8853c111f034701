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
/// How long it stays out at most: its pool knows how old it may grow.
const OUT: Duration = Duration::from_secs(60);
/// Both, where others wait for the same pool. What is out for too long goes back at the next look, one rest later
/// at most: so nobody waits for longer than 50 ms for a connection that only rests, however often it was used.
const REST_OF_SHARED: Duration = Duration::from_millis(15);
const OUT_OF_SHARED: Duration = Duration::from_millis(30);
/// How long a request waits for a connection at most, and a log-in or a revocation: shorter than their deadlines
/// by default, so that whoever did not get one knows that nothing was done.
const WAIT: Duration = Duration::from_millis(1500);
const WAIT_OF_TRANSACTION: Duration = Duration::from_secs(3);
/// How often the pool is looked at, while it tries to connect, for what was given back to it.
const LOOK: Duration = Duration::from_millis(20);

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A statement that reads, and does not wait for anybody.
    Read,
    /// A statement that writes: its commit may wait for a disk, or for another server.
    Write,
    /// A transaction that waits for locks.
    Transaction,
}

/// The connections of a pool, some of which are kept at hand after their use.
///
/// A pool of sqlx asks every connection that comes back whether it still works, in a task that it
/// spawns: a second round trip for each statement, as long as the first. Here, one whose statement
/// was carried out is handed to the next statement as it is: to one that waits already, wherever it
/// waits. What nobody has used for a second goes back, and everything when the pool is closed.
///
/// A connection whose statement or transaction did not come to its end (a deadline, a dropped
/// future, a rollback that failed) is closed: nobody can say what state it is in.
///
/// Each [`Use`] has its part: those that may wait for others leave some to those that don't.
pub(super) struct Connections<DB: Database>(Arc<Shared<DB>>);

struct Shared<DB: Database> {
    pool: Pool<DB>,
    /// As many as the pool may have connections, then those of which may write, and those of which may be
    /// transactions. Who waits for one, waits here, and takes over what the one before has kept.
    all: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    transactions: Arc<Semaphore>,
    at_most: usize,
    /// Whether nobody else uses the pool.
    is_dedicated: bool,
    rest: Duration,
    out: Duration,
    /// How a transaction around each single statement begins, where there has to be one.
    single_in: Option<&'static str>,
    /// Whether everything is lost with the connection: a database in memory.
    is_all_there_is: bool,
    /// Whether a connection is of use in any runtime: it has no socket.
    is_of_any_runtime: bool,
    state: Mutex<State<DB>>,
}

struct State<DB: Database> {
    resting: Vec<Resting<DB>>,
    /// Those that wait for a connection, each in its runtime.
    waiting: VecDeque<(runtime::Id, Sender<DB>)>,
    /// The runtimes in which a task asks the pool on behalf of those.
    asking: Vec<runtime::Id>,
    /// Whether a task is there that gives back what has rested enough.
    is_watched: bool,
    runtimes: Runtimes,
}

type Sender<DB> = oneshot::Sender<Result<Resting<DB>, sqlx::Error>>;
type Receiver<DB> = oneshot::Receiver<Result<Resting<DB>, sqlx::Error>>;

/// Whether connections may meet those of another runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runtimes {
    None,
    One(runtime::Id),
    Several,
}

struct Resting<DB: Database> {
    connection: PoolConnection<DB>,
    /// Its socket is read by this runtime, and dies with it.
    runtime: runtime::Id,
    out_since: Instant,
    since: Instant,
}

impl<DB: Database> Connections<DB> {
    /// Of a pool that others use too: a fifth of its connections may be kept, and none of less than
    /// five.
    pub(super) fn shared(pool: Pool<DB>) -> Self {
        let at_most = pool.options().get_max_connections() / 5;
        Self::new(pool, at_most, REST_OF_SHARED, OUT_OF_SHARED)
    }

    /// Of a pool that nobody else uses.
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

    /// Of a database that ends with its connection, which is then never closed here.
    #[cfg(feature = "sqlite")]
    pub(super) fn never_closing(mut self) -> Self {
        self.settings().is_all_there_is = true;
        self
    }

    /// Of a database without sockets.
    #[cfg(feature = "sqlite")]
    pub(super) fn of_any_runtime(mut self) -> Self {
        self.settings().is_of_any_runtime = true;
        self
    }

    /// Through a pooler: each statement goes without a name, in a transaction that begins so.
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

    /// One to use, as soon as there is one.
    ///
    /// # Errors
    ///
    /// Nothing was sent then. As the pool's own; after a second and a half at most, or three seconds.
    pub(super) async fn take(&self, wanted: Use) -> Result<Lease<DB>, sqlx::Error> {
        let wait = if wanted == Use::Transaction { WAIT_OF_TRANSACTION } else { WAIT };
        let at_most = self.0.pool.options().get_acquire_timeout().min(wait);
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

    /// Closes what rests here: it is of a server that is gone, or that became another one.
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
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In one order, so that nobody waits in a circle.
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

    /// Has the pool asked for as long as anybody waits, unless it is asked already.
    fn ask(self: &Arc<Self>) {
        let here = Handle::current().id();
        let mut state = self.state();
        if !state.asking.contains(&here) {
            state.asking.push(here);
            drop(state);
            tokio::spawn(Asking::of(self.clone(), here).ask());
        }
    }

    /// From the pool, but none of a runtime that has ended.
    async fn acquire(&self) -> Result<PoolConnection<DB>, sqlx::Error> {
        loop {
            let mut connection = self.pool.acquire().await?;
            if !self.may_meet_others() || connection.ping().await.is_ok() {
                return Ok(connection);
            }
            self.close(connection);
        }
    }

    /// sqlx tries to connect again and again where the server refuses, and does not look meanwhile at what the
    /// application gives back to the pool.
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

    /// With the second runtime, what the first one has given back to the pool is closed: it would die in the hands of
    /// others when its own ends, and nobody could say what became of its statement.
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

    /// To the pool, for whoever comes next. In an application's pool, connections of several runtimes meet anyway.
    fn give_back(&self, connection: PoolConnection<DB>) {
        match self.is_dedicated && self.may_meet_others() && !self.pool.is_closed() {
            true => self.close(connection),
            false => drop(connection),
        }
    }

    /// The connection that was used last, or a place among those that wait for one.
    fn resting_or_wait(&self) -> Result<Resting<DB>, Receiver<DB>> {
        let here = Handle::current().id();
        let mut state = self.state();
        let fits = |resting: &Resting<DB>| {
            self.is_of_use(resting.runtime, here) && resting.since.elapsed() < self.rest
        };
        if let Some(last) = state.resting.iter().rposition(fits) {
            return Ok(state.resting.remove(last));
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.retain(|(_, sender)| !sender.is_closed());
        state.waiting.push_back((here, sender));
        // One of another runtime is of no use here, and may take the place of one that would be.
        let of_other = |resting: &Resting<DB>| !self.is_of_use(resting.runtime, here);
        let in_the_way = match self.is_full() {
            true => state.resting.iter().position(of_other).map(|i| state.resting.remove(i)),
            false => None,
        };
        drop(state);
        if let Some(resting) = in_the_way {
            self.close(resting.connection);
        }
        Err(receiver)
    }

    fn is_of_use(&self, of: runtime::Id, here: runtime::Id) -> bool {
        self.is_of_any_runtime || of == here
    }

    /// Whether the pool can neither hand out nor make a connection.
    fn is_full(&self) -> bool {
        let most = self.pool.options().get_max_connections();
        self.pool.size() >= most && self.pool.num_idle() == 0
    }

    /// Hands it on, keeps it for the next one, or gives it back.
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

    /// At once, and without a task. The pool may make another one; a statement that still runs on this
    /// one is the server's affair.
    fn close(&self, connection: PoolConnection<DB>) {
        let wants_a_task = self.pool.options().get_min_connections() > 0;
        if wants_a_task && Handle::try_current().is_err() {
            // The pool would replace it, in a runtime that is not there: the socket is left to the end
            // of the process.
            std::mem::forget(connection);
        } else {
            drop(connection.detach());
        }
    }

    /// Why there was no connection. sqlx says only that time is up, so it is tried once more: by one
    /// caller at a time, and for a moment.
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

/// What somebody hands to a request that waits, which may have given up by then.
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

/// Held by the task that gives back what has rested. If that ends early, its runtime does: what rests would
/// be given back by nobody, and the pool could not be closed.
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

/// Gives back what has rested enough, for as long as anything rests.
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
        // Whoever keeps one after this makes a new task.
        state.is_watched = !is_done;
        drop(state);
        rested.into_iter().for_each(|resting| shared.give_back(resting.connection));
        if is_done {
            watch.0 = Weak::new();
            return;
        }
    }
}
