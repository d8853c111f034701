//! A database of its own for every test, and what tests do to it behind the library's back.
#![allow(dead_code, unreachable_pub)]

pub mod tap;

use std::{sync::Arc, time::Duration};

use sessile::{
    Client, Session, SessionId, Sessions, SessionsBuilder,
    store::{Backend, Store, postgres::PostgresStore, sqlite::SqliteStore},
};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool, postgres::PgPoolOptions};
use uuid::Uuid;

/// Runs each case on every backend: `cases! { a_case, another_case }` makes the tests
/// `postgres::a_case`, `sqlite::a_case`, and so on, of functions `async fn a_case(db: Db)`.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let db = crate::support::Db::postgres().await;
                super::$case(db.clone()).await;
                db.drop().await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let db = crate::support::Db::sqlite().await;
                super::$case(db.clone()).await;
                db.drop().await;
            })*
        }
    };
}
pub(crate) use cases;

/// A migrated database that nobody else uses.
#[derive(Clone, Debug)]
pub struct Db {
    pub url: String,
    pub pool: Pool,
    name: String,
    _folder: Option<std::sync::Arc<tempfile::TempDir>>,
}

/// The test's own way in, beside the library's.
#[derive(Clone, Debug)]
pub enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// The server that scripts/test started, or another one that may be filled with databases.
pub fn postgres_url() -> String {
    std::env::var("TEST_POSTGRES_URL")
        .expect("the tests need a Postgres: run scripts/test, or set TEST_POSTGRES_URL to a server they may fill")
}

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
        Self { url, pool: Pool::Postgres(pool), name, _folder: None }
    }

    pub async fn empty_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/sessions.db", folder.path().display());
        // `connect` makes the file, in WAL mode.
        sessile::connect(&url).await.unwrap();
        let pool = SqlitePool::connect(&url).await.unwrap();
        let name = "sqlite".to_owned();
        Self { url, pool: Pool::Sqlite(pool), name, _folder: Some(folder.into()) }
    }

    async fn migrate(&self) {
        self.sessions().await.migrate().await.unwrap();
    }

    /// Another node: a pool of its own, opened by the library.
    pub async fn node(&self) -> Backend {
        sessile::connect(&self.url).await.unwrap()
    }

    pub async fn builder(&self) -> SessionsBuilder {
        Sessions::builder(self.node().await)
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
        match &self.pool {
            Pool::Postgres(pool) => Arc::new(PostgresStore::new(pool.clone())),
            Pool::Sqlite(pool) => Arc::new(SqliteStore::new(pool.clone())),
        }
    }

    /// A node whose every call goes through the hook.
    pub fn tapped(&self, hook: &Arc<impl tap::Hook>) -> SessionsBuilder {
        Sessions::builder(tap::tapped(self.store(), hook))
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.pool, Pool::Postgres(_))
    }

    /// Runs a statement: one text for each database.
    pub async fn run(&self, postgres: &str, sqlite: &str) -> u64 {
        match &self.pool {
            Pool::Postgres(pool) => {
                sqlx::query(AssertSqlSafe(postgres)).execute(pool).await.unwrap().rows_affected()
            }
            Pool::Sqlite(pool) => {
                sqlx::query(AssertSqlSafe(sqlite)).execute(pool).await.unwrap().rows_affected()
            }
        }
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

    /// Texts, one a row: one statement for each database.
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

    /// The database's clock: microseconds since 1970 on Postgres, milliseconds on SQLite, as fine as each of them is.
    pub async fn clock(&self) -> i64 {
        self.number(
            "select (extract(epoch from clock_timestamp()) * 1000000)::bigint",
            "select cast(round(unixepoch('subsec') * 1000) as integer)",
        )
        .await
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

    /// Every text and every byte that the tables hold, for a search: rows as JSON, bytes as hex.
    pub async fn dump(&self) -> String {
        match &self.pool {
            Pool::Postgres(pool) => sqlx::query_scalar(
                "select coalesce(string_agg(row_to_json(s)::text, E'\\n'), '') from sessile.sessions s",
            )
            .fetch_one(pool)
            .await
            .unwrap(),
            Pool::Sqlite(pool) => sqlx::query_scalar(
                "select coalesce(group_concat(hex(id) || hex(secret_hash) || coalesce(user_id, '') || data || coalesce(ip, '') || coalesce(user_agent, '')), '') from sessions",
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

    /// Whether the cookie still gets into a session.
    pub async fn is_in(&self, sessions: &Sessions) -> bool {
        self.open(sessions).await.id().is_some()
    }
}
