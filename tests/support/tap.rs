//! A store around another one, which counts, holds or fails calls.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use sessile::{
    Error, Realm, Result, Revocation, SessionId, SessionInfo,
    store::{
        Backend, Changed, CleanupRun, End, Filed, Holder, HolderState, Invalidation, Lanes, LogIn,
        LogInOutcome, NewSession, Page, Reauthentication, Record, Rehash, Renewal, Revoke, Save,
        Store, SupersededUse, Survey, Sweep, Swept, Touch,
    },
};
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    Load,
    Create,
    Save,
    Touch,
    Renew,
    Reauthenticate,
    LogIn,
    End,
    Revoke,
    List,
    Find,
    Holding,
    Scan,
    Rehash,
    Count,
    Forget,
    Sweep,
    Survey,
    FileEvents,
    LogCleanup,
    LogSuperseded,
    Migrate,
}

/// The hook around every call.
#[async_trait]
pub trait Hook: fmt::Debug + Send + Sync + 'static {
    async fn before(&self, _verb: Verb) -> Result<()> {
        Ok(())
    }

    async fn after(&self, _verb: Verb) {}

    /// Whether a change that the database reports reaches the node.
    fn hears(&self) -> bool {
        true
    }
}

#[derive(Debug)]
pub struct Tap {
    inner: Arc<dyn Store>,
    hook: Arc<dyn Hook>,
}

/// `inner`, with the hook around each of its calls.
pub fn tapped(inner: Arc<dyn Store>, hook: &Arc<impl Hook>) -> Backend {
    around(inner, hook).into()
}

/// The same, as a store.
pub fn around(inner: Arc<dyn Store>, hook: &Arc<impl Hook>) -> Arc<dyn Store> {
    let hook: Arc<dyn Hook> = hook.clone();
    Arc::new(Tap { inner, hook })
}

impl Tap {
    async fn around<T>(
        &self,
        verb: Verb,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.hook.before(verb).await?;
        let result = call.await;
        self.hook.after(verb).await;
        result
    }
}

#[async_trait]
impl Store for Tap {
    async fn load(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        self.around(Verb::Load, self.inner.load(ids)).await
    }

    async fn load_now(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        self.around(Verb::Load, self.inner.load_now(ids)).await
    }

    async fn create(&self, sessions: &[NewSession]) -> Result<Vec<Record>> {
        self.around(Verb::Create, self.inner.create(sessions)).await
    }

    async fn save(&self, saves: &[Save]) -> Result<Changed> {
        self.around(Verb::Save, self.inner.save(saves)).await
    }

    async fn touch(&self, touches: &[Touch]) -> Result<()> {
        self.around(Verb::Touch, self.inner.touch(touches)).await
    }

    async fn renew(&self, renewal: &Renewal) -> Result<bool> {
        self.around(Verb::Renew, self.inner.renew(renewal)).await
    }

    async fn reauthenticate(&self, to: &Reauthentication) -> Result<Option<Record>> {
        self.around(Verb::Reauthenticate, self.inner.reauthenticate(to)).await
    }

    async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome> {
        self.around(Verb::LogIn, self.inner.log_in(log_in)).await
    }

    async fn end(&self, ends: &[End]) -> Result<Changed> {
        self.around(Verb::End, self.inner.end(ends)).await
    }

    async fn revoke(&self, revoke: &Revoke) -> Result<Option<Revocation>> {
        self.around(Verb::Revoke, self.inner.revoke(revoke)).await
    }

    async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>> {
        self.around(Verb::List, self.inner.list(page)).await
    }

    async fn find(&self, realm: &Realm, id: SessionId) -> Result<Option<SessionInfo>> {
        self.around(Verb::Find, self.inner.find(realm, id)).await
    }

    async fn holding(&self, holders: &[Holder]) -> Result<Vec<HolderState>> {
        self.around(Verb::Holding, self.inner.holding(holders)).await
    }

