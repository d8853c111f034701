//! Copies of loaded records, kept for a short time.

mod generations;
mod watcher;

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::sync::OnceCell;

use self::{generations::Generations, watcher::Watcher};
use super::{
    Changed, CleanupRun, End, Filed, Holder, HolderState, Invalidation, Lanes, LogIn, LogInOutcome,
    NewSession, Page, Reauthentication, Record, Rehash, Renewal, Revocation, Revoke, Save,
    SessionInfo, Store, SupersededUse, Survey, Sweep, Swept, Touch,
    task::{self, READS},
};
use crate::{error::Result, metrics, realm::Realm, token::SessionId};

/// How much a [`Cached`] store keeps, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct CacheOptions {
    entries: u64,
    bytes: u64,
    bound: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { entries: 100_000, bytes: 64 << 20, bound: Duration::from_secs(1) }
    }
}

impl CacheOptions {
    /// At most this many sessions. Default: 100,000.
    pub fn entries(mut self, entries: u64) -> Self {
        self.entries = entries.max(1);
        self
    }

    /// At most about this many bytes. Default: 64 MiB.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes.max(1);
        self
    }

    /// The greatest age of a copy. So a revocation by another node stays unnoticed for at most this long,
    /// even if all else fails. Default: 1 second.
    pub fn bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }
}

/// A store that answers a load from memory if the same session was loaded a moment ago.
///
/// Off by default. The cache keeps only loaded records, never written ones. It uses a copy
///
/// - while the copy is younger than the [bound](CacheOptions::bound), and its session is live by the
///   database's time;
/// - until this process saves, renews, logs in or ends the session. This takes effect when that call returns;
/// - until another process renews, logs in or ends the session, as soon as the cache learns of it: by
///   `LISTEN` on Postgres, by polling on SQLite. While the connection for this is lost, every load queries
///   the database.
///
/// On Postgres the cache does not learn of a save by another process, so a copy can be out of date by up to
/// the bound. A stale copy is never written back: the save finds another revision, reads the row and tries
/// again. If a copy does not know a cookie's secret, the library reads the row from the database. So a log-in
/// at another node takes effect at once.
///
/// Requests that miss the same session at the same time share one load, if the load began after the last
/// change that this process knows of.
#[derive(Debug)]
pub struct Cached {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    watcher: Watcher,
}

#[derive(Debug)]
struct Shared {
    copies: moka::sync::Cache<SessionId, Arc<Copy>>,
    generations: Generations,
    bound: Duration,
    /// Whether the cache learns of changes by other processes.
    listening: AtomicBool,
    /// Is told of every change that is heard of.
    teller: Teller,
}

/// Wrapped, so that the rest has a derived `Debug`.
#[derive(Clone)]
struct Teller(Arc<dyn Fn(&Invalidation) + Send + Sync>);

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller")
    }
}

/// A load in flight, or its result.
#[derive(Debug)]
struct Copy {
    /// The time and the generation, both from before the load began.
    began: Instant,
    generation: u64,
    record: OnceCell<Option<Record>>,
}

impl Cached {
    /// Puts a cache around another store, usually a [`Batched`](super::Batched) one.
    pub fn new(store: Arc<dyn Store>, options: CacheOptions) -> Self {
        Self::telling(store, options, |_| ())
    }

    /// Also passes on the changes that it hears of.
    pub(crate) fn telling(
        store: Arc<dyn Store>,
        options: CacheOptions,
        tell: impl Fn(&Invalidation) + Send + Sync + 'static,
    ) -> Self {
        // One measure for both limits: an entry weighs its bytes, or its share of all bytes if that is more.
        let part = u32::try_from(options.bytes / options.entries).unwrap_or(u32::MAX);
        let weigh = move |_: &SessionId, copy: &Arc<Copy>| copy.bytes().max(part);
        let copies = moka::sync::Cache::builder()
            .max_capacity(options.bytes)
            .weigher(weigh)
            .time_to_live(options.bound)
            .build();
        let shared = Arc::new(Shared {
            copies,
            generations: Generations::default(),
            bound: options.bound,
            listening: AtomicBool::new(false),
            teller: Teller(Arc::new(tell)),
        });
        Self { store, shared, watcher: Watcher::default() }
    }

