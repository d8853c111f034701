//! What arrives while a statement is in flight forms the next one.

mod queue;
mod spin;
#[cfg(test)]
mod tests;
mod touches;
mod verbs;

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;

use self::{
    queue::Queue,
    touches::Touches,
    verbs::{Create, End as EndVerb, Load, Save as SaveVerb},
};
use super::{
    End, Invalidation, Lanes, LogIn, LogInOutcome, NewSession, Page, Reauthentication, Record,
    Renewal, Revocation, Revoke, Save, SessionInfo, Store, Survey, Swept, Touch,
};
use crate::{error::Result, realm::Realm, token::SessionId};

/// A store that combines what many requests ask for into few statements. On by default in
/// [`Sessions`](crate::Sessions).
///
/// - **Loads, saves, creates and ends** of one row: a lone request runs its own statement at once.
///   What arrives while the [lanes](Store::lanes) of a verb are taken waits for one of them, and
///   goes as one statement of up to 256 rows in the order of their ids. There is no timer.
/// - Where fewer than eight requests wait, and statements lately took less than 200 µs, nobody
///   parks until the answer is there: being woken takes as long as the statement. Whatever else is
///   ready to run, here or in another process, goes first. A database far away is waited for as usual.
/// - A statement that takes longer than a tenth of a second, because somebody keeps a row locked,
///   does not hold up the next one, which then begins beside it. So it is for up to four statements
///   of a verb, and not where a verb has one lane, as those that write have on SQLite.
/// - A load joins only a statement that begins after it was asked for, so it sees every revocation
///   that returned before.
/// - A row that makes a statement fail fails alone; a database that fails does so to everybody,
///   each with the source.
/// - A request that is dropped takes nobody with it. A save of its that was in a statement by then
///   is made, and a session that it asked to end ends.
/// - **Touches** are written behind: the call returns at once, and what comes together in a tenth
///   of a second is one statement. [`flush`](Store::flush) writes what is left. Touches that a
///   crash loses make their sessions end at most a twentieth of the idle timeout early.
/// - Every other verb goes through as it is.
#[derive(Debug)]
pub struct Batched {
    store: Arc<dyn Store>,
    loads: Queue<Load>,
    saves: Queue<SaveVerb>,
    creates: Queue<Create>,
    ends: Queue<EndVerb>,
    touches: Touches,
}

impl Batched {
    /// Over another store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let lanes = store.lanes();
        Self {
            loads: Queue::new(Load(store.clone()), lanes.reads),
            saves: Queue::new(SaveVerb(store.clone()), lanes.writes),
            creates: Queue::new(Create(store.clone()), lanes.writes),
            ends: Queue::new(EndVerb(store.clone()), lanes.writes),
            touches: Touches::new(store.clone()),
            store,
        }
    }
}

#[async_trait]
impl Store for Batched {
    async fn load(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        match ids {
            [id] => Ok(self.loads.submit(*id).await?.into_iter().collect()),
            _ => self.store.load(ids).await,
        }
    }

    async fn load_now(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        match ids {
            [id] => Ok(self.loads.submit(*id).await?.into_iter().collect()),
            _ => self.store.load_now(ids).await,
        }
    }

    async fn create(&self, sessions: &[NewSession]) -> Result<Vec<Record>> {
        match sessions {
            [session] => Ok(self.creates.submit(session.clone()).await?.into_iter().collect()),
            _ => self.store.create(sessions).await,
        }
    }

    async fn save(&self, saves: &[Save]) -> Result<Vec<SessionId>> {
        match saves {
            [save] => Ok(self.saves.submit(save.clone()).await?.into_iter().collect()),
            _ => self.store.save(saves).await,
        }
    }

    async fn touch(&self, touches: &[Touch]) -> Result<()> {
        self.touches.add(touches);
        Ok(())
    }

    async fn renew(&self, renewal: &Renewal) -> Result<bool> {
        self.store.renew(renewal).await
    }

    async fn reauthenticate(&self, reauthentication: &Reauthentication) -> Result<Option<Record>> {
        self.store.reauthenticate(reauthentication).await
    }

    async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome> {
        self.store.log_in(log_in).await
    }

    async fn end(&self, ends: &[End]) -> Result<Vec<SessionId>> {
        match ends {
            [end] => Ok(self.ends.submit(end.clone()).await?.into_iter().collect()),
            _ => self.store.end(ends).await,
        }
    }

    async fn revoke(&self, revoke: &Revoke) -> Result<Option<Revocation>> {
        self.store.revoke(revoke).await
    }

    async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>> {
        self.store.list(page).await
    }

    async fn find(&self, realm: &Realm, id: SessionId) -> Result<Option<SessionInfo>> {
        self.store.find(realm, id).await
    }

    async fn count(&self, realm: &Realm, user_id: Option<&str>) -> Result<u64> {
        self.store.count(realm, user_id).await
    }

    async fn sweep(&self, limit: u32) -> Result<Swept> {
        self.store.sweep(limit).await
    }

    async fn survey(&self) -> Result<Option<Survey>> {
        self.store.survey().await
    }

    async fn sweep_pages(&self, pages: Range<u32>) -> Result<Swept> {
        self.store.sweep_pages(pages).await
    }

    async fn migrate(&self) -> Result<()> {
        self.store.migrate().await
    }

    async fn flush(&self) -> Result<()> {
        self.touches.flush().await?;
        self.store.flush().await
    }

    async fn watch(&self, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
        self.store.watch(on).await
    }

    fn lanes(&self) -> Lanes {
        self.store.lanes()
    }
}