    async fn scan(
        &self,
        realm: &Realm,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionId>> {
        self.around(Verb::Scan, self.inner.scan(realm, after, limit)).await
    }

    async fn rehash(&self, rehash: &Rehash) -> Result<bool> {
        self.around(Verb::Rehash, self.inner.rehash(rehash)).await
    }

    async fn count(&self, realm: &Realm, user_id: Option<&str>) -> Result<u64> {
        self.around(Verb::Count, self.inner.count(realm, user_id)).await
    }

    async fn forget(&self, realm: &Realm, user_id: &str) -> Result<u64> {
        self.around(Verb::Forget, self.inner.forget(realm, user_id)).await
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept> {
        self.around(Verb::Sweep, self.inner.sweep(sweep)).await
    }

    async fn migrate(&self) -> Result<()> {
        self.around(Verb::Migrate, self.inner.migrate()).await
    }

    async fn survey(&self) -> Result<Option<Survey>> {
        self.around(Verb::Survey, self.inner.survey()).await
    }

    async fn sweep_pages(&self, pages: Range<u32>, is_recorded: bool) -> Result<Swept> {
        self.around(Verb::Sweep, self.inner.sweep_pages(pages, is_recorded)).await
    }

    async fn file_events(&self, from: u64, limit: u32) -> Result<Filed> {
        self.around(Verb::FileEvents, self.inner.file_events(from, limit)).await
    }

    async fn log_cleanup(&self, run: &CleanupRun) -> Result<()> {
        self.around(Verb::LogCleanup, self.inner.log_cleanup(run)).await
    }

    async fn log_superseded(&self, used: &SupersededUse) -> Result<()> {
        self.around(Verb::LogSuperseded, self.inner.log_superseded(used)).await
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    #[cfg(feature = "testing")]
    async fn age(&self, realm: &Realm, id: SessionId, by: chrono::TimeDelta) -> Result<bool> {
        self.inner.age(realm, id, by).await
    }

    fn system_name(&self) -> &'static str {
        self.inner.system_name()
    }

    fn lanes(&self) -> Lanes {
        self.inner.lanes()
    }

    async fn watch(&self, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
        let on = |change| {
            if self.hook.hears() {
                on(change);
            }
        };
        self.inner.watch(&on).await
    }
}

/// Counts the calls by verb.
#[derive(Debug, Default)]
pub struct Spy(Mutex<BTreeMap<Verb, u32>>);

impl Spy {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The calls since the last question, without those that the library makes at a time of its own.
    pub fn calls(&self) -> Vec<(Verb, u32)> {
        let calls = std::mem::take(&mut *self.0.lock().unwrap()).into_iter();
        calls.filter(|(verb, _)| *verb != Verb::LogSuperseded).collect()
    }
}

#[async_trait]
impl Hook for Spy {
    async fn before(&self, verb: Verb) -> Result<()> {
        *self.0.lock().unwrap().entry(verb).or_default() += 1;
        Ok(())
    }
}

/// Holds the first call of one verb, before it reaches the database or after its answer, until the test
/// releases it. Later calls pass.
#[derive(Debug)]
pub struct Gate {
    verb: Verb,
    holds_answers: bool,
    used: AtomicBool,
    reached: Notify,
    open: Notify,
}

impl Gate {
    pub fn before(verb: Verb) -> Arc<Self> {
        Self::new(verb, false)
    }

    pub fn after(verb: Verb) -> Arc<Self> {
        Self::new(verb, true)
    }

    fn new(verb: Verb, holds_answers: bool) -> Arc<Self> {
        Arc::new(Self {
            verb,
            holds_answers,
            used: AtomicBool::new(false),
            reached: Notify::new(),
            open: Notify::new(),
        })
    }

    /// Waits until a call is held.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets it go.
    pub fn open(&self) {
        self.open.notify_one();
    }

    async fn hold(&self) {
        if !self.used.swap(true, Ordering::SeqCst) {
            self.reached.notify_one();
            self.open.notified().await;
        }
    }
}

#[async_trait]
impl Hook for Gate {
    async fn before(&self, verb: Verb) -> Result<()> {
        if verb == self.verb && !self.holds_answers {
            self.hold().await;
        }
        Ok(())
    }

    async fn after(&self, verb: Verb) {
        if verb == self.verb && self.holds_answers {
            self.hold().await;
        }
    }
}

/// A database that can be switched off: every call then fails as if no connection were available.
#[derive(Debug, Default)]
pub struct Switch(AtomicBool);

impl Switch {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn off(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn on(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[async_trait]
impl Hook for Switch {
    async fn before(&self, _verb: Verb) -> Result<()> {
        if self.0.load(Ordering::SeqCst) {
            return Err(Error::database(sqlx::Error::PoolTimedOut).transient());
        }
        Ok(())
    }
}
