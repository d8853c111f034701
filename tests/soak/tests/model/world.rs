//! The databases, the nodes, and what is between them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use sessile_soak::{
    node::{Node, Settings},
    protocol::{Answer, Call},
    remote::Remote,
};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use tokio::runtime::Runtime;

use crate::{
    bouncer::Bouncer,
    calls::{LIMIT, NODES},
};

/// The names of all worlds.
macro_rules! worlds {
    ($do:ident) => {
        $do! {
            postgres,
            postgres_unbatched,
            postgres_cached,
            postgres_behind_a_pooler,
            postgres_sealed,
            sqlite,
            sqlite_unbatched,
            sqlite_cached,
            sqlite_sealed,
        }
    };
}
pub(crate) use worlds;

const CACHE: Duration = Duration::from_millis(20);

pub(crate) struct World {
    runtime: Runtime,
    nodes: Vec<AnyNode>,
    pool: Pool,
    /// How old a copy may be.
    pub(crate) cache: Option<Duration>,
    _bouncer: Option<Bouncer>,
    _folder: Option<tempfile::TempDir>,
}

enum AnyNode {
    Here(Arc<Node>),
    Elsewhere(Box<Remote>),
}

enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl World {
    /// The world of this name, which all cases of a test share. The process ends it.
    pub(crate) fn get(name: &'static str) -> &'static Self {
        static WORLDS: Mutex<Option<HashMap<&'static str, &'static World>>> = Mutex::new(None);
        let mut worlds = WORLDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        worlds
            .get_or_insert_default()
            .entry(name)
            .or_insert_with(|| Box::leak(Box::new(Self::new(name))))
    }

    fn new(name: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let entered = runtime.enter();
        let (mut folder, mut bouncer) = (None, None);
        let (pool, mut url) = if name.starts_with("postgres") {
            let (pool, url) = runtime.block_on(postgres());
            (Pool::Postgres(pool), url)
        } else {
            let new = tempfile::tempdir().expect("a folder");
            let url = format!("sqlite://{}?mode=rwc", new.path().join("sessions.db").display());
            folder = Some(new);
            let pool = SqlitePool::connect_lazy(&url).expect("a URL");
            (Pool::Sqlite(pool), url)
        };
        drop(entered);
        runtime.block_on(async {
            let node = Node::start(Settings::new(&url)).await.expect("the database answers");
            node.sessions("").migrate().await.expect("a migration");
        });
        let pooled = name.ends_with("pooler");
        if pooled {
            let before = Bouncer::before(&url, "");
            url.clone_from(&before.url);
            bouncer = Some(before);
        }
        let cache = name.ends_with("cached").then_some(CACHE);
        let settings = Settings {
            cache_ms: cache.map(|bound| bound.as_millis() as u64),
            unbatched: name.ends_with("unbatched"),
            sealed: name.ends_with("sealed"),
            limit: Some(LIMIT as u32),
            pooled,
            ..Settings::new(&url)
        };
        let nodes = runtime.block_on(async {
            let mut nodes = Vec::new();
            for _ in 1..NODES {
                let node = Node::start(settings.clone()).await.expect("the database answers");
                nodes.push(AnyNode::Here(node));
            }
            let program = tokio::process::Command::new(env!("CARGO_BIN_EXE_sessile-soak"));
            let other = Remote::start(program, &settings).await.expect("another process");
            nodes.push(AnyNode::Elsewhere(Box::new(other)));
            nodes
        });
        Self { runtime, nodes, pool, cache, _bouncer: bouncer, _folder: folder }
    }

    pub(crate) fn call(&self, node: usize, call: &Call) -> Answer {
        self.runtime.block_on(async {
            match &self.nodes[node] {
                AnyNode::Here(node) => node.call(call.clone()).await,
                AnyNode::Elsewhere(node) => node.call(call).await.expect("the process runs"),
            }
        })
    }

    /// The events of a realm, sorted.
    pub(crate) fn events(&self, realm: &str) -> Vec<(String, Option<String>, Option<String>)> {
        let columns = "select event, cast(session_id as text), user_id from";
        let what = "where event <> 'superseded' and realm =";
        let mut events: Vec<_> = self.runtime.block_on(async {
            match &self.pool {
                Pool::Postgres(pool) => {
                    let query = format!("{columns} sessile.session_events {what} $1");
                    sqlx::query_as(AssertSqlSafe(query)).bind(realm).fetch_all(pool).await
                }
                Pool::Sqlite(pool) => {
                    let query = format!("{columns} session_events {what} ?1");
                    sqlx::query_as(AssertSqlSafe(query)).bind(realm).fetch_all(pool).await
                }
            }
            .expect("the view answers")
        });
        events.sort();
        events
    }

    /// Frees what the nodes have of a realm.
    pub(crate) fn leave(&self, realm: &str) {
        for node in 0..NODES {
            self.call(node, &Call::Leave { realm: realm.to_owned() });
        }
    }
}

async fn postgres() -> (PgPool, String) {
    let server = std::env::var("TEST_POSTGRES_URL")
        .expect("the tests need a Postgres: run scripts/test, or set TEST_POSTGRES_URL to a server they may fill");
    let name = format!("sessile_model_{}", uuid::Uuid::now_v7().simple());
    let admin = PgPool::connect(&server).await.expect("the test server answers");
    sqlx::query(AssertSqlSafe(format!("create database {name}")))
        .execute(&admin)
        .await
        .expect("a database");
    let url = format!("{}/{name}", server.rsplit_once('/').expect("a URL").0);
    (PgPool::connect(&url).await.expect("the database answers"), url)
}
