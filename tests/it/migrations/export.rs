//! The migrations without a clone of the repository: by an application's own migrator, and as files.

use std::{collections::BTreeMap, fs, path::Path};

use sessile::store;

use super::{empty_cases, sqlx, sqlx_as_documented, works, write_as_documented};
use crate::support::{Db, Pool};

empty_cases! {
    an_applications_own_migrator_can_run_them,
    written_to_files_they_are_those_of_the_repository,
    written_to_files_they_are_run_by_sqlx_cli,
}

async fn an_applications_own_migrator_can_run_them(db: Db) {
    for _ in 0..2 {
        match &db.pool {
            Pool::Postgres(pool) => store::postgres::migrator().run(pool).await.unwrap(),
            Pool::Sqlite(pool) => store::sqlite::migrator().run(pool).await.unwrap(),
        }
        let sessions = db.sessions().await;
        works(&sessions).await;
        sessions.migrate().await.unwrap();
    }
    // The ledger is the same as sqlx-cli's.
    sqlx(&db, &["revert", "--target-version", "0"]);
    db.sessions().await.migrate().await.unwrap();
    match &db.pool {
        Pool::Postgres(pool) => store::postgres::migrator().undo(pool, 0).await.unwrap(),
        Pool::Sqlite(pool) => store::sqlite::migrator().undo(pool, 0).await.unwrap(),
    }
    db.sessions().await.migrate().await.unwrap();
    works(&db.sessions().await).await;
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().unwrap() == "sql");
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

async fn written_to_files_they_are_those_of_the_repository(db: Db) {
    let (migrator, folder) = match db.is_postgres() {
        true => (store::postgres::migrator(), "migrations/postgres"),
        false => (store::sqlite::migrator(), "migrations/sqlite"),
    };
    let written = write_as_documented(&migrator, "");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    assert_eq!(files(written.path()), files(&folder));
}

async fn written_to_files_they_are_run_by_sqlx_cli(db: Db) {
    // The shorter configuration of the docs needs an existing schema.
    db.run("create schema sessile", "select 1").await;
    sqlx_as_documented(&db.url, &["run"]);
    let sessions = db.sessions().await;
    sessions.migrate().await.unwrap();
    works(&sessions).await;
    sqlx_as_documented(&db.url, &["revert", "--target-version", "0"]);
}
