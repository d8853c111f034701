//! A separate database for every test, and changes of it that the library does not see.
#![allow(dead_code, unreachable_pub)]

pub mod tap;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sessile::{
    Client, Session, SessionId, Sessions, SessionsBuilder,
    store::{
        Backend, BatchOptions, Batched, CacheOptions, Cached, Store, postgres::PostgresStore,
        sqlite::SqliteStore,
    },
};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool, postgres::PgPoolOptions};
use uuid::Uuid;

/// Runs each case on every backend: `cases! { a_case, another_case }` makes the tests `postgres::a_case`,
/// `sqlite::a_case`, and so on, of functions `async fn a_case(db: Db)`. With `and_wrapped:` before the cases,
/// they also run with a cache in every node: `postgres_wrapped::a_case`, ….
macro_rules! cases {
    (and_wrapped: $($case:ident),* $(,)?) => {
        crate::support::cases! { $($case),* }
        crate::support::cases! { @postgres_wrapped [$($case)*] }
        crate::support::cases! { @sqlite_wrapped [$($case)*] }
    };
    (@$backend:ident [$($case:ident)*]) => {
        mod $backend {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let db = crate::support::Db::$backend().await;
                super::$case(db.clone()).await;
                db.drop().await;
            })*
        }
    };
    ($($case:ident),* $(,)?) => {
        crate::support::cases! { @postgres [$($case)*] }
        crate::support::cases! { @sqlite [$($case)*] }
    };
}
pub(crate) use cases;

/// How old a copy of a wrapped store may be.
const BOUND: Duration = Duration::from_millis(30);

/// Writes the touches that the batched store holds back at once.
#[derive(Debug)]
struct TouchesAtOnce(Arc<dyn Store>);

#[async_trait]
impl tap::Hook for TouchesAtOnce {
    async fn after(&self, verb: tap::Verb) {
        if verb == tap::Verb::Touch {
            self.0.flush().await.unwrap();
        }
    }
}

/// A migrated database for one test alone.
#[derive(Clone, Debug)]
pub struct Db {
    pub url: String,
    pub pool: Pool,
    /// With batches and a cache around its stores.
    is_wrapped: bool,
    name: String,
    _folder: Option<std::sync::Arc<tempfile::TempDir>>,
}

/// The test's own connections, beside the library's.
#[derive(Clone, Debug)]
pub enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// The server that scripts/test started, or another one on which tests may create databases.
pub fn postgres_url() -> String {
    std::env::var("TEST_POSTGRES_URL")
        .expect("the tests need a Postgres: run scripts/test, or set TEST_POSTGRES_URL to a server they may fill")
}

/// It refuses what Citus refuses: a unique index without the column that distributes the rows.
const STAND_IN_FOR_CITUS: &str = r"
set allow_system_table_mods = on;
create table pg_catalog.pg_dist_partition (logicalrelid regclass primary key);
create function create_distributed_table(relation regclass, key text, colocate_with text) returns void language plpgsql as $$
begin
    if exists (
        select from pg_index where indrelid = relation and indisunique and not exists (
            select from pg_attribute
            where attrelid = relation and attname = key and attnum = any (indkey)))
    then
        raise 'a unique index of % is without the column %', relation, key;
    end if;
    insert into pg_catalog.pg_dist_partition values (relation);
end
$$;
";

impl Db {
    pub async fn postgres() -> Self {
        let db = Self::empty_postgres().await;
        db.migrate().await;
        db
    }

    pub async fn sqlite() -> Self {
        let db = Self::empty_sqlite().await;
        db.migrate().await;
        db
    }

    pub async fn empty_postgres() -> Self {
        let name = format!("sessile_test_{}", Uuid::now_v7().simple());
        let admin = PgPool::connect(&postgres_url()).await.expect("the test server answers");
        sqlx::query(AssertSqlSafe(format!("create database {name}")))
            .execute(&admin)
            .await
            .unwrap();
        admin.close().await;
        let (server, _) =
            postgres_url().rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let url = format!("{server}/{name}");
        let pool = PgPoolOptions::new().max_connections(10).connect(&url).await.unwrap();
        Self { url, pool: Pool::Postgres(pool), is_wrapped: false, name, _folder: None }
    }

