//! Bugs that the checker has to find.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use sessile::{
    Client, Realm, Result, Revocation, SessionId, SessionInfo,
    store::{
        Backend, Changed, CleanupRun, End, Holder, HolderState, Invalidation, Lanes, LogIn,
        LogInOutcome, NewSession, Page, Reauthentication, Record, Rehash, Renewal, Revoke, Save,
        SecretHash, Store, SupersededUse, Survey, Sweep, Swept, Timeouts, Touch,
    },
};
use sha2::{Digest, Sha256};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// A save inserts the row again if it is gone.
    SaveUpserts,
    /// A load accepts every secret.
    LoadForgetsTheHash,
    /// A revocation leaves no cut-off: log-ins that began before it succeed.
    RevocationWithoutCutoff,
    /// A touch prolongs a session that has expired.
    TouchRevives,
    /// A log-out answers before it has ended the session, and may fail to.
    LogOutForgets,
    /// A save answers, and writes nothing.
    SaveLosesWrites,
    /// Log-ins are not recorded.
    EventsAreMissing,
}

impl Bug {
    pub fn name(self) -> &'static str {
        match self {
            Self::SaveUpserts => "save-upserts",
            Self::LoadForgetsTheHash => "load-forgets-the-hash",
            Self::RevocationWithoutCutoff => "revocation-without-cutoff",
            Self::TouchRevives => "touch-revives",
            Self::LogOutForgets => "log-out-forgets",
            Self::SaveLosesWrites => "save-loses-writes",
            Self::EventsAreMissing => "events-are-missing",
        }
    }
}

/// The secret that a request has last brought for a session, if the bug needs to know it.
static PRESENTED: Mutex<Option<HashMap<SessionId, SecretHash>>> = Mutex::new(None);

/// Notes the secret of a request.
pub(crate) fn present(token: Option<&str>) {
    let mut presented = PRESENTED.lock().expect("no panic");
    let Some(presented) = presented.as_mut() else { return };
    let Some(bytes) = token.and_then(|token| URL_SAFE_NO_PAD.decode(token).ok()) else { return };
    if let Some((id, secret)) = bytes.split_first_chunk::<16>() {
        let hash: [u8; 32] = Sha256::digest(secret).into();
        presented.insert(uuid::Uuid::from_bytes(*id).into(), hash.into());
    }
}

/// Puts a bug between a store and the rest of the library.
pub(crate) fn plant(bug: Bug, backend: Backend) -> Backend {
    if bug == Bug::LoadForgetsTheHash {
        *PRESENTED.lock().expect("no panic") = Some(HashMap::new());
    }
    Backend::new(Planted { bug, inner: backend.into(), realms: Mutex::default() })
}

#[derive(Debug)]
struct Planted {
    bug: Bug,
    inner: Arc<dyn Store>,
    /// Of the sessions that were loaded.
    realms: Mutex<HashMap<SessionId, Realm>>,
}

impl Planted {
    fn realm_of(&self, id: SessionId) -> Option<Realm> {
        self.realms.lock().expect("no panic").get(&id).cloned()
    }

    fn loaded(&self, mut records: Vec<Record>) -> Vec<Record> {
        if matches!(self.bug, Bug::SaveUpserts | Bug::TouchRevives) {
            let mut realms = self.realms.lock().expect("no panic");
            realms.extend(records.iter().map(|record| (record.id, record.realm.clone())));
        }
        if let Some(presented) = PRESENTED.lock().expect("no panic").as_ref() {
            for record in &mut records {
                record.secret_hash =
                    presented.get(&record.id).copied().unwrap_or(record.secret_hash);
            }
        }
        records
    }
}

#[async_trait]
impl Store for Planted {
    async fn load(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        self.inner.load(ids).await.map(|records| self.loaded(records))
    }

    async fn load_now(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        self.inner.load_now(ids).await.map(|records| self.loaded(records))
    }

    async fn save(&self, saves: &[Save]) -> Result<Changed> {
        if self.bug == Bug::SaveLosesWrites && rand::random_ratio(1, 20) {
            return Ok(Changed::of(saves.iter().map(|save| save.holder.id)));
        }
        let mut changed = self.inner.save(saves).await?;
        if self.bug == Bug::SaveUpserts {
            let done = changed.done.clone();
            for save in saves.iter().filter(|save| !done.contains(&save.holder.id)) {
                let Some(realm) = self.realm_of(save.holder.id) else { continue };
                let new = NewSession {
                    id: save.holder.id,
                    realm,
                    secret_hash: save.holder.secret_hash,
                    data: save.data.clone(),
                    timeouts: Timeouts::new(3_600, 3_600),
                    client: Client::new(),
                    pending: None,
                };
                // Fails if the row is there.
                if self.inner.create(&[new]).await.is_ok() {
                    changed.done.push(save.holder.id);
                }
            }
        }
        Ok(changed)
    }

