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
    /// The default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// The maximum number of connections to Postgres, for each process. Default: 10. SQLite always has one
    /// connection that writes and five that read.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Whether there is a pooler that gives a server's connection to another client after each transaction,
    /// and does not keep prepared statements apart: PgBouncer before 1.21 in transaction mode, or with
    /// `max_prepared_statements = 0`. Default: no.
    ///
    /// Each statement then goes without a name and in its own transaction, which takes about half as long
    /// again. Without this option, such a pooler confuses prepared statements of different clients. A cache
    /// receives no notifications through a pooler: its copies can be as old as their bound.
    pub fn behind_pooler(mut self, behind_pooler: bool) -> Self {
        self.behind_pooler = behind_pooler;
        self
    }
}

/// Opens a database for sessions alone, by its URL, with settings that suit them.
///
/// - `postgres://…`: up to 10 connections. The pool does not ping them each time it hands them out, which
///   saves each request a round trip. A statement that meets a dead connection is tried again if nothing was
///   done. Connections wait 1.5 seconds for the lock of a table (`lock_timeout`), unless there is a pooler.
///   Their `application_name` is `sessile` if the URL gives none.
/// - `sqlite://path` (or `sqlite:path`): the file is created with mode 0600 if it is missing, unless the URL
///   says `mode=ro` or `mode=rw`. The journal is WAL with `synchronous = NORMAL`: acknowledged writes survive
///   a crash of the process, but a power cut may lose the last moments. One connection writes and five read.
///   They wait 1.5 seconds for a lock. A checkpoint runs beside the writer about every thousand rows. The log
///   has 5 MB by then, and about 65 MB under the heaviest load. `sqlite::memory:` is one connection, and the
///   data is lost with it.
///
/// A request waits 1.5 seconds for a connection and then fails. Nothing was done then.
///
/// For other settings, use [`connect_with`], or give your own pool to
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
        // Leaves out the URL, because it may contain a password.
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
        // Poolers refuse this setting, and no column here is a float.
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

/// A setting of a session stays with the server's connection. So none is made if a pooler hands that
/// connection on.
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
        // A statement that cannot run twice cannot be tried again. So a connection that has rested is pinged
        // first. Under load none has.
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
        // The store makes checkpoints beside its writer. This limit is for the case that they cannot keep up.
        .pragma("wal_autocheckpoint", "16000");
    if mode != Some("ro") {
        options =
            options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
    }
    // The writer first: it changes the new file to WAL, and the readers then find it so.
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let readers = SqlitePoolOptions::new().max_connections(5).connect_with(options).await?;
    let store = SqliteStore::dedicated(readers, writer);
    store.check_encoding().await?;
    Ok(Backend::new(store))
}

/// SQLite creates a file by the process's umask. Its write-ahead log gets the mode of the file.
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
