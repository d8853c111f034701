use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, de::DeserializeOwned};
use sessile::{ConnectOptions, Policy, Sessions, SessionsBuilder, store::Backend};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Row, Sqlite, SqliteConnection,
    SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    raw_sql,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::{sync::OnceCell, time::timeout};

use crate::{
    Error, ErrorKind, Result, moment,
    statement::{SQLITE_NOW, Statement, Value},
};

/// How long to wait for the database until it counts as unreachable.
const WAIT: Duration = Duration::from_secs(5);

/// The statement with its values, without a name: see [`postgres`].
macro_rules! bound {
    ($database:ty, $ask:expr) => {{
        let mut query =
            sqlx::query::<$database>(AssertSqlSafe($ask.text.as_str())).persistent(false);
        for value in &$ask.values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Integer(number) => query.bind(number),
                Value::Bytes(bytes) => query.bind(bytes),
            };
        }
        query
    }};
}

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Postgres.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// A database with sessions, for questions. Clones are cheap.
///
/// Every question is a transaction that only reads, and that the database ends after a [limit](Self::time_limit). It
/// works through a pooler too. On Postgres, the questions need only the right to read the views; where one needs more,
/// its docs say so.
#[derive(Clone)]
pub struct Database {
    pub(crate) reads: Pool,
    writes: Writes,
    pub(crate) time_limit: Duration,
    reads_rows: Arc<OnceCell<bool>>,
}

#[derive(Clone)]
pub(crate) enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// How sessions are ended. A database that was opened by its URL is opened for writing when something is to be written.
#[derive(Clone)]
enum Writes {
    Open(Backend),
    Url(Arc<str>),
}

impl Database {
    /// The limit of a question, if none is set: 30 seconds.
    pub const TIME_LIMIT: Duration = Duration::from_secs(30);

    /// Opens a database by its URL, only for reading: `postgres://…`, or `sqlite://path` of a file that exists.
    ///
    /// # Errors
    ///
    /// [`Url`](ErrorKind::Url), [`Unreachable`](ErrorKind::Unreachable), [`Refused`](ErrorKind::Refused). The texts
    /// contain no part of the URL.
    pub async fn open(url: &str) -> Result<Self> {
        let reads = match url.parse()? {
            Kind::Postgres => Pool::Postgres(postgres(url, WAIT).await?),
            Kind::Sqlite => Pool::Sqlite(sqlite(url, WAIT, true).await?),
        };
        Ok(Self::on(reads, Writes::Url(url.into())))
    }

    fn on(reads: Pool, writes: Writes) -> Self {
        Self { reads, writes, time_limit: Self::TIME_LIMIT, reads_rows: Arc::default() }
    }

    /// Whether the user may read the table of sessions, and not only its view. Asked once.
    pub(crate) async fn reads_rows(&self) -> Result<bool> {
        if self.kind() == Kind::Sqlite {
            return Ok(true);
        }
        #[derive(Deserialize)]
        struct Reads {
            rows: bool,
        }
        let ask = async || {
            let mut ask = self.statement();
            ask.sql("select json_build_object('rows', has_table_privilege('sessile.sessions', 'select'))");
            Ok(self.one::<Reads>(&ask).await?.rows)
        };
        self.reads_rows.get_or_try_init(ask).await.copied()
    }

    /// Ends each question after this time. Default: [`TIME_LIMIT`](Self::TIME_LIMIT).
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Which database it is.
    pub fn kind(&self) -> Kind {
        match self.reads {
            Pool::Postgres(_) => Kind::Postgres,
            Pool::Sqlite(_) => Kind::Sqlite,
        }
    }

    /// The library's own `Sessions` of a realm, to end sessions with. The empty text is the default realm.
    ///
    /// # Errors
    ///
    /// [`Input`](ErrorKind::Input) for a text that is not a realm, and those of [`open`](Self::open).
    pub async fn sessions_of(&self, realm: &str) -> Result<Sessions> {
        build(self.builder_of(realm).await?)
    }

    /// The same, for further settings.
    pub async fn builder_of(&self, realm: &str) -> Result<SessionsBuilder> {
        Ok(Sessions::builder(self.backend().await?).realm(realm))
    }

    /// The same of the default realm with a policy, for the cleanup, which works on all realms.
    pub async fn sessions_with(&self, policy: Policy) -> Result<Sessions> {
        build(Sessions::builder(self.backend().await?).policy(policy))
    }

