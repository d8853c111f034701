//! The schema: up, down, from several nodes at once, and by sqlx-cli.

use std::process::Command;

use serde_json::json;
use sessile::{ErrorKind, Sessions};

use crate::support::{Browser, Db};

/// Each case on an empty database.
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

empty_cases! {
    an_empty_database_is_migrated,
    a_database_that_is_not_migrated_says_what_to_do,
    a_schema_that_is_newer_is_refused,
    up_down_and_up_again,
    sqlx_cli_and_the_library_are_interchangeable,
    nodes_that_start_at_once_all_succeed,
    the_applications_own_ledger_is_not_touched,
    data_of_every_earlier_version_survives,
}

async fn works(sessions: &Sessions) {
    let (browser, _) = Browser::with(sessions, "a", json!(1)).await;
    assert!(browser.is_in(sessions).await);
}

/// `sqlx migrate …` on this database, as an application's operators run it.
fn sqlx(db: &Db, command: &[&str]) {
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

async fn an_empty_database_is_migrated(db: Db) {
    let sessions = db.sessions().await;
    sessions.migrate().await.unwrap();
    works(&sessions).await;
    sessions.migrate().await.unwrap();
    works(&sessions).await;
}

async fn a_database_that_is_not_migrated_says_what_to_do(db: Db) {
    let sessions = db.sessions().await;
    let error = sessions.count().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("Sessions::migrate()"), "{error}");
}

async fn a_schema_that_is_newer_is_refused(db: Db) {
    let sessions = db.sessions().await;
    sessions.migrate().await.unwrap();
    db.run(
        "insert into sessile._sqlx_migrations (version, description, success, checksum, execution_time)
         values (99990101000000, 'later', true, '\\x00', 0)",
        "insert into _sessile_migrations (version, description, success, checksum, execution_time)
         values (99990101000000, 'later', true, x'00', 0)",
    )
    .await;
    let error = sessions.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("newer than this version of sessile"), "{error}");
    assert!(error.to_string().contains("99990101000000"), "{error}");
    // A refusal leaves no lock behind.
    assert!(sessions.migrate().await.is_err());
}

async fn up_down_and_up_again(db: Db) {
    for _ in 0..2 {
        sqlx(&db, &["run"]);
        let sessions = db.sessions().await;
        works(&sessions).await;
        sqlx(&db, &["revert", "--target-version", "0"]);
        assert_eq!(sessions.count().await.unwrap_err().kind(), ErrorKind::Schema);
    }
    db.sessions().await.migrate().await.unwrap();
    works(&db.sessions().await).await;
}

async fn sqlx_cli_and_the_library_are_interchangeable(db: Db) {
    sqlx(&db, &["run"]);
    let sessions = db.sessions().await;
    sessions.migrate().await.unwrap();
    works(&sessions).await;
    sqlx(&db, &["revert", "--target-version", "0"]);
    sessions.migrate().await.unwrap();
    sqlx(&db, &["run"]);
    works(&sessions).await;
}

async fn nodes_that_start_at_once_all_succeed(db: Db) {
    for _ in 0..5 {
        let mut nodes = Vec::new();
        for _ in 0..8 {
            nodes.push(db.sessions().await);
        }
        let starts: Vec<_> = nodes
            .iter()
            .cloned()
            .map(|node| tokio::spawn(async move { node.migrate().await }))
            .collect();
        for start in starts {
            start.await.unwrap().unwrap();
        }
        works(&nodes[0]).await;
        sqlx(&db, &["revert", "--target-version", "0"]);
        db.run("drop schema sessile cascade", "drop table _sessile_migrations").await;
    }
}

async fn the_applications_own_ledger_is_not_touched(db: Db) {
    let create = "create table _sqlx_migrations (mine text)";
    db.run(create, create).await;
    let insert = "insert into _sqlx_migrations values ('as it was')";
    db.run(insert, insert).await;
    db.sessions().await.migrate().await.unwrap();
    let select = "select mine from _sqlx_migrations";
    assert_eq!(db.texts(select, select).await, ["as it was"]);
}

/// For each version that was released: its schema, with sessions in it, migrated to the newest. The
/// rows were written by that version, and are in `tests/it/earlier`.
async fn data_of_every_earlier_version_survives(db: Db) {
    let versions = [(
        "20261123000001",
        include_str!("earlier/20261123000001.postgres.sql"),
        include_str!("earlier/20261123000001.sqlite.sql"),
    )];
    for (version, postgres, sqlite) in versions {
        sqlx(&db, &["run", "--target-version", version]);
        db.run(postgres, sqlite).await;
        let sessions = db.sessions().await;
        sessions.migrate().await.unwrap();
        let cookie = "AaIJ_dtdc0OfeFOWaEic0gABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let browser = Browser { cookie: Some(cookie.to_owned()) };
        let session = browser.open(&sessions).await;
        assert_eq!(session.user_id().as_deref(), Some("ada"), "{version}");
        assert_eq!(session.data::<serde_json::Value>().unwrap(), json!({"cart": {"tea": 2}}));
        session
            .update("cart", |cart: &mut serde_json::Value| cart["tea"] = json!(3))
            .await
            .unwrap();
        let device = &session.devices().await.unwrap()[0];
        assert_eq!(device.ip, Some([192, 0, 2, 1].into()));
        assert_eq!(device.user_agent.as_deref(), Some("curl"));
        session.log_out_everywhere().await.unwrap();
        assert!(!browser.is_in(&sessions).await);
        sqlx(&db, &["revert", "--target-version", "0"]);
    }
}

#[tokio::test]
async fn every_table_and_column_says_what_it_is() {
    let db = Db::postgres().await;
    let silent = db
        .texts(
            "select c.relname || coalesce('.' || a.attname, '') from pg_class c
             left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and c.relkind = 'r'
             where c.relnamespace = 'sessile'::regnamespace and c.relkind in ('r', 'v')
                and c.relname <> '_sqlx_migrations'
                and (col_description(c.oid, a.attnum) is null and c.relkind = 'r' or obj_description(c.oid) is null)",
            "",
        )
        .await;
    assert_eq!(silent, [] as [&str; 0]);
    db.drop().await;
}
