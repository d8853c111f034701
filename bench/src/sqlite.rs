//! SQLite files with the settings that all stores get: WAL, and `synchronous = NORMAL`.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// The URL of a file that is created when it is first opened.
pub(crate) fn url(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(format!("{name}.db"));
    Ok(format!(
        "sqlite://{}?mode=rwc",
        path.to_str().context("the temporary folder's name is no text")?
    ))
}

/// A pool of sqlx 0.9 with its defaults.
pub(crate) async fn pool(url: &str) -> Result<sqlx::SqlitePool> {
    Ok(sqlx::SqlitePool::connect_with(options(url)?).await?)
}

/// The same, without the ping of each connection before it is handed out.
pub(crate) async fn pool_without_ping(url: &str) -> Result<sqlx::SqlitePool> {
    let pool = SqlitePoolOptions::new().test_before_acquire(false);
    Ok(pool.connect_with(options(url)?).await?)
}

fn options(url: &str) -> Result<SqliteConnectOptions> {
    let options: SqliteConnectOptions = url.parse()?;
    Ok(options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(30)))
}

/// A pool of sqlx 0.8 with its defaults, for the peers that take one.
pub(crate) async fn pool_08(url: &str) -> Result<sqlx_08::SqlitePool> {
    use sqlx_08::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
    let options: SqliteConnectOptions = url.parse()?;
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(30));
    Ok(sqlx_08::SqlitePool::connect_with(options).await?)
}
