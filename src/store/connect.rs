use super::Backend;
use crate::error::{Error, ErrorKind, Result};

/// How [`connect_with`] opens a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ConnectOptions {
    max_connections: u32,
    behind_pooler: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { max_connections: 10, behind_pooler: false }
    }
}

impl ConnectOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connections to Postgres at most, for each process. Default: 10. SQLite has one that writes and
    /// five that read.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Whether a pooler is between, which gives a server's connection to another client after each
    /// transaction and does not keep prepared statements apart: PgBouncer before 1.21 in transaction
    /// mode, or with `max_prepared_statements = 0`. Default: no.
    ///
    /// Each statement then goes without a name and in a transaction of its own, which takes about half as
    /// long again. Without this, such a pooler takes one prepared statement for another. A cache hears of
    /// nothing through a pooler: its copies are up to their bound old.
    pub fn behind_pooler(mut self, behind_pooler: bool) -> Self {
        self.behind_pooler = behind_pooler;
        self
    }
}

/// Opens a database for sessions alone, by its URL, with settings made for them.
///
/// - `postgres://…`: up to 10 connections. They are not pinged each time they are handed out (a
///   round trip less a request), and what finds a dead one is tried once more where nothing was done.
///   They wait 1.5 seconds for a lock of a table (`lock_timeout`), unless a pooler is between. Their
///   `application_name` is `sessile` if the URL gives none.
/// - `sqlite://path` (or `sqlite:path`): the file is created with mode 0600 if it is missing, unless
///   the URL says `mode=ro` or `mode=rw`. WAL with `synchronous = NORMAL`: what is acknowledged
///   survives a crash of the process; a power cut may take the last moments. One connection writes,
///   five read, a lock is waited for 1.5 seconds. The log is carried into the file about every
///   thousand rows, beside the writer; it is 5 MB then, and about 65 MB under the heaviest load.
///   `sqlite::memory:` is one connection, gone with it.
///
/// A request waits 1.5 seconds for a connection and then fails, with nothing done.
///
/// An application that wants other settings uses [`connect_with`], or gives its own pool to
/// [`Sessions::builder`](crate::Sessions::builder()).
///
/// # Errors
///
/// [`Configuration`](ErrorKind::Configuration) for a URL that names no supported database,
/// [`Database`](ErrorKind::Database) if it cannot be opened, [`Schema`](ErrorKind::Schema) if an SQLite file is in
/// UTF-16.
pub async fn connect(url: &str) -> Result<Backend> {
    connect_with(url, ConnectOptions::new()).await
}

/// As [`connect`], with options.
///
/// # Errors
///
/// As [`connect`].
#[cfg_attr(not(feature = "postgres"), expect(unused_variables))]
pub async fn connect_with(url: &str, options: ConnectOptions) -> Result<Backend> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => postgres(url, options).await,
        #[cfg(feature = "sqlite")]
        Some("sqlite") => sqlite(url).await,
        // The URL itself is left out: it may hold a password.
        _ => {
            let known = [
                #[cfg(feature = "postgres")]
                "postgres://",
                #[cfg(feature = "sqlite")]
                "sqlite://",
            ];
            let message = format!("the database URL has to begin with {}", known.join(" or "));
            Err(Error::new(ErrorKind::Configuration, message))
        }
    }
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn invalid_url(source: sqlx::Error) -> Error {
    Error::new(ErrorKind::Configuration, "the database URL is not valid").with_source(source)
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str, options: ConnectOptions) -> Result<Backend> {
    use sqlx::postgres::PgConnectOptions;

    use super::postgres::{PostgresStore, pooler};

    let mut to: PgConnectOptions = url.parse().map_err(invalid_url)?;
    if to.get_application_name().is_none() {
        to = to.application_name("sessile");
    }
    if options.behind_pooler {
        // Poolers refuse it, and no column here is a float.
        let pool = pool(options, to.extra_float_digits(None), true).await?;
        return Ok(Backend::new(PostgresStore::dedicated(pool).behind_pooler()));
    }
    let found = match pool(options, to.clone(), false).await {
        Ok(found) => found,
        Err(error) if pooler::refuses_start_up(&error) => {
            pooler::warn();
            pool(options, to.extra_float_digits(None), true).await?
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Backend::new(PostgresStore::dedicated(found)))
}

/// Settings of a session stay with the server's connection: so none are made where a pooler hands it on.
#[cfg(feature = "postgres")]
async fn pool(
    options: ConnectOptions,
    to: sqlx::postgres::PgConnectOptions,
    is_behind_pooler: bool,
) -> std::result::Result<sqlx::PgPool, sqlx::Error> {
    use std::time::Duration;

    use sqlx::{Connection, postgres::PgPoolOptions, raw_sql};

    use super::postgres::pooler;

    let warned = std::sync::Arc::new(std::sync::Once::new());
    PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false)
        // What cannot run twice cannot be tried again. A connection that had a rest is asked first;
        // under load there is none.
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > Duration::from_secs(1) {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |connection, _| {
            let warned = warned.clone();
            Box::pin(async move {
                if is_behind_pooler {
                    return Ok(());
                }
                if pooler::is_between(connection).await? {
                    warned.call_once(pooler::warn);
                    return Ok(());
                }
                raw_sql("set lock_timeout = '1500ms'").execute(connection).await?;
                Ok(())
            })
        })
        .connect_with(to)
        .await
}

#[cfg(feature = "sqlite")]
async fn sqlite(url: &str) -> Result<Backend> {
    use std::time::Duration;

    use sqlx::sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    };

    use super::sqlite::SqliteStore;

    let options: SqliteConnectOptions = url.parse().map_err(invalid_url)?;
    if url.contains(":memory:") || url.contains("mode=memory") {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        return Ok(pool.into());
    }
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mode = query.split('&').find_map(|part| part.strip_prefix("mode="));
    if matches!(mode, None | Some("rwc")) {
        create_private(options.get_filename())?;
    }
    let mut options = options
        .busy_timeout(Duration::from_millis(1500))
        .row_buffer_size(256)
        // The store makes checkpoints beside its writer. This is for when they cannot keep up.
        .pragma("wal_autocheckpoint", "16000");
    if mode != Some("ro") {
        options =
            options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
    }
    // The writer first: it turns the new file to WAL, which the readers then find.
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let readers = SqlitePoolOptions::new().max_connections(5).connect_with(options).await?;
    let store = SqliteStore::dedicated(readers, writer);
    store.check_encoding().await?;
    Ok(Backend::new(store))
}

/// SQLite gives a file the process's umask; its write-ahead log gets the mode of the file.
#[cfg(feature = "sqlite")]
fn create_private(path: &std::path::Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            let message = format!("the SQLite file {} cannot be created", path.display());
            Err(Error::new(ErrorKind::Database, message).with_source(error))
        }
        _ => Ok(()),
    }
}