    pub async fn empty_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/sessions.db", folder.path().display());
        // `connect` makes the file, in WAL mode.
        sessile::connect(&url).await.unwrap();
        let pool = SqlitePool::connect(&url).await.unwrap();
        let name = "sqlite".to_owned();
        Self {
            url,
            pool: Pool::Sqlite(pool),
            is_wrapped: false,
            name,
            _folder: Some(folder.into()),
        }
    }

    /// Its stores batch and cache.
    pub async fn postgres_wrapped() -> Self {
        Self { is_wrapped: true, ..Self::postgres().await }
    }

    /// Its stores batch and cache.
    pub async fn sqlite_wrapped() -> Self {
        Self { is_wrapped: true, ..Self::sqlite().await }
    }

    /// Its tables are distributed: by Citus if `TEST_CITUS` says that the server has it, otherwise by a
    /// stand-in, which leaves them where they are.
    pub async fn postgres_distributed() -> Self {
        let db = Self::postgres().await;
        let has_citus = std::env::var_os("TEST_CITUS").is_some();
        let citus = if has_citus { "create extension citus" } else { STAND_IN_FOR_CITUS };
        let Pool::Postgres(pool) = &db.pool else { unreachable!() };
        let mut connection = pool.acquire().await.unwrap();
        for sql in [citus, include_str!("../../docs/citus.sql")] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await.unwrap();
        }
        // It has settings that other tests must not see.
        connection.close().await.unwrap();
        db
    }

    async fn migrate(&self) {
        self.sessions().await.migrate().await.unwrap();
    }

    /// Another node: a separate pool, opened by the library.
    pub async fn node(&self) -> Backend {
        sessile::connect(&self.url).await.unwrap()
    }

    pub async fn builder(&self) -> SessionsBuilder {
        let builder = Sessions::builder(self.node().await);
        match self.is_wrapped {
            true => builder.cache(CacheOptions::default().bound(BOUND)),
            false => builder,
        }
    }

    /// Waits until every node has learned of the others' changes, or has dropped its copies. Without a cache,
    /// this takes no time.
    pub async fn heard(&self) {
        if self.is_wrapped {
            tokio::time::sleep(BOUND).await;
        }
    }

    /// A node with the default policy.
    pub async fn sessions(&self) -> Sessions {
        self.builder().await.build().unwrap()
    }

    /// The store on the test's own pool.
    pub fn backend(&self) -> Backend {
        match &self.pool {
            Pool::Postgres(pool) => Backend::new(PostgresStore::new(pool.clone())),
            Pool::Sqlite(pool) => Backend::new(SqliteStore::new(pool.clone())),
        }
    }

    /// The same, to be wrapped.
    pub fn store(&self) -> Arc<dyn Store> {
        let store: Arc<dyn Store> = match &self.pool {
            Pool::Postgres(pool) => Arc::new(PostgresStore::new(pool.clone())),
            Pool::Sqlite(pool) => Arc::new(SqliteStore::new(pool.clone())),
        };
        if !self.is_wrapped {
            return store;
        }
        let batched: Arc<dyn Store> = Arc::new(Batched::new(store, BatchOptions::default()));
        let at_once = tap::around(batched.clone(), &Arc::new(TouchesAtOnce(batched)));
        Arc::new(Cached::new(at_once, CacheOptions::default().bound(BOUND)))
    }

    /// A node that sends every call through the hook.
    pub fn tapped(&self, hook: &Arc<impl tap::Hook>) -> SessionsBuilder {
        Sessions::builder(tap::tapped(self.store(), hook))
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.pool, Pool::Postgres(_))
    }

    /// Runs a statement: one text for each database.
    pub async fn run(&self, postgres: &str, sqlite: &str) -> u64 {
        let rows = match &self.pool {
            Pool::Postgres(pool) => {
                sqlx::query(AssertSqlSafe(postgres)).execute(pool).await.unwrap().rows_affected()
            }
            Pool::Sqlite(pool) => {
                sqlx::query(AssertSqlSafe(sqlite)).execute(pool).await.unwrap().rows_affected()
            }
        };
        // No store has sent this statement, so caches did not learn of it.
        self.heard().await;
        rows
    }

    /// One number: one text for each database.
    pub async fn number(&self, postgres: &str, sqlite: &str) -> i64 {
        match &self.pool {
            Pool::Postgres(pool) => {
                sqlx::query_scalar(AssertSqlSafe(postgres)).fetch_one(pool).await.unwrap()
            }
            Pool::Sqlite(pool) => {
                sqlx::query_scalar(AssertSqlSafe(sqlite)).fetch_one(pool).await.unwrap()
            }
        }
    }

    /// Texts, one from each row: one statement for each database.
    pub async fn texts(&self, postgres: &str, sqlite: &str) -> Vec<String> {
        match &self.pool {
            Pool::Postgres(pool) => {
                sqlx::query_scalar(AssertSqlSafe(postgres)).fetch_all(pool).await.unwrap()
            }
            Pool::Sqlite(pool) => {
                sqlx::query_scalar(AssertSqlSafe(sqlite)).fetch_all(pool).await.unwrap()
            }
        }
    }

    /// The database's clock: microseconds since 1970 on Postgres, milliseconds on SQLite, the precision of
    /// each.
    pub async fn clock(&self) -> i64 {
        self.number(
            "select (extract(epoch from clock_timestamp()) * 1000000)::bigint",
            "select cast(round(unixepoch('subsec') * 1000) as integer)",
        )
        .await
    }

    /// Deletes all events, filed or not.
    pub async fn delete_events(&self) {
        for table in ["session_event_inbox", "session_event_log"] {
            let sqlite = format!("delete from {table}");
            self.run(&sqlite.replace(table, &format!("sessile.{table}")), &sqlite).await;
        }
    }

    /// How many rows there are, live or not.
    pub async fn rows(&self) -> i64 {
        self.number("select count(*) from sessile.sessions", "select count(*) from sessions").await
    }

    /// Lets time pass for every session: moves all moments of all rows back.
    pub async fn pass(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let columns = [
            "created_at",
            "authenticated_at",
            "last_seen_at",
            "absolute_expires_at",
            "valid_until",
            "expires_at",
            "replaced_at",
            "pending_since",
            "pending_until",
        ];
        let set =
            |back: String| columns.map(|column| format!("{column} = {column} - {back}")).join(", ");
        let postgres = set(format!("make_interval(secs => {seconds})"));
        let sqlite = set(format!("cast({seconds} * 1000 as integer)"));
        self.run(
            &format!("update sessile.sessions set {postgres}"),
            &format!("update sessions set {sqlite}"),
        )
        .await;
    }

    /// Lets time pass for the cut-offs of log-ins.
    pub async fn pass_for_cutoffs(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        self.run(
            &format!("update sessile.session_cutoffs set revoked_at = revoked_at - make_interval(secs => {seconds}), used_at = used_at - make_interval(secs => {seconds})"),
            &format!("update session_cutoffs set revoked_at = revoked_at - cast({seconds} * 1000 as integer), used_at = used_at - cast({seconds} * 1000 as integer)"),
        )
        .await;
    }

    /// Every text and every byte in the tables, for a search: rows as JSON, bytes as hex.
    pub async fn dump(&self) -> String {
        match &self.pool {
            Pool::Postgres(pool) => sqlx::query_scalar(
                "select coalesce(string_agg(row_to_json(s)::text, E'\\n'), '') from sessile.sessions s",
            )
            .fetch_one(pool)
            .await
            .unwrap(),
            Pool::Sqlite(pool) => sqlx::query_scalar(
                "select coalesce(group_concat(hex(id) || hex(secret_hash) || hex(twin_hashes) || hex(replaced_hash) || coalesce(pending_user_id, '') || coalesce(user_id, '') || data || coalesce(ip, '') || coalesce(user_agent, '')), '') from sessions",
            )
            .fetch_one(pool)
            .await
            .unwrap(),
        }
    }

    pub async fn drop(self) {
        match self.pool {
            Pool::Postgres(pool) => {
                pool.close().await;
                let admin = PgPool::connect(&postgres_url()).await.unwrap();
                let drop = format!("drop database {} with (force)", self.name);
                sqlx::query(AssertSqlSafe(drop)).execute(&admin).await.unwrap();
                admin.close().await;
            }
            Pool::Sqlite(pool) => pool.close().await,
        }
    }
}

