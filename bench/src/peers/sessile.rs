use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use anyhow::{Context, Result, ensure};
use harness::{Peer, Values, encode};
use sessile::{
    Client, SessionId,
    store::{End, NewSession, Record, Save, Store},
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
    /// A save needs the revision that the request has read; this is where it is kept between the
    /// two.
    revisions: Vec<AtomicI64>,
    /// Any of the sessions: all begin with the same times.
    first: Record,
}

/// Sessions that are asked for again and again, which is what a cache is for.
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
    /// Over a store whose sessions have just been written.
    pub(crate) async fn new(store: Arc<dyn Store>, ids: Vec<SessionId>) -> Result<Self> {
        let first = store.load(&ids[..1]).await?.pop().context("no session")?;
        let revisions = ids.iter().map(|_| AtomicI64::new(first.revision)).collect();
        Ok(Self { store, ids, revisions, first })
    }
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
            id: self.ids[session],
            revision: self.revisions[session].load(Relaxed),
            data: encode(&values)?,
            lifetime: self.first.lifetime.seen(self.first.now()),
        };
        ensure!(!self.store.save(&[save]).await?.is_empty(), "not saved");
        self.revisions[session].fetch_add(1, Relaxed);
        Ok(())
    }

    async fn create(&self, values: Values) -> Result<SessionId> {
        let new = NewSession {
            id: Uuid::now_v7().into(),
            secret_hash: fill::secret_hash(),
            data: encode(&values)?,
            timeouts: fill::timeouts(),
            client: Client::new(),
        };
        let records = self.store.create(&[new]).await?;
        Ok(records.first().context("not created")?.id)
    }

    async fn delete(&self, created: SessionId) -> Result<()> {
        let ended = self.store.end(&[End { id: created, user_id: None }]).await?;
        ensure!(!ended.is_empty(), "not deleted");
        Ok(())
    }
}