    /// Invalidates copies when it is dropped: when the call has returned, or when the call was dropped and
    /// its statement may have run.
    fn invalidating<'a>(&'a self, invalidations: &'a [Invalidation]) -> Invalidating<'a> {
        Invalidating { shared: &self.shared, invalidations }
    }
}

struct Invalidating<'a> {
    shared: &'a Shared,
    invalidations: &'a [Invalidation],
}

impl Drop for Invalidating<'_> {
    fn drop(&mut self) {
        for invalidation in self.invalidations {
            self.shared.generations.invalidate(invalidation);
        }
    }
}

impl Shared {
    /// Returns the copy to use, or a new one to load into.
    fn copy(&self, id: SessionId) -> Arc<Copy> {
        if let Some(copy) = self.copies.get(&id).filter(|copy| self.serves(copy, id)) {
            return copy;
        }
        let new = || {
            let generation = self.generations.now();
            Arc::new(Copy { began: Instant::now(), generation, record: OnceCell::new() })
        };
        self.copies.entry(id).or_insert_with_if(new, |copy| !self.serves(copy, id)).into_value()
    }

    fn serves(&self, copy: &Copy, id: SessionId) -> bool {
        let user = match copy.record.get() {
            Some(Some(record)) if record.now() < record.lifetime.valid_until => {
                Some(record.user_id.as_deref())
            }
            // Expired or not found: such an answer is not repeated.
            Some(_) => return false,
            None => None,
        };
        copy.began.elapsed() < self.bound && self.generations.holds_since(copy.generation, id, user)
    }
}

impl Copy {
    fn bytes(&self) -> u32 {
        // About the size of an entry of the cache itself.
        const OVERHEAD: usize = 300;
        let data = self.record.get().and_then(Option::as_ref).map_or(0, |record| record.data.len());
        u32::try_from(data + OVERHEAD).unwrap_or(u32::MAX)
    }
}

#[async_trait]
impl Store for Cached {
    async fn load(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        self.watcher.start(&self.store, &self.shared);
        let &[id] = ids else { return self.store.load(ids).await };
        if !self.shared.listening.load(Ordering::Acquire) {
            metrics::cache("off");
            return self.store.load(ids).await;
        }
        let copy = self.shared.copy(id);
        let as_copy = |record: &Record| Record { is_copy: true, ..record.clone() };
        if let Some(record) = copy.record.get() {
            metrics::cache("hit");
            return Ok(record.iter().map(as_copy).collect());
        }
        // In a task: a request that waits for another request's load then waits for a task that is polled.
        let (store, loaded) = (self.store.clone(), copy.clone());
        let load = async move {
            let mut is_own = false;
            let load = || {
                is_own = true;
                async { store.load(&[id]).await.map(|mut records| records.pop()) }
            };
            loaded.record.get_or_try_init(load).await?;
            Ok(is_own)
        };
        let is_own = task::run(None, READS, load).await?;
        metrics::cache(if is_own { "miss" } else { "shared" });
        let record = copy.record.get().and_then(Option::as_ref);
        if !is_own {
            // The load may have begun before this call.
            return Ok(record.map(as_copy).into_iter().collect());
        }
        // The copy was weighed while it was empty.
        if record.is_some() {
            self.shared.copies.insert(id, copy.clone());
        } else {
            self.shared.copies.invalidate(&id);
        }
        Ok(record.cloned().into_iter().collect())
    }

    /// The caller knows that a copy may be old, so the copy is not used again.
    async fn load_now(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        for id in ids {
            self.shared.generations.invalidate(&Invalidation::Session(*id));
        }
        self.store.load_now(ids).await
    }

    async fn create(&self, sessions: &[NewSession]) -> Result<Vec<Record>> {
        self.store.create(sessions).await
    }

    async fn save(&self, saves: &[Save]) -> Result<Changed> {
        let changed: Vec<_> =
            saves.iter().map(|save| Invalidation::Session(save.holder.id)).collect();
        let _invalidating = self.invalidating(&changed);
        self.store.save(saves).await
    }

