//! Requests that arrive while a statement is in flight share the next one.

mod queue;
mod touches;
mod verbs;

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;

use self::{
    queue::{Limits, Queue},
    touches::Touches,
    verbs::{Create, End as EndVerb, Load, Save as SaveVerb},
};
use super::{
    Changed, CleanupRun, End, Filed, Holder, HolderState, Invalidation, Lanes, LogIn, LogInOutcome,
    NewSession, Page, Reauthentication, Record, Rehash, Renewal, Revocation, Revoke, Save, Scope,
    SessionInfo, Store, SupersededUse, Survey, Sweep, Swept, Touch,
    task::{self, READS, WRITES},
};
use crate::{error::Result, realm::Realm, token::SessionId};

/// At most this many rows in a statement. More rows gain nothing, and delay the first ones.
const MAX_ROWS: usize = 256;

/// How a [`Batched`] store works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct BatchOptions {
    combines: bool,
    pub(crate) deadline: Duration,
    pub(crate) log_in_deadline: Duration,
}

impl Default for BatchOptions {
    fn default() -> Self {
        let (deadline, log_in_deadline) = (Duration::from_secs(2), Duration::from_secs(5));
        Self { combines: true, deadline, log_in_deadline }
    }
}

impl BatchOptions {
    /// Whether requests share statements, and touches are written in the background. Default: yes.
    pub fn combines(mut self, combines: bool) -> Self {
        self.combines = combines;
        self
    }

    /// How long a call may take, with all waiting and retries. Default: 2 seconds.
    ///
    /// Does not apply to [`revoke`](Store::revoke) of everybody, [`count`](Store::count), sweeps and
    /// migrations: these have no limit.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same for log-ins and for the revocation of a user's sessions, which wait for each other. Default:
    /// 5 seconds.
    pub fn log_in_deadline(mut self, deadline: Duration) -> Self {
        self.log_in_deadline = deadline;
        self
    }
}

/// A store that combines many requests into few statements, and answers each request in time.
/// [`Sessions`](crate::Sessions) puts one around every store.
///
/// - **Loads, saves, creates and ends** of one row: a request that comes alone gets its own statement at
///   once. Requests that arrive meanwhile share one statement of up to 256 rows, sorted by id. That statement
///   starts in another of the verb's [lanes](Store::lanes) as soon as two requests wait, or when the running
///   statement has taken 5 ms. Otherwise it starts when the running statement ends.
/// - **Every call runs in its own task**, and its caller only waits for the answer. A caller that is dropped,
///   or no longer polled, delays no other caller. A request whose caller is dropped leaves the queue. But a
///   statement that has begun runs to its end, and so does every log-out and revocation.
/// - **Every call is answered by its [deadline](BatchOptions::deadline)**, with an error that tells whether
///   nothing was done or the [outcome is unknown](crate::ErrorKind::OutcomeUnknown). Its connection is then
///   closed.
/// - A statement leaves out a row that another transaction has locked, so that requests for other rows do not
///   wait for it. The request for the locked row is tried again until its deadline.
/// - The queue is bounded: 8,192 requests or 32 MiB for each verb. Beyond that, calls fail at once as
///   [overloaded](crate::ErrorKind::Overloaded).
/// - A load joins only a statement that begins after the load was asked for. So it sees every revocation that
///   returned before.
/// - If one row makes a statement fail, only that row's call fails. If the database fails, every call fails,
///   each with the source.
/// - **Touches** are written in the background: the call returns at once. The touches of a tenth of a second
///   share one statement, which skips locked rows. [`flush`](Store::flush) writes the rest. If touches are
///   lost, their sessions end early by at most a twentieth of the idle timeout.
#[derive(Debug)]
pub struct Batched {
    store: Arc<dyn Store>,
    options: BatchOptions,
    loads: Queue<Load>,
    saves: Queue<SaveVerb>,
    creates: Queue<Create>,
    ends: Arc<Queue<EndVerb>>,
    touches: Touches,
}

impl Batched {
    /// Puts a batch around another store.
    pub fn new(store: Arc<dyn Store>, options: BatchOptions) -> Self {
        let lanes = store.lanes();
        let deadline = options.deadline;
        let limits = |lanes| match options.combines {
            true => Limits { lanes, rows: MAX_ROWS, deadline },
            false => Limits { lanes: usize::MAX, rows: 1, deadline },
        };
        Self {
            loads: Queue::new(Load(store.clone()), limits(lanes.reads)),
            saves: Queue::new(SaveVerb(store.clone()), limits(lanes.writes)),
            creates: Queue::new(Create(store.clone()), limits(lanes.writes)),
            ends: Arc::new(Queue::new(EndVerb(store.clone()), limits(lanes.writes))),
            touches: Touches::new(store.clone(), deadline),
            store,
            options,
        }
    }
}

/// Calls the store's own verb, in its own task. Arguments before the semicolon go by reference.
macro_rules! in_task {
    ($self:ident.$verb:ident($($argument:ident),* $(; $($value:ident),*)?), $writes:expr, $limit:expr) => {{
        let store = $self.store.clone();
        $(let $argument = $argument.to_owned();)*
        task::run($limit, $writes, async move { store.$verb($(&$argument,)* $($($value),*)?).await }).await
    }};
}