    async fn backend(&self) -> Result<Backend> {
        match &self.writes {
            Writes::Open(backend) => Ok(backend.clone()),
            Writes::Url(url) => writable(url).await,
        }
    }

    /// Runs a script that writes, in one transaction.
    pub(crate) async fn run_script(&self, script: &str) -> Result<()> {
        let script = AssertSqlSafe(script.to_owned());
        match (&self.writes, &self.reads) {
            (Writes::Url(url), Pool::Postgres(_)) => {
                let mut connection = PgConnection::connect_with(&postgres_options(url)?).await?;
                run_in_transaction(&mut connection, script).await
            }
            (Writes::Url(url), Pool::Sqlite(_)) => {
                let pool = sqlite(url, WAIT, false).await?;
                run_in_transaction(&mut *pool.acquire().await?, script).await
            }
            (_, Pool::Postgres(pool)) => {
                run_in_transaction(&mut *pool.acquire().await?, script).await
            }
            (_, Pool::Sqlite(pool)) => {
                run_in_transaction(&mut *pool.acquire().await?, script).await
            }
        }
    }

    /// The database's clock.
    pub async fn now(&self) -> Result<DateTime<Utc>> {
        #[derive(Deserialize)]
        struct Clock {
            #[serde(deserialize_with = "moment::moment")]
            now: DateTime<Utc>,
        }
        let mut ask = self.statement();
        ask.sql("select ").per("json_build_object('now', now())", "json_object('now', ");
        ask.per("", SQLITE_NOW).per("", ")");
        Ok(self.one::<Clock>(&ask).await?.now)
    }

    pub(crate) fn statement(&self) -> Statement {
        Statement::new(self.kind())
    }

    /// The rows of a statement whose only column is a JSON object.
    pub(crate) async fn rows<T: DeserializeOwned>(&self, ask: &Statement) -> Result<Vec<T>> {
        let texts: Vec<String> = match &self.reads {
            Pool::Postgres(pool) => self.ask_postgres(pool, ask).await?,
            Pool::Sqlite(pool) => self.ask_sqlite(pool, ask).await?,
        };
        let read = |text: &String| {
            serde_json::from_str(text).map_err(|error| {
                Error::new(ErrorKind::Database, format!("a row has an unexpected value: {error}"))
            })
        };
        texts.iter().map(read).collect()
    }

    /// The only row.
    pub(crate) async fn one<T: DeserializeOwned>(&self, ask: &Statement) -> Result<T> {
        let rows = self.rows(ask).await?;
        rows.into_iter()
            .next()
            .ok_or_else(|| Error::new(ErrorKind::Database, "the database returned no row"))
    }

    async fn ask_postgres(&self, pool: &PgPool, ask: &Statement) -> Result<Vec<String>> {
        let mut tx = pool.begin_with("begin isolation level read committed read only").await?;
        let limits = format!(
            "set local statement_timeout = {}; set local lock_timeout = '2s'",
            self.time_limit.as_millis()
        );
        raw_sql(AssertSqlSafe(limits)).execute(&mut *tx).await?;
        let query = bound!(Postgres, ask);
        let rows = query.fetch_all(&mut *tx).await?;
        tx.rollback().await?;
        let texts: Result<_, sqlx::Error> =
            rows.iter().map(|row| row.try_get_unchecked(0)).collect();
        Ok(texts?)
    }