    async fn touch(&self, touches: &[Touch]) -> Result<()> {
        self.store.touch(touches).await
    }

    async fn renew(&self, renewal: &Renewal) -> Result<bool> {
        let changed = [Invalidation::Session(renewal.holder.id)];
        let _invalidating = self.invalidating(&changed);
        self.store.renew(renewal).await
    }

    async fn reauthenticate(&self, reauthentication: &Reauthentication) -> Result<Option<Record>> {
        let changed = [Invalidation::Session(reauthentication.renewal.holder.id)];
        let _invalidating = self.invalidating(&changed);
        self.store.reauthenticate(reauthentication).await
    }

    async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome> {
        // The limit may end the user's other sessions.
        let changed =
            [Invalidation::Session(log_in.id), Invalidation::User(log_in.user_id.clone())];
        let _invalidating = self.invalidating(&changed);
        self.store.log_in(log_in).await
    }

    async fn end(&self, ends: &[End]) -> Result<Changed> {
        let changed: Vec<_> = ends.iter().map(|end| Invalidation::Session(end.id)).collect();
        let _invalidating = self.invalidating(&changed);
        self.store.end(ends).await
    }

    async fn revoke(&self, revoke: &Revoke) -> Result<Option<Revocation>> {
        // Users of the same name in other realms lose a copy too, which costs them a load.
        let changed = [match revoke.scope.user_id() {
            Some(user_id) => Invalidation::User(user_id.to_owned()),
            None => Invalidation::All,
        }];
        let _invalidating = self.invalidating(&changed);
        self.store.revoke(revoke).await
    }

    async fn holding(&self, holders: &[Holder]) -> Result<Vec<HolderState>> {
        self.store.holding(holders).await
    }

    async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>> {
        self.store.list(page).await
    }

    async fn find(&self, realm: &Realm, id: SessionId) -> Result<Option<SessionInfo>> {
        self.store.find(realm, id).await
    }

    async fn scan(
        &self,
        realm: &Realm,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionId>> {
        self.store.scan(realm, after, limit).await
    }

    async fn count(&self, realm: &Realm, user_id: Option<&str>) -> Result<u64> {
        self.store.count(realm, user_id).await
    }

    async fn rehash(&self, rehash: &Rehash) -> Result<bool> {
        let changed = [Invalidation::Session(rehash.id)];
        let _invalidating = self.invalidating(&changed);
        self.store.rehash(rehash).await
    }

    async fn forget(&self, realm: &Realm, user_id: &str) -> Result<u64> {
        let changed = [Invalidation::User(user_id.to_owned())];
        let _invalidating = self.invalidating(&changed);
        self.store.forget(realm, user_id).await
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept> {
        self.store.sweep(sweep).await
    }

    async fn survey(&self) -> Result<Option<Survey>> {
        self.store.survey().await
    }

    async fn sweep_pages(&self, pages: Range<u32>, is_recorded: bool) -> Result<Swept> {
        self.store.sweep_pages(pages, is_recorded).await
    }

    async fn file_events(&self, from: u64, limit: u32) -> Result<Filed> {
        self.store.file_events(from, limit).await
    }

    async fn log_cleanup(&self, run: &CleanupRun) -> Result<()> {
        self.store.log_cleanup(run).await
    }

    async fn log_superseded(&self, used: &SupersededUse) -> Result<()> {
        self.store.log_superseded(used).await
    }

    async fn migrate(&self) -> Result<()> {
        self.store.migrate().await
    }

    async fn flush(&self) -> Result<()> {
        self.store.flush().await
    }

    async fn watch(&self, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
        self.store.watch(on).await
    }

    #[cfg(feature = "testing")]
    async fn age(&self, realm: &Realm, id: SessionId, by: chrono::TimeDelta) -> Result<bool> {
        let aged = self.store.age(realm, id, by).await;
        self.shared.generations.invalidate(&Invalidation::Session(id));
        aged
    }

    fn system_name(&self) -> &'static str {
        self.store.system_name()
    }

    fn lanes(&self) -> Lanes {
        self.store.lanes()
    }
}