    async fn touch(&self, touches: &[Touch]) -> Result<()> {
        self.inner.touch(touches).await?;
        if self.bug == Bug::TouchRevives {
            for id in touches.iter().map(|touch| touch.holder.id) {
                let is_live = !self.inner.load_now(&[id]).await?.is_empty();
                if let Some(realm) = self.realm_of(id).filter(|_| !is_live) {
                    self.inner.age(&realm, id, -TimeDelta::days(61)).await?;
                }
            }
        }
        Ok(())
    }

    async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome> {
        let is_recorded = log_in.is_recorded && self.bug != Bug::EventsAreMissing;
        self.inner.log_in(&LogIn { is_recorded, ..log_in.clone() }).await
    }

    async fn end(&self, ends: &[End]) -> Result<Changed> {
        if self.bug == Bug::LogOutForgets && rand::random_ratio(1, 5) {
            return Ok(Changed::of(ends.iter().map(|end| end.id)));
        }
        self.inner.end(ends).await
    }

    async fn revoke(&self, revoke: &Revoke) -> Result<Option<Revocation>> {
        let Some(user_id) =
            revoke.scope.user_id().filter(|_| self.bug == Bug::RevocationWithoutCutoff)
        else {
            return self.inner.revoke(revoke).await;
        };
        let (realm, user_id) = (revoke.realm.clone(), user_id.to_owned());
        let page =
            Page { realm: realm.clone(), user_id, after: None, limit: u32::MAX, by: revoke.by };
        let mut ended = 0;
        for info in self.inner.list(&page).await? {
            if Some(info.id) != revoke.scope.keeps() {
                let (realm, cause) = (realm.clone(), revoke.cause.clone());
                let end = End { id: info.id, realm, user_id: None, by: None, cause };
                ended += self.inner.end(&[end]).await?.done.len() as u64;
            }
        }
        Ok(Some(Revocation::new(ended, None)))
    }

    // The rest is as it was.

    async fn create(&self, sessions: &[NewSession]) -> Result<Vec<Record>> {
        self.inner.create(sessions).await.map(|records| self.loaded(records))
    }

    async fn renew(&self, renewal: &Renewal) -> Result<bool> {
        self.inner.renew(renewal).await
    }

    async fn reauthenticate(&self, to: &Reauthentication) -> Result<Option<Record>> {
        self.inner.reauthenticate(to).await
    }

    async fn holding(&self, holders: &[Holder]) -> Result<Vec<HolderState>> {
        self.inner.holding(holders).await
    }

    async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>> {
        self.inner.list(page).await
    }

    async fn find(&self, realm: &Realm, id: SessionId) -> Result<Option<SessionInfo>> {
        self.inner.find(realm, id).await
    }

    async fn scan(
        &self,
        realm: &Realm,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionId>> {
        self.inner.scan(realm, after, limit).await
    }

    async fn rehash(&self, rehash: &Rehash) -> Result<bool> {
        self.inner.rehash(rehash).await
    }

    async fn count(&self, realm: &Realm, user_id: Option<&str>) -> Result<u64> {
        self.inner.count(realm, user_id).await
    }

    async fn forget(&self, realm: &Realm, user_id: &str) -> Result<u64> {
        self.inner.forget(realm, user_id).await
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept> {
        self.inner.sweep(sweep).await
    }

    async fn survey(&self) -> Result<Option<Survey>> {
        self.inner.survey().await
    }

    async fn sweep_pages(&self, pages: Range<u32>, is_recorded: bool) -> Result<Swept> {
        self.inner.sweep_pages(pages, is_recorded).await
    }

    async fn log_cleanup(&self, run: &CleanupRun) -> Result<()> {
        self.inner.log_cleanup(run).await
    }

    async fn log_superseded(&self, used: &SupersededUse) -> Result<()> {
        self.inner.log_superseded(used).await
    }

    async fn migrate(&self) -> Result<()> {
        self.inner.migrate().await
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    async fn watch(&self, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
        self.inner.watch(on).await
    }

    async fn age(&self, realm: &Realm, id: SessionId, by: TimeDelta) -> Result<bool> {
        self.inner.age(realm, id, by).await
    }

    fn lanes(&self) -> Lanes {
        self.inner.lanes()
    }
}