#[async_trait]
impl Store for Batched {
    async fn load(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        match ids {
            [id] => Ok(self.loads.submit(*id).await?.into_iter().collect()),
            _ => in_task!(self.load(ids), READS, Some(self.options.deadline)),
        }
    }

    async fn load_now(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        in_task!(self.load_now(ids), READS, Some(self.options.deadline))
    }

    async fn create(&self, sessions: &[NewSession]) -> Result<Vec<Record>> {
        match sessions {
            [session] => Ok(self.creates.submit(session.clone()).await?.into_iter().collect()),
            _ => in_task!(self.create(sessions), WRITES, Some(self.options.deadline)),
        }
    }

    async fn save(&self, saves: &[Save]) -> Result<Changed> {
        match saves {
            [save] => {
                let is_written = self.saves.submit(save.clone()).await?;
                Ok(Changed::of(is_written.then_some(save.holder.id)))
            }
            _ => in_task!(self.save(saves), WRITES, Some(self.options.deadline)),
        }
    }

    async fn touch(&self, touches: &[Touch]) -> Result<()> {
        if !self.options.combines {
            return in_task!(self.touch(touches), READS, Some(self.options.deadline));
        }
        self.touches.add(touches);
        Ok(())
    }

    async fn renew(&self, renewal: &Renewal) -> Result<bool> {
        in_task!(self.renew(renewal), WRITES, Some(self.options.deadline))
    }

    async fn reauthenticate(&self, to: &Reauthentication) -> Result<Option<Record>> {
        in_task!(self.reauthenticate(to), WRITES, Some(self.options.deadline))
    }

    async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome> {
        in_task!(self.log_in(log_in), WRITES, Some(self.options.log_in_deadline))
    }

    async fn end(&self, ends: &[End]) -> Result<Changed> {
        match ends {
            [end] => {
                // In its own task: a dropped caller leaves the queue, but a log-out must finish anyway.
                let (queue, id, end) = (self.ends.clone(), end.id, end.clone());
                let was_live = task::run(None, WRITES, async move { queue.submit(end).await });
                Ok(Changed::of(was_live.await?.then_some(id)))
            }
            _ => in_task!(self.end(ends), WRITES, Some(self.options.deadline)),
        }
    }

    async fn revoke(&self, revoke: &Revoke) -> Result<Option<Revocation>> {
        let is_of_all = matches!(revoke.scope, Scope::All);
        let limit = (!is_of_all).then_some(self.options.log_in_deadline);
        in_task!(self.revoke(revoke), WRITES, limit)
    }

    async fn holding(&self, holders: &[Holder]) -> Result<Vec<HolderState>> {
        in_task!(self.holding(holders), READS, Some(self.options.deadline))
    }

    async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>> {
        in_task!(self.list(page), READS, Some(self.options.deadline))
    }

    async fn find(&self, realm: &Realm, id: SessionId) -> Result<Option<SessionInfo>> {
        in_task!(self.find(realm; id), READS, Some(self.options.deadline))
    }

    async fn scan(
        &self,
        realm: &Realm,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionId>> {
        let (store, realm) = (self.store.clone(), realm.clone());
        task::run(None, READS, async move { store.scan(&realm, after, limit).await }).await
    }

    async fn count(&self, realm: &Realm, user_id: Option<&str>) -> Result<u64> {
        let (store, realm) = (self.store.clone(), realm.clone());
        let user_id = user_id.map(str::to_owned);
        task::run(None, READS, async move { store.count(&realm, user_id.as_deref()).await }).await
    }

    async fn rehash(&self, rehash: &Rehash) -> Result<bool> {
        in_task!(self.rehash(rehash), WRITES, Some(self.options.deadline))
    }

    async fn forget(&self, realm: &Realm, user_id: &str) -> Result<u64> {
        in_task!(self.forget(realm, user_id), WRITES, Some(self.options.log_in_deadline))
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept> {
        in_task!(self.sweep(sweep), READS, None)
    }

    async fn survey(&self) -> Result<Option<Survey>> {
        in_task!(self.survey(), READS, None)
    }

    async fn sweep_pages(&self, pages: Range<u32>, is_recorded: bool) -> Result<Swept> {
        in_task!(self.sweep_pages(; pages, is_recorded), READS, None)
    }

    async fn file_events(&self, from: u64, limit: u32) -> Result<Filed> {
        in_task!(self.file_events(; from, limit), READS, None)
    }

    async fn log_cleanup(&self, run: &CleanupRun) -> Result<()> {
        in_task!(self.log_cleanup(run), WRITES, Some(self.options.deadline))
    }

    async fn log_superseded(&self, used: &SupersededUse) -> Result<()> {
        in_task!(self.log_superseded(used), READS, Some(self.options.deadline))
    }

    async fn migrate(&self) -> Result<()> {
        in_task!(self.migrate(), WRITES, None)
    }

    async fn flush(&self) -> Result<()> {
        self.touches.flush().await?;
        self.store.flush().await
    }

    async fn watch(&self, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
        self.store.watch(on).await
    }

    #[cfg(feature = "testing")]
    async fn age(&self, realm: &Realm, id: SessionId, by: chrono::TimeDelta) -> Result<bool> {
        self.store.age(realm, id, by).await
    }

    fn system_name(&self) -> &'static str {
        self.store.system_name()
    }

    fn lanes(&self) -> Lanes {
        self.store.lanes()
    }
}
