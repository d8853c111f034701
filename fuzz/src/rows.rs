//! A store of one row, in memory, which holds what a test puts there.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use sessile::{
    Realm, Result, Revocation, SessionId, SessionInfo,
    store::{
        Backend, Changed, End, Lifetime, LogIn, LogInOutcome, NewSession, Page, Reauthentication,
        Record, Renewal, Revoke, Save, Store, Sweep, Swept, Timeouts, Touch,
    },
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

const SECRET: [u8; 32] = [42; 32];

/// A live anonymous session.
#[derive(Debug)]
pub(crate) struct Row {
    id: Uuid,
    data: Arc<str>,
}

impl Row {
    pub(crate) fn with_data(data: &str) -> Self {
        // Always the same one, so that an input that fails does so again.
        let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
        Self { id, data: data.into() }
    }

    /// The value of its cookie.
    pub(crate) fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode([&self.id.as_bytes()[..], &SECRET].concat())
    }

    fn record(&self) -> Record {
        let now = DateTime::<Utc>::from_timestamp(1_800_000_000, 0).expect("a time");
        Record {
            id: self.id.into(),
            realm: Realm::default(),
            secret_hash: <[u8; 32]>::from(Sha256::digest(SECRET)).into(),
            twins: Vec::new(),
            replaced: None,
            user_id: None,
            remembered: Some(false),
            pending: None,
            data: self.data.clone(),
            revision: 1,
            created_at: now,
            authenticated_at: None,
            lifetime: Lifetime::begin(now, Timeouts::new(3600, 86_400)),
            now,
            received: Instant::now(),
            is_copy: false,
            unreadable: None,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    row: Option<Row>,
    asked_for: Vec<SessionId>,
    saved: Vec<String>,
}

/// The store, and what it was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows(Arc<Mutex<State>>);

impl Rows {
    pub(crate) fn backend(&self) -> Backend {
        let store: Arc<dyn Store> = Arc::new(self.clone());
        store.into()
    }

    pub(crate) fn put(&self, row: Row) -> SessionId {
        let id = row.id.into();
        self.with(|state| state.row = Some(row));
        id
    }

    pub(crate) fn asked_for(&self) -> Vec<SessionId> {
        self.with(|state| state.asked_for.clone())
    }

    /// The data of the writes since the last call.
    pub(crate) fn take_saved(&self) -> Vec<String> {
        self.with(|state| std::mem::take(&mut state.saved))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Store for Rows {
    async fn load(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        Ok(self.with(|state| {
            state.asked_for.extend(ids);
            let row = state.row.iter().filter(|row| ids.contains(&row.id.into()));
            row.map(Row::record).collect()
        }))
    }

    async fn save(&self, saves: &[Save]) -> Result<Changed> {
        self.with(|state| state.saved.extend(saves.iter().map(|save| save.data.clone())));
        Ok(Changed::of(saves.iter().map(|save| save.holder.id)))
    }

    async fn touch(&self, _: &[Touch]) -> Result<()> {
        Ok(())
    }

    async fn create(&self, new: &[NewSession]) -> Result<Vec<Record>> {
        panic!("no cookie and no row makes a session: {new:?}")
    }

    async fn renew(&self, renewal: &Renewal) -> Result<bool> {
        panic!("no cookie and no row renews a session: {renewal:?}")
    }

    async fn reauthenticate(&self, again: &Reauthentication) -> Result<Option<Record>> {
        panic!("no cookie and no row authenticates: {again:?}")
    }

    async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome> {
        panic!("no cookie and no row logs in: {log_in:?}")
    }

    async fn end(&self, ends: &[End]) -> Result<Changed> {
        panic!("no cookie and no row ends a session: {ends:?}")
    }

    async fn revoke(&self, revoke: &Revoke) -> Result<Option<Revocation>> {
        panic!("no cookie and no row revokes: {revoke:?}")
    }

    async fn list(&self, _: &Page) -> Result<Vec<SessionInfo>> {
        Ok(Vec::new())
    }

    async fn find(&self, _: &Realm, _: SessionId) -> Result<Option<SessionInfo>> {
        Ok(None)
    }

    async fn count(&self, _: &Realm, _: Option<&str>) -> Result<u64> {
        Ok(0)
    }

    async fn forget(&self, _: &Realm, _: &str) -> Result<u64> {
        Ok(0)
    }

    async fn sweep(&self, _: &Sweep) -> Result<Swept> {
        Ok(Swept::Rows(0))
    }

    async fn migrate(&self) -> Result<()> {
        Ok(())
    }
}
