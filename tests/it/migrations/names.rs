//! On SQLite: the application's objects in the same file, and another node that migrates at the same time.

use std::time::{Duration, Instant};

use sessile::{
    ErrorKind, Sessions,
    store::{Backend, sqlite::SqliteStore},
};
use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{sqlx, works};
use crate::support::Db;

const OBJECTS: &str =
    "select name from sqlite_schema where name not like 'sqlite_%' and type <> 'trigger'
    and name <> '_sessile_migrations' order by name";
const EVERYTHING: &str = "select coalesce(sql, name) from sqlite_schema order by name, sql";

/// For each version: the names that it adds to the file.
async fn names_by_version() -> Vec<(String, Vec<String>)> {
    let db = Db::empty_sqlite().await;
    let mut before = Vec::new();
    let mut found = Vec::new();
    let migrator = sessile::store::sqlite::migrator();
    for up in migrator.iter().filter(|one| one.migration_type.is_up_migration()) {
        let version = up.version.to_string();
        sqlx(&db, &["run", "--target-version", &version]);
        let now = db.texts("", OBJECTS).await;
        found.push((version, now.iter().filter(|name| !before.contains(*name)).cloned().collect()));
        before = now;
    }
    db.drop().await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_the_application_has_taken_is_refused_before_anything_is_changed() {
    let mut earlier: Option<String> = None;
    for (version, names) in names_by_version().await {
        for name in names {
            let db = Db::empty_sqlite().await;
            if let Some(earlier) = &earlier {
                sqlx(&db, &["run", "--target-version", earlier]);
            }
            // SQLite treats the two as one name.
            let theirs = name.to_uppercase();
            db.run("", &format!("create table {theirs} (mine text)")).await;
            db.run("", &format!("insert into {theirs} values ('as it was')")).await;
            let before = db.texts("", EVERYTHING).await;
            let error = db.sessions().await.migrate().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Schema, "{version} {name}: {error:?}");
            let text = error.to_string();
            assert!(text.contains(&format!("a table {theirs} that is not sessile's")), "{text}");
            assert!(text.contains("a file of its own") && text.contains("rename"), "{text}");
            assert_eq!(db.texts("", EVERYTHING).await, before);
            db.run("", &format!("alter table {theirs} rename to theirs")).await;
            db.sessions().await.migrate().await.unwrap();
            works(&db.sessions().await).await;
            assert_eq!(db.texts("", "select mine from theirs").await, ["as it was"]);
            db.drop().await;
        }
        earlier = Some(version);
    }
    assert!(earlier.is_some());
}

/// For longer than the application's statements wait. Their time-out is unchanged afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_that_migrates_is_waited_for() {
    let db = Db::empty_sqlite().await;
    let mut other = SqliteConnection::connect(&db.url).await.unwrap();
    let options: SqliteConnectOptions = db.url.parse().unwrap();
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options.busy_timeout(Duration::from_millis(50)))
        .await
        .unwrap();
    let sessions = Sessions::builder(Backend::new(SqliteStore::new(pool.clone()))).build().unwrap();
    let busy_timeout = async || {
        let millis = sqlx::query_scalar::<_, i64>("pragma busy_timeout").fetch_one(&pool).await;
        millis.unwrap()
    };
    assert_eq!(busy_timeout().await, 50);

    let tx = other.begin_with("begin immediate").await.unwrap();
    let node = sessions.clone();
    let migration = tokio::spawn(async move { node.migrate().await });
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        assert!(!migration.is_finished(), "it has given up after {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tx.rollback().await.unwrap();
    migration.await.unwrap().unwrap();
    assert_eq!(busy_timeout().await, 50);
    works(&sessions).await;

    // It is also unchanged after an error.
    db.run("", "update _sessile_migrations set checksum = x'00'").await;
    sessions.migrate().await.unwrap_err();
    assert_eq!(busy_timeout().await, 50);
    other.close().await.unwrap();
    pool.close().await;
    db.drop().await;
}
