//! Connections that stay out of their pool between statements.

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use sqlx::{
    Database, Executor, IntoArguments, Pool,
    pool::{CloseEvent, PoolConnection},
    query::{Map, Query},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// How long a connection may rest before it goes back to its pool.
const REST: Duration = Duration::from_secs(1);
/// How long it stays out at most: its pool knows how old it may grow.
const OUT: Duration = Duration::from_secs(60);

/// The connections of a pool, some of which are kept at hand after their use.
///
/// A pool of sqlx asks every connection that comes back whether it still works, in a task that it
/// spawns: a second round trip for each statement, as long as the first. Here, one whose statement
/// was carried out is handed to the next statement as it is. Every other one (an error, a dropped
/// future) goes back to the pool, which clears up or closes it; so does one that nobody has used for
/// a second, and everything when the pool is closed.
pub(super) struct Connections<DB: Database>(Arc<Shared<DB>>);

struct Shared<DB: Database> {
    pool: Pool<DB>,
    /// As many as the pool may have connections: who waits, waits here, and takes over what the one
    /// before has kept.
    permits: Arc<Semaphore>,
    at_most: usize,
    state: Mutex<State<DB>>,
}

struct State<DB: Database> {
    resting: Vec<Resting<DB>>,
    /// How many wait for the pool. Nothing is kept from them.
    waiting: usize,
    /// Whether a task is there that gives back what has rested enough.
    is_watched: bool,
}

struct Resting<DB: Database> {
    connection: PoolConnection<DB>,
    out_since: Instant,
    since: Instant,
}

impl<DB: Database> Connections<DB> {
    /// Of a pool that others use too: a fifth of its connections may be kept, and none of less than
    /// five.
    pub(super) fn shared(pool: Pool<DB>) -> Self {
        let at_most = pool.options().get_max_connections() / 5;
        Self::new(pool, at_most)
    }

    /// Of a pool that nobody else uses.
    pub(super) fn dedicated(pool: Pool<DB>) -> Self {
        let at_most = pool.options().get_max_connections();
        Self::new(pool, at_most)
    }

    fn new(pool: Pool<DB>, at_most: u32) -> Self {
        let permits = Arc::new(Semaphore::new(pool.options().get_max_connections() as usize));
        let state = State { resting: Vec::new(), waiting: 0, is_watched: false };
        let at_most = at_most as usize;
        Self(Arc::new(Shared { pool, permits, at_most, state: Mutex::new(state) }))
    }

    pub(super) fn pool(&self) -> &Pool<DB> {
        &self.0.pool
    }

    /// One to use, as soon as there is one. Fails as the pool does when it takes too long.
    pub(super) async fn take(&self) -> Result<Lease<DB>, sqlx::Error> {
        let permit = self.0.permit().await?;
        let lease =
            |connection, out_since| Lease { connection, out_since, shared: self.0.clone(), permit };
        let _waiting = match self.0.resting_or_wait() {
            Ok(resting) => return Ok(lease(resting.connection, resting.out_since)),
            Err(waiting) => waiting,
        };
        Ok(lease(self.0.pool.acquire().await?, Instant::now()))
    }

    /// Gives back what rests, for the pool to find out which of them still work.
    #[cfg(feature = "postgres")]
    pub(super) fn give_back(&self) {
        let resting = std::mem::take(&mut self.0.state().resting);
        drop(resting);
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

    async fn permit(&self) -> Result<OwnedSemaphorePermit, sqlx::Error> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let at_most = self.pool.options().get_acquire_timeout();
        match tokio::time::timeout(at_most, self.permits.clone().acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| sqlx::Error::PoolClosed),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// The connection that was used last, or the announcement of a wait for the pool.
    fn resting_or_wait(&self) -> Result<Resting<DB>, Waiting<'_, DB>> {
        let mut state = self.state();
        match state.resting.pop() {
            Some(resting) if resting.since.elapsed() < REST => Ok(resting),
            _ => {
                state.waiting += 1;
                Err(Waiting(self))
            }
        }
    }

    fn keep(self: &Arc<Self>, connection: PoolConnection<DB>, out_since: Instant) {
        let mut state = self.state();
        let keeps = state.waiting == 0
            && state.resting.len() < self.at_most
            && out_since.elapsed() < OUT
            && !self.pool.is_closed();
        if !keeps {
            return;
        }
        state.resting.push(Resting { connection, out_since, since: Instant::now() });
        if !std::mem::replace(&mut state.is_watched, true) {
            drop(state);
            tokio::spawn(give_back_rested(Arc::downgrade(self), self.pool.close_event()));
        }
    }
}

impl<DB: Database> Drop for Shared<DB> {
    fn drop(&mut self) {
        // A pool takes a connection back in a task. Where there is no runtime any more, the sockets
        // are left to the end of the process.
        if Handle::try_current().is_err() {
            let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            state.resting.drain(..).for_each(std::mem::forget);
        }
    }
}

struct Waiting<'a, DB: Database>(&'a Shared<DB>);