/// A browser without HTTP: keeps the cookie that sessions hand out.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    pub cookie: Option<String>,
}

impl Browser {
    /// Opens the session as the layer does when a request comes.
    pub async fn open(&self, sessions: &Sessions) -> Session {
        self.try_open(sessions).await.unwrap()
    }

    pub async fn try_open(&self, sessions: &Sessions) -> sessile::Result<Session> {
        sessions.open(self.cookie.as_deref().map(str::as_bytes), Client::new()).await
    }

    /// Ends the request as the layer does, and keeps the cookie.
    pub async fn finish(&mut self, session: &Session) {
        self.keep(session.finish().await.unwrap());
    }

    pub fn keep(&mut self, change: sessile::CookieChange) {
        match change {
            sessile::CookieChange::Set { value, .. } => self.cookie = Some(value),
            sessile::CookieChange::Remove => self.cookie = None,
            _ => {}
        }
    }

    /// A browser that is logged in.
    pub async fn logged_in(sessions: &Sessions, user_id: &str) -> (Self, SessionId) {
        let mut browser = Self::default();
        let session = browser.open(sessions).await;
        session.log_in(user_id).await.unwrap();
        browser.finish(&session).await;
        (browser, session.id().unwrap())
    }

    /// A browser that has an anonymous session with one value.
    pub async fn with(
        sessions: &Sessions,
        key: &str,
        value: serde_json::Value,
    ) -> (Self, SessionId) {
        let mut browser = Self::default();
        let session = browser.open(sessions).await;
        session.insert(key, value).unwrap();
        browser.finish(&session).await;
        (browser, session.id().unwrap())
    }

    /// Whether the cookie still gives access to a session.
    pub async fn is_in(&self, sessions: &Sessions) -> bool {
        self.open(sessions).await.id().is_some()
    }
}

/// A statement of a sweep that records what has expired, and keeps events as long as the default policy.
pub fn up_to(limit: u32) -> sessile::store::Sweep {
    sessile::store::Sweep { limit, is_recorded: true, keeps_events_for: 90 * 86_400 }
}
