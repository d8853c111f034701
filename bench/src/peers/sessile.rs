use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use harness::{Peer, Values, encode};
use sessile::{
    Client, Realm, SessionId,
    store::{Began, End, Holder, LogIn, LogInOutcome, NewSession, Record, Save, SecretHash, Store},
};
use uuid::Uuid;

use crate::{
    fill::{self, Seen},
    postgres::Database,
    sqlite, stores,
};

#[derive(Debug)]
pub(crate) struct Sessile {
    store: Arc<dyn Store>,
    ids: Vec<SessionId>,
    /// A save needs the revision that the request has read. This keeps the revision between the two.
    revisions: Vec<AtomicI64>,
    /// Any of the sessions: all begin with the same times.
    first: Record,
}

/// Sessions that are loaded again and again, as a cache expects.
const HOT: usize = 256;

pub(super) async fn postgres(database: &Database, sessions: usize) -> Result<Sessile> {
    let store = stores::open(&database.url).await?;
    store.migrate().await?;
    fill::postgres(&database.pool, sessions, Seen::Now).await?;
    Sessile::new(store, fill::ids(&database.pool, sessions).await?).await
}

pub(super) async fn sqlite(url: &str, sessions: usize) -> Result<Sessile> {
    let store = stores::open(url).await?;
    store.migrate().await?;
    Sessile::new(store, fill::sqlite(&sqlite::pool(url).await?, sessions).await?).await
}

/// The same with the cache turned on, and all requests for the same few sessions.
pub(super) fn cached(mut peer: Sessile) -> Sessile {
    peer.store = stores::cached(peer.store);
    peer.ids.truncate(HOT);
    peer
}

impl Sessile {
    /// On a store whose sessions have just been written.
    pub(crate) async fn new(store: Arc<dyn Store>, ids: Vec<SessionId>) -> Result<Self> {
        let first = store.load(&ids[..1]).await?.pop().context("no session")?;
        let revisions = ids.iter().map(|_| AtomicI64::new(first.revision)).collect();
        Ok(Self { store, ids, revisions, first })
    }
}

/// No two log-ins are of one user, because such log-ins wait for each other.
pub(crate) fn log_in(id: Uuid, old_hash: Option<SecretHash>) -> LogIn {
    LogIn {
        id: id.into(),
        realm: Realm::default(),
        old_hash,
        new_hash: fill::secret_hash(),
        user_id: format!("user-{}", id.simple()),
        data: None,
        of_revision: None,
        timeouts: fill::timeouts(),
        remembered: false,
        client: Client::new(),
        began: Began::Here(Instant::now()),
        after: None,
        limit: None,
        replaces_user: None,
        is_recorded: true,
    }
}

fn logged_in(outcome: LogInOutcome) -> Result<()> {
    ensure!(matches!(outcome, LogInOutcome::LoggedIn(..)), "not logged in: {outcome:?}");
    Ok(())
}

impl Peer for Sessile {
    type Created = SessionId;

    fn sessions(&self) -> usize {
        self.ids.len()
    }

    async fn load(&self, session: usize) -> Result<Values> {
        let records = self.store.load(&self.ids[session..=session]).await?;
        let record = records.into_iter().next().context("no such session")?;
        ensure!(record.secret_hash.matches(&fill::secret_hash()), "another secret");
        Ok(serde_json::from_str(&record.data)?)
    }

    async fn save(&self, session: usize, values: Values) -> Result<()> {
        let save = Save {
            holder: Holder { id: self.ids[session], secret_hash: fill::secret_hash() },
            revision: self.revisions[session].load(Relaxed),
            data: encode(&values)?,
            lifetime: self.first.lifetime.seen(self.first.now()),
            ip: None,
        };
        ensure!(!self.store.save(&[save]).await?.done.is_empty(), "not saved");
        self.revisions[session].fetch_add(1, Relaxed);
        Ok(())
    }

    async fn create(&self, values: Values) -> Result<SessionId> {
        let new = NewSession {
            id: Uuid::now_v7().into(),
            realm: Realm::default(),
            secret_hash: fill::secret_hash(),
            data: encode(&values)?,
            timeouts: fill::timeouts(),
            client: Client::new(),
            pending: None,
        };
        let records = self.store.create(&[new]).await?;
        Ok(records.first().context("not created")?.id)
    }

    async fn delete(&self, created: SessionId) -> Result<()> {
        let end =
            End { id: created, realm: Realm::default(), user_id: None, by: None, cause: None };
        ensure!(!self.store.end(&[end]).await?.done.is_empty(), "not deleted");
        Ok(())
    }

    async fn log_in(&self, values: Values) -> Result<()> {
        let id = Uuid::now_v7();
        let log_in = LogIn { data: Some(encode(&values)?), ..log_in(id, None) };
        logged_in(self.store.log_in(&log_in).await?)
    }

    async fn visit_and_log_in(&self, values: Values) -> Result<()> {
        let id = self.create(values).await?;
        let record = self.store.load(&[id]).await?.pop().context("no such session")?;
        let log_in = log_in(id.into(), Some(record.secret_hash));
        logged_in(self.store.log_in(&log_in).await?)
    }
}