    async fn ask_sqlite(&self, pool: &SqlitePool, ask: &Statement) -> Result<Vec<String>> {
        let mut connection = pool.acquire().await?;
        let limit = SqliteLimit::set(&mut connection, self.time_limit).await?;
        let rows = bound!(Sqlite, ask).fetch_all(&mut *connection).await;
        drop(limit);
        connection.lock_handle().await?.remove_progress_handler();
        let text = |row: &sqlx::sqlite::SqliteRow| {
            // A text that a person has written may not be UTF-8.
            let bytes: Vec<u8> = row.try_get_unchecked(0)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let texts: Result<_, sqlx::Error> = rows?.iter().map(text).collect();
        Ok(texts?)
    }
}

/// Ends a statement of SQLite after a time. Without effect as soon as it is dropped, because the connection may go back
/// to an application's pool.
struct SqliteLimit(Arc<AtomicBool>);

impl SqliteLimit {
    async fn set(connection: &mut SqliteConnection, limit: Duration) -> Result<Self> {
        let is_set = Arc::new(AtomicBool::new(true));
        let (seen, deadline) = (is_set.clone(), Instant::now() + limit);
        connection.lock_handle().await?.set_progress_handler(10_000, move || {
            !seen.load(Ordering::Relaxed) || Instant::now() < deadline
        });
        Ok(Self(is_set))
    }
}

impl Drop for SqliteLimit {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl From<PgPool> for Database {
    fn from(pool: PgPool) -> Self {
        let writes = Writes::Open(pool.clone().into());
        Self::on(Pool::Postgres(pool), writes)
    }
}

impl From<SqlitePool> for Database {
    fn from(pool: SqlitePool) -> Self {
        let writes = Writes::Open(pool.clone().into());
        Self::on(Pool::Sqlite(pool), writes)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the URL, which may contain a password.
        f.debug_struct("Database").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

impl FromStr for Kind {
    type Err = Error;

    /// The kind of a URL's database.
    fn from_str(url: &str) -> Result<Self> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            Some("sqlite") => Ok(Self::Sqlite),
            _ => Err(Error::new(
                ErrorKind::Url,
                "the URL of the database has to begin with postgres:// or sqlite://",
            )),
        }
    }
}

/// Options that every pooler takes: it refuses the setting for floats, and may mistake a prepared statement for another
/// client's.
fn postgres_options(url: &str) -> Result<PgConnectOptions> {
    let mut to: PgConnectOptions = url.parse()?;
    if to.get_application_name().is_none() {
        to = to.application_name("sessile-admin");
    }
    Ok(to.extra_float_digits(None).statement_cache_capacity(0))
}

async fn postgres(url: &str, wait: Duration) -> Result<PgPool> {
    let to = postgres_options(url)?;
    // A pool tries to connect until its time is over, and then hides the cause.
    let first = timeout(wait, PgConnection::connect_with(&to)).await;
    first.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await.ok();
    let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(wait);
    Ok(pool.connect_lazy_with(to))
}

async fn sqlite(url: &str, wait: Duration, is_read_only: bool) -> Result<SqlitePool> {
    let to: SqliteConnectOptions = url.parse()?;
    // Keeps the journal's mode: the file may be the application's own.
    let to = to.create_if_missing(false).read_only(is_read_only).busy_timeout(wait);
    let most = if is_read_only { 4 } else { 1 };
    Ok(SqlitePoolOptions::new()
        .max_connections(most)
        .acquire_timeout(wait)
        .connect_with(to)
        .await?)
}

fn build(sessions: SessionsBuilder) -> Result<Sessions> {
    sessions.build().map_err(|error| Error::new(ErrorKind::Input, error.to_string()))
}

async fn run_in_transaction<C>(connection: &mut C, script: AssertSqlSafe<String>) -> Result<()>
where
    C: Connection,
    for<'c> &'c mut C: sqlx::Executor<'c, Database = C::Database>,
{
    let mut tx = connection.begin().await?;
    raw_sql(script).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

/// Without named statements, so that it works through every pooler.
async fn writable(url: &str) -> Result<Backend> {
    match url.parse()? {
        Kind::Postgres => {
            let options = ConnectOptions::new().behind_pooler(true).max_connections(2);
            Ok(sessile::connect_with(url, options).await?)
        }
        // Shorter than the library waits for the write, so that a lock is named as the cause.
        Kind::Sqlite => Ok(sqlite(url, Duration::from_secs(1), false).await?.into()),
    }
}

#[cfg(test)]
impl Database {
    /// How the database would answer.
    pub(crate) async fn plan(&self, mut ask: Statement) -> String {
        let explain =
            if self.kind() == Kind::Postgres { "explain " } else { "explain query plan " };
        ask.text.insert_str(0, explain);
        let steps: Result<Vec<String>, _> = match &self.reads {
            Pool::Postgres(pool) => {
                let rows = bound!(Postgres, &ask).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| row.try_get(0)).collect()
            }
            Pool::Sqlite(pool) => {
                let rows = bound!(Sqlite, &ask).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| row.try_get("detail")).collect()
            }
        };
        steps.unwrap().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question cannot write, even if its text would.
    #[tokio::test]
    async fn the_database_refuses_a_question_that_writes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let postgres = std::env::var("TEST_POSTGRES_URL")
            .expect("the tests need a Postgres: run scripts/test");
        for url in [postgres, format!("sqlite://{}", file.path().display())] {
            let database = Database::open(&url).await.unwrap();
            let mut ask = database.statement();
            ask.sql("create table written (id integer)");
            let error = database.rows::<()>(&ask).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        }
    }
}
