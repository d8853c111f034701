//! `migrate`.

use serde_json::json;

use crate::{
    program::{command, done, failed, feed, mode, on, rows, run},
    support::{self, Db, log_in},
};

support::cases! {
    the_tables_are_created_and_removed,
    the_sql_does_the_same_by_hand,
    only_missing_migrations_are_run_and_printed,
    migrating_twice_is_harmless,
}

fn states(db: &Db) -> Vec<String> {
    rows(db, &["migrate", "status"])
        .iter()
        .map(|row| row["state"].as_str().unwrap().to_owned())
        .collect()
}

async fn the_tables_are_created_and_removed(db: Db) {
    assert!(states(&db).iter().all(|state| state == "missing"));
    let out = done(&db, &["migrate", "run"]);
    assert!(out.contains("Ran 20261123000001 sessions."), "{out}");
    let number = states(&db).len();
    assert_eq!(states(&db), vec!["installed"; number]);
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", "curl").await;

    done(&db, &["migrate", "revert", "--yes"]);
    assert_eq!(states(&db).iter().filter(|state| *state == "missing").count(), 1, "the newest one");
    assert_eq!(failed(on(&db, &["list"])).code, 6, "an older schema");
    done(&db, &["migrate", "run"]);
    assert_eq!(rows(&db, &["list"]).len(), 1, "the sessions are still there");
    done(&db, &["migrate", "revert", "--to", "0", "--yes"]);
    assert_eq!(states(&db), vec!["missing"; number]);
    assert_eq!(failed(on(&db, &["migrate", "revert", "--yes"])).code, 2, "nothing to undo");
    done(&db, &["migrate", "run"]);
    assert_eq!(rows(&db, &["list"]).len(), 0);
}

async fn the_sql_does_the_same_by_hand(db: Db) {
    let script = done(&db, &["migrate", "run", "--sql"]);
    assert!(states(&db).iter().all(|state| state == "missing"), "it runs nothing");
    let url = if db.is_postgres() { "postgres://" } else { "sqlite://" };
    let mut offline = command();
    offline.args(["migrate", "run", "--sql", "--all", "--database-url", url]);
    assert_eq!(run(offline).out, script, "without a database");
    feed(&db, &script);
    assert!(states(&db).iter().all(|state| state == "installed"));
    assert_eq!(done(&db, &["migrate", "run", "--sql"]), "-- Nothing to run.\n");
    // The library takes the schema as its own.
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    assert_eq!(rows(&db, &["list"])[0]["user_id"], json!("ada"));
    feed(&db, &done(&db, &["migrate", "revert", "--to", "0", "--sql"]));
    assert!(states(&db).iter().all(|state| state == "missing"));
}

async fn only_missing_migrations_are_run_and_printed(db: Db) {
    done(&db, &["migrate", "run"]);
    done(&db, &["migrate", "revert", "--yes"]);
    let script = done(&db, &["migrate", "run", "--sql"]);
    assert_eq!(script.matches("\n-- 2026").count(), 1, "{script}");
    let out = done(&db, &["migrate", "run"]);
    assert_eq!(out.matches("Ran ").count(), 1, "{out}");
}

async fn migrating_twice_is_harmless(db: Db) {
    done(&db, &["migrate", "run"]);
    assert_eq!(done(&db, &["migrate", "run"]), "The database has the schema of this release.\n");
}

#[tokio::test]
async fn a_file_of_sqlite_is_created_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new.db");
    let mut create = command();
    create.args(["migrate", "run", "--database-url", &format!("sqlite://{}", file.display())]);
    let ran = run(create);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.starts_with("Created "), "{ran:?}");
    let about = std::fs::metadata(&file).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o777, 0o600);
}

/// An application's own file keeps its journal's mode.
#[tokio::test]
async fn a_file_that_exists_keeps_its_journal() {
    let db = Db::sqlite();
    feed(&db, "create table users (id); insert into users values (1);");
    mode(&db.folder().join("sessions.db"), 0o600);
    done(&db, &["migrate", "run"]);
    let doctor = rows_of_doctor(&db);
    let journal = doctor.iter().find(|row| row["check"] == "journal").unwrap();
    assert!(journal["finding"].as_str().unwrap().contains("delete"), "{journal}");
}

fn rows_of_doctor(db: &Db) -> Vec<serde_json::Value> {
    serde_json::from_str(&run(on(db, &["doctor", "--json"])).out).unwrap()
}
