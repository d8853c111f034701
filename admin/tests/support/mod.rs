//! A database with sessions for one test, on each of the two databases.
#![allow(dead_code, unreachable_pub)]

use std::{net::IpAddr, sync::Arc};

use sessile::{Client, Sessions};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool, raw_sql};

/// Names each case on both databases: `postgres::a_case`, `sqlite::a_case`.
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
                super::$case(crate::support::Db::sqlite()).await;
            })*
        }
    };
}
pub(crate) use cases;

/// A database without tables, until [`Db::migrate`].
#[derive(Clone, Debug)]
pub struct Db {
    pub url: String,
    pub name: Option<String>,
    pub folder: Option<Arc<tempfile::TempDir>>,
}

/// The server that scripts/test started, or another one on which tests may create databases.
pub fn postgres_url() -> String {
    std::env::var("TEST_POSTGRES_URL")
        .expect("the tests need a Postgres: run scripts/test, or set TEST_POSTGRES_URL to a server they may fill")
}

impl Db {
    pub async fn postgres() -> Self {
        let name = format!("sessile_test_{}", uuid::Uuid::now_v7().simple());
        let db = Self { url: with_database(&name), name: Some(name.clone()), folder: None };
        admin(&format!("create database {name}")).await;
        db
    }

    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sessions.db");
        // Private, as the library makes it.
        std::fs::write(&path, "").expect("a file");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("a mode");
        Self {
            url: format!("sqlite://{}", path.display()),
            name: None,
            folder: Some(folder.into()),
        }
    }

    pub fn is_postgres(&self) -> bool {
        self.name.is_some()
    }

    /// The folder of SQLite's file.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.as_ref().expect("SQLite has a folder").path()
    }

    pub async fn drop(self) {
        if let Some(name) = self.name {
            admin(&format!("drop database {name} with (force)")).await;
        }
    }

    /// The library's own sessions of a realm, on a migrated database.
    pub async fn sessions_of(&self, realm: &str) -> Sessions {
        let backend = sessile::connect(&self.url).await.expect("the database opens");
        let sessions = Sessions::builder(backend).realm(realm).build().expect("valid settings");
        sessions.migrate().await.expect("the migrations run");
        sessions
    }

    pub async fn sessions(&self) -> Sessions {
        self.sessions_of("").await
    }

    /// Runs SQL that the library does not see. `{now}` is the database's clock, and `{s}` a second in its unit.
    pub async fn run(&self, sql: &str) {
        let (now, second) = match self.is_postgres() {
            true => ("now()", "interval '1 second'"),
            false => ("cast(unixepoch('subsec') * 1000 as integer)", "1000"),
        };
        let mut sql = sql.replace("{now}", now).replace("{s}", second);
        if self.is_postgres() {
            sql.insert_str(0, "set search_path = sessile, public; ");
            let pool = PgPool::connect(&self.url).await.expect("the database answers");
            raw_sql(AssertSqlSafe(sql)).execute(&pool).await.expect("the SQL runs");
            pool.close().await;
        } else {
            let pool = SqlitePool::connect(&self.url).await.expect("the file opens");
            raw_sql(AssertSqlSafe(sql)).execute(&pool).await.expect("the SQL runs");
            pool.close().await;
        }
    }
}

/// Logs a user in and returns the session's id.
pub async fn log_in(sessions: &Sessions, user: &str, ip: &str, user_agent: &str) -> uuid::Uuid {
    let client = Client::new().ip(ip.parse::<IpAddr>().ok()).user_agent(user_agent);
    let session = sessions.open([], client).await.expect("a session");
    session.log_in(user).await.expect("a log-in");
    session.id().expect("an id").as_uuid()
}

/// Starts an anonymous session.
pub async fn visit(sessions: &Sessions) -> uuid::Uuid {
    let session = sessions.open([], Client::default()).await.expect("a session");
    session.insert("theme", "dark").expect("a value");
    session.save().await.expect("a row");
    session.id().expect("an id").as_uuid()
}

fn with_database(name: &str) -> String {
    let url = postgres_url();
    format!("{}/{name}", url.rsplit_once('/').expect("a URL of a database").0)
}

async fn admin(sql: &str) {
    let pool = PgPool::connect(&postgres_url()).await.expect("the server answers");
    raw_sql(AssertSqlSafe(sql)).execute(&pool).await.expect("the SQL runs");
    pool.close().await;
}
