use super::Backend;
use crate::error::{Error, ErrorKind, Result};

/// Opens a database for sessions alone, by its URL, with settings made for them.
///
/// - `postgres://…`: up to 10 connections. They are not pinged each time they are handed out (a
///   round trip less a request), and what finds a dead one is tried once more. A request waits 3
///   seconds for a connection and then fails.
/// - `sqlite://path` (or `sqlite:path`): the file is created with mode 0600 if it is missing. WAL
///   with `synchronous = NORMAL`: what is acknowledged survives a crash of the process; a power cut
///   may take the last moments. One connection writes, five read, a lock is waited for 5 seconds.
///   The log is carried into the file about every thousand rows, beside the writer; it is 5 MB
///   then, and about 65 MB under the heaviest load. `sqlite::memory:` is one connection, gone
///   with it.
///
/// An application that wants other settings gives its own pool to
/// [`Sessions::builder`](crate::Sessions::builder()).
///
/// # Errors
///
/// [`Configuration`](ErrorKind::Configuration) for a URL that names no supported database,
/// [`Database`](ErrorKind::Database) if it cannot be opened.
pub async fn connect(url: &str) -> Result<Backend> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => postgres(url).await,
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
async fn postgres(url: &str) -> Result<Backend> {
    use std::time::Duration;

    use sqlx::{
        Connection,
        postgres::{PgConnectOptions, PgPoolOptions},
    };

    use super::postgres::PostgresStore;

    let options: PgConnectOptions = url.parse().map_err(invalid_url)?;
    let pool = PgPoolOptions::new()
        .max_connections(10)
        .acquire_timeout(Duration::from_secs(3))
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
        .connect_with(options.application_name("sessile"))
        .await?;
    Ok(Backend::new(PostgresStore::dedicated(pool)))
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
    create_private(options.get_filename())?;
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(5))
        .row_buffer_size(256)
        // The store makes checkpoints beside its writer. This is for when they cannot keep up.
        .pragma("wal_autocheckpoint", "16000");
    // The writer first: it turns the new file to WAL, which the readers then find.
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let readers = SqlitePoolOptions::new().max_connections(5).connect_with(options).await?;
    Ok(Backend::new(SqliteStore::dedicated(readers, writer)))
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
