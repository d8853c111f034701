use std::{
    process::Command,
    sync::{Arc, LazyLock},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
    query_scalar, raw_sql,
};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::keeper::Keeper;

/// A test that measures time runs without the other tests.
static MACHINE: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);

#[derive(Debug)]
enum Turn {
    Shared(#[expect(dead_code)] OwnedRwLockReadGuard<()>),
    Alone(#[expect(dead_code)] OwnedRwLockWriteGuard<()>),
    /// For a standby, which shares its primary's turn.
    None,
}

/// A Postgres for one test, which the test may break. It is stopped and deleted when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    /// The test's own connections, with the name `test`.
    pub(crate) admin: PgPool,
    _keeper: Keeper,
    // Released when the server has stopped.
    _turn: Turn,
}

impl Server {
    /// Starts a migrated server for one test. The options are the server's, such as `-c max_connections=20`.
    pub(crate) async fn start(options: &str) -> Self {
        Self::migrated(options, Turn::Shared(MACHINE.clone().read_owned().await)).await
    }

    /// The same, while no other test has a server.
    pub(crate) async fn alone(options: &str) -> Self {
        Self::migrated(options, Turn::Alone(MACHINE.clone().write_owned().await)).await
    }

    async fn migrated(options: &str, turn: Turn) -> Self {
        let server = Self::run(Self::script(options), turn);
        let backend = sessile::connect(&server.url).await.unwrap();
        sessile::Sessions::builder(backend).build().unwrap().migrate().await.unwrap();
        server
    }

    /// Starts a standby of this server, and waits until it has caught up.
    pub(crate) async fn standby(&self) -> Self {
        let mut script = Self::script("");
        script.env("POSTGRES_PRIMARY", &self.url);
        let standby = Self::run(script, Turn::None);
        self.is_followed_by(&standby).await;
        standby
    }

    fn script(options: &str) -> Command {
        let mut script = Command::new("scripts/postgres");
        script.args(["sh", "-c", "echo \"$TEST_POSTGRES_URL\"; exec cat"]);
        script.env_remove("TEST_POSTGRES_URL").env("POSTGRES_OPTIONS", options);
        script
    }

    fn run(mut script: Command, turn: Turn) -> Self {
        let (keeper, url) = Keeper::start(&mut script, |line| line.starts_with("postgres://"))
            .expect("Postgres starts");
        let options: PgConnectOptions = url.parse().unwrap();
        // The connections stay open, because the server may have none left later.
        let pool = PgPoolOptions::new().max_connections(2).min_connections(2);
        let admin = pool.connect_lazy_with(options.application_name("test"));
        Self { url, admin, _keeper: keeper, _turn: turn }
    }

    pub(crate) fn port(&self) -> u16 {
        self.admin.connect_options().get_port()
    }

    /// The URL for another role.
    pub(crate) fn url_of(&self, role: &str) -> String {
        self.url.replacen("postgres@", &format!("{role}@"), 1)
    }

    /// Runs statements, each in a separate transaction.
    pub(crate) async fn run_all(&self, statements: &[&str]) {
        for statement in statements {
            raw_sql(AssertSqlSafe(*statement)).execute(&self.admin).await.unwrap();
        }
    }

    /// Changes a setting of the running server: `set name = value`, or `reset name`.
    pub(crate) async fn alter(&self, change: &str) {
        let loads = "select extract(epoch from pg_conf_load_time() - 'epoch')::text";
        let loaded_at =
            async || -> String { query_scalar(loads).fetch_one(&self.admin).await.unwrap() };
        self.run_all(&[&format!("alter system {change}")]).await;
        // The server informs one connection after the other. When this connection sees the second reload, all
        // have seen the first.
        for _ in 0..2 {
            let before = loaded_at().await;
            self.run_all(&["select pg_reload_conf()"]).await;
            while loaded_at().await == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Lets time pass for some sessions: moves all moments of their rows back.
    pub(crate) async fn pass(&self, time: &str, of: &str) {
        let columns = [
            "created_at",
            "authenticated_at",
            "last_seen_at",
            "absolute_expires_at",
            "valid_until",
            "expires_at",
        ];
        let set = columns.map(|column| format!("{column} = {column} - interval '{time}'"));
        let set = set.join(", ");
        self.run_all(&[&format!("update sessile.sessions set {set} where {of}")]).await;
    }

    pub(crate) async fn number(&self, query: &str) -> i64 {
        query_scalar(AssertSqlSafe(query)).fetch_one(&self.admin).await.unwrap()
    }

    /// The number of lines in the server's log that contain this text.
    pub(crate) async fn logged(&self, text: &str) -> i64 {
        let count = "select count(*) from regexp_split_to_table(
                pg_read_file(current_setting('data_directory') || '/../server.log'), '\n') as line
            where line like '%' || $1 || '%' and line not like '%DETAIL: %'";
        query_scalar(count).bind(text).fetch_one(&self.admin).await.unwrap()
    }

    /// Waits until the query returns this number.
    pub(crate) async fn wait_for(&self, query: &str, number: i64) {
        let is_so = async {
            while self.number(query).await != number {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), is_so).await;
        assert!(in_time.is_ok(), "{query} is {}", self.number(query).await);
    }

    /// Waits until a standby has everything that was committed here so far.
    pub(crate) async fn is_followed_by(&self, standby: &Self) {
        let here: String =
            query_scalar("select pg_current_wal_lsn()::text").fetch_one(&self.admin).await.unwrap();
        let is_behind = "select coalesce(pg_last_wal_replay_lsn() < $1::pg_lsn, true)";
        let behind = async || -> bool {
            query_scalar(is_behind).bind(&here).fetch_one(&standby.admin).await.unwrap()
        };
        while behind().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Creates a role with an application's rights on sessions.
    pub(crate) async fn make_role(&self, role: &str) {
        self.run_all(&[
            &format!("create role {role} login"),
            &format!("grant usage on schema sessile to {role}"),
            &format!("grant all on all tables in schema sessile to {role}"),
        ])
        .await;
    }

    /// Ends every connection except the test's own, and returns how many there were at first. Also ends the
    /// connections that a pool was just opening, until none is left.
    pub(crate) async fn kill_all(&self) -> i64 {
        let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where backend_type = 'client backend' and application_name <> 'test'";
        let killed = self.number(kill).await;
        self.wait_for(kill, 0).await;
        killed
    }
}
