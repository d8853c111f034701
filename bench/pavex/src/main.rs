//! `pavex_session_sqlx` under test, controlled by the benchmark.

mod seed;

use std::{borrow::Cow, collections::HashMap, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Parser;
use harness::{Peer, Values, worker};
use pavex_session::{SessionId, SessionStore, store::SessionRecordRef};
use pavex_session_sqlx::{PostgresSessionStore, SqliteSessionStore};
use serde_json::Value;

/// Serves plans from standard input.
#[derive(Debug, Parser)]
struct Arguments {
    /// An empty database.
    #[arg(long)]
    url: String,
    /// The number of sessions at the beginning.
    #[arg(long)]
    sessions: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { url, sessions } = Arguments::parse();
    // A pool as an application would create it: with sqlx's defaults, such as ten connections.
    let (store, ids) = if url.starts_with("sqlite:") {
        let pool = seed::sqlite_pool(&url).await?;
        let store = SqliteSessionStore::new(pool.clone());
        store.migrate().await?;
        (SessionStore::new(store), seed::sqlite(&pool, sessions).await?)
    } else {
        let pool = sqlx::PgPool::connect(&url).await?;
        let store = PostgresSessionStore::new(pool.clone());
        store.migrate().await?;
        (SessionStore::new(store), seed::postgres(&pool, sessions).await?)
    };
    worker::serve(Pavex { store, ids }).await
}

struct Pavex {
    store: SessionStore,
    ids: Vec<SessionId>,
}

type State = HashMap<Cow<'static, str>, Value>;

fn state(values: Values) -> State {
    values.into_iter().map(|(key, value)| (Cow::Owned(key), value)).collect()
}

fn record(state: &State) -> SessionRecordRef<'_> {
    SessionRecordRef { state: Cow::Borrowed(state), ttl: Duration::from_secs(7 * 86_400) }
}

impl Peer for Pavex {
    type Created = SessionId;

    fn sessions(&self) -> usize {
        self.ids.len()
    }

    async fn load(&self, session: usize) -> Result<Values> {
        let record = self.store.load(&self.ids[session]).await?.context("no such session")?;
        Ok(record.state.into_iter().map(|(key, value)| (key.into_owned(), value)).collect())
    }

    async fn save(&self, session: usize, values: Values) -> Result<()> {
        Ok(self.store.update(&self.ids[session], record(&state(values))).await?)
    }

    async fn create(&self, values: Values) -> Result<SessionId> {
        let id = SessionId::random();
        if self.store.create(&id, record(&state(values))).await.is_err() {
            bail!("not created");
        }
        Ok(id)
    }

    async fn delete(&self, created: SessionId) -> Result<()> {
        Ok(self.store.delete(&created).await?)
    }
}
