//! The schema: up, down, from several nodes at once, by sqlx-cli, and as each role.

mod encoding;
mod export;
mod grants;
mod ledger;
mod lock;
mod names;
pub(crate) mod roles;
mod upgrade;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use sessile::{
    Sessions,
    store::{postgres, sqlite},
};
use sqlx::migrate::Migrator;

use crate::support::{Browser, Db};

/// Each case on an empty database of both kinds.
macro_rules! empty_cases {
    ($($case:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let db = crate::support::Db::empty_postgres().await;
                super::$case(db.clone()).await;
                db.drop().await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let db = crate::support::Db::empty_sqlite().await;
                super::$case(db.clone()).await;
                db.drop().await;
            })*
        }
    };
}

use empty_cases;

/// The versions that were released, the newest last.
pub(crate) const FIRST: &str = "20261123000001";
pub(crate) const REALMS: &str = "20261125000002";
pub(crate) const EVENTS: &str = "20261127000004";
pub(crate) const INBOX: &str = "20261128000005";

pub(crate) async fn works(sessions: &Sessions) {
    let (browser, _) = Browser::with(sessions, "a", json!(1)).await;
    assert!(browser.is_in(sessions).await);
}

/// `sqlx migrate …` on this database, as an application's operators run it.
pub(crate) fn sqlx(db: &Db, command: &[&str]) {
    let folder = if db.is_postgres() { "migrations/postgres" } else { "migrations/sqlite" };
    let output = Command::new("sqlx")
        .arg("migrate")
        .args(command)
        .args(["--source", folder, "--config", &format!("{folder}/sqlx.toml")])
        .args(["--database-url", &db.url])
        .output()
        .expect("sqlx-cli is on the PATH: scripts/test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Repeats a check until it succeeds.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: never");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Writes this release's migrations, and the configuration, to files, as docs/operations.md describes.
pub(crate) fn write_as_documented(migrator: &Migrator, config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for migration in migrator.iter() {
        let name = migration.description.replace(' ', "_");
        let suffix = migration.migration_type.suffix();
        let file = folder.path().join(format!("{}_{name}{suffix}", migration.version));
        std::fs::write(file, migration.sql.as_str()).unwrap();
    }
    std::fs::write(folder.path().join("sqlx.toml"), config).unwrap();
    folder
}

/// `sqlx migrate …` without a clone of the repository, on this address.
pub(crate) fn sqlx_as_documented(url: &str, command: &[&str]) {
    let configs = roles::documented("Running the migrations", "toml");
    let folder = match url.starts_with("sqlite") {
        false => write_as_documented(&postgres::migrator(), configs[0]),
        true => write_as_documented(&sqlite::migrator(), configs[1]),
    };
    let output = Command::new("sqlx")
        .arg("migrate")
        .args(command)
        .arg("--source")
        .arg(folder.path())
        .arg("--config")
        .arg(folder.path().join("sqlx.toml"))
        .args(["--database-url", url])
        .output()
        .expect("sqlx-cli is on the PATH: scripts/test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