impl<DB: Database> Drop for Waiting<'_, DB> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

/// Gives back what has rested enough, for as long as anything rests.
async fn give_back_rested<DB: Database>(shared: Weak<Shared<DB>>, mut closed: CloseEvent) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(REST) => {}
            () = &mut closed => {}
        }
        let Some(shared) = shared.upgrade() else { return };
        let mut state = shared.state();
        let is_closed = shared.pool.is_closed();
        let has_rested = |resting: &mut Resting<DB>| is_closed || resting.since.elapsed() >= REST;
        state.resting.extract_if(.., has_rested).for_each(drop);
        if state.resting.is_empty() {
            state.is_watched = false;
            return;
        }
    }
}

/// A connection in use. Dropped, it goes back to the pool, in whatever state it is.
pub(super) struct Lease<DB: Database> {
    connection: PoolConnection<DB>,
    out_since: Instant,
    shared: Arc<Shared<DB>>,
    permit: OwnedSemaphorePermit,
}

impl<DB: Database> Lease<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    pub(super) async fn all<'q, F, O, A>(
        mut self,
        query: Map<'q, DB, F, A>,
    ) -> Result<Vec<O>, sqlx::Error>
    where
        F: FnMut(DB::Row) -> Result<O, sqlx::Error> + Send,
        O: Send + Unpin,
        A: IntoArguments<DB> + Send + 'q,
    {
        let rows = query.fetch_all(&mut *self.connection).await?;
        self.keep();
        Ok(rows)
    }

    pub(super) async fn optional<'q, F, O, A>(
        mut self,
        query: Map<'q, DB, F, A>,
    ) -> Result<Option<O>, sqlx::Error>
    where
        F: FnMut(DB::Row) -> Result<O, sqlx::Error> + Send,
        O: Send + Unpin,
        A: IntoArguments<DB> + Send + 'q,
    {
        let row = query.fetch_optional(&mut *self.connection).await?;
        self.keep();
        Ok(row)
    }

    pub(super) async fn one<'q, F, O, A>(
        mut self,
        query: Map<'q, DB, F, A>,
    ) -> Result<O, sqlx::Error>
    where
        F: FnMut(DB::Row) -> Result<O, sqlx::Error> + Send,
        O: Send + Unpin,
        A: IntoArguments<DB> + Send + 'q,
    {
        let row = query.fetch_one(&mut *self.connection).await?;
        self.keep();
        Ok(row)
    }

    pub(super) async fn execute<'q, A>(
        mut self,
        query: Query<'q, DB, A>,
    ) -> Result<DB::QueryResult, sqlx::Error>
    where
        A: IntoArguments<DB> + Send + 'q,
    {
        let done = query.execute(&mut *self.connection).await?;
        self.keep();
        Ok(done)
    }
}

impl<DB: Database> Lease<DB> {
    /// Keeps it for the next one: its statement, or its transaction, came to its end.
    pub(super) fn keep(self) {
        let Self { connection, out_since, shared, permit } = self;
        shared.keep(connection, out_since);
        drop(permit);
    }
}

impl<DB: Database> Deref for Lease<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.connection
    }
}

impl<DB: Database> DerefMut for Lease<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }
}
