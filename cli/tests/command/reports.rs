//! `stats`, `doctor`, `completions`, `man`.

use serde_json::Value;

use crate::{
    program::{command, done, feed, mode, on, rows, run},
    support::{self, Db, log_in, visit},
};

support::cases! {
    the_figures_are_right,
    a_healthy_database_has_no_finding,
    each_fault_is_found_with_its_remedy,
}

async fn the_figures_are_right(db: Db) {
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    visit(&sessions).await;
    let old = visit(&sessions).await;
    log_in(&db.sessions_of("office").await, "ada", "203.0.113.7", "curl").await;
    let is_old = if db.is_postgres() {
        format!("id = '{old}'")
    } else {
        format!("id = x'{}'", old.simple())
    };
    db.run(&format!("update sessions set created_at = created_at - 5000 * {{s}} where {is_old}"))
        .await;
    log_in(&sessions, "gone", "203.0.113.7", "curl").await;
    db.run("update sessions set valid_until = {now} - {s}, expires_at = {now} - {s} where user_id = 'gone'").await;

    let figures = rows(&db, &["stats"]);
    let figure = |name: &str| {
        figures
            .iter()
            .find(|row| row["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {figures:?}"))["value"]
            .clone()
    };
    assert_eq!(
        (figure("live"), figure("anonymous"), figure("expired")),
        (4.into(), 2.into(), 1.into())
    );
    assert_eq!(figure("live in realm office"), 1);
    assert_eq!(figure("looked at for percentiles"), 4);
    assert!((5_000..5_100).contains(&figure("age max").as_u64().unwrap()));
    assert!(figure("age p50").as_u64().unwrap() < 100);
    // {"theme":"dark"} of two sessions, and {} of the others.
    assert_eq!((figure("data max"), figure("data p50")), (16.into(), 2.into()));
    assert!(figure("table sessions").as_u64().unwrap() > 0);
    assert!(figure("index sessions_user_id_idx").as_u64().unwrap() > 0);
    if db.is_postgres() {
        assert!(figures.iter().any(|row| row["name"] == "dead rows"));
    }
    assert!(run(on(&db, &["stats"])).out.contains("live"));
}

fn findings(db: &Db) -> (i32, Vec<Value>) {
    let ran = run(on(db, &["doctor", "--json"]));
    (ran.code, serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}")))
}

async fn a_healthy_database_has_no_finding(db: Db) {
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    sessions.sweep().await.unwrap();
    let (code, findings) = findings(&db);
    assert_eq!(code, 0, "{findings:#?}");
    let checks: Vec<_> = findings.iter().map(|row| row["check"].as_str().unwrap()).collect();
    let expected: &[&str] = if db.is_postgres() {
        &[
            "schema",
            "indexes",
            "cleanup",
            "clock",
            "autovacuum",
            "encoding",
            "grants",
            "roles",
            "pooler",
        ]
    } else {
        &["schema", "indexes", "cleanup", "file modes", "encoding", "journal", "file"]
    };
    assert_eq!(checks, expected);
    assert!(findings.iter().all(|row| row["ok"] == true && row["remedy"].is_null()));
}

/// Each fault alone: the check that has to find it, and a part of its remedy.
async fn each_fault_is_found_with_its_remedy(db: Db) {
    db.sessions().await;
    let postgres: &[(&str, &str, &str, &str)] = &[
        (
            "drop index sessions_expires_at_idx",
            "create index sessions_expires_at_idx on sessions (expires_at)",
            "indexes",
            "concurrently",
        ),
        (
            "alter table sessions set (autovacuum_enabled = false)",
            "alter table sessions reset (autovacuum_enabled)",
            "autovacuum",
            "alter table sessile.sessions reset",
        ),
        (
            "grant select on sessions to public",
            "revoke select on sessions from public",
            "roles",
            "revoke select on sessile.sessions from public",
        ),
        ("update _sqlx_migrations set checksum = '\\x00'", "select", "schema", "which program"),
    ];
    let sqlite: &[(&str, &str, &str, &str)] = &[
        (
            "drop index sessions_user_id_idx",
            "create index sessions_user_id_idx on sessions (user_id, id) where user_id is not null",
            "indexes",
            "migrate run --sql --all",
        ),
        (
            "pragma journal_mode = delete",
            "pragma journal_mode = wal",
            "journal",
            "pragma journal_mode = wal",
        ),
        ("update _sessile_migrations set checksum = x'00'", "select 1", "schema", "which program"),
    ];
    let both: &[(&str, &str, &str, &str)] = &[(
        "insert into session_cleanup_log values ({now}, {now}, 0, 0, 'disk full')",
        "delete from session_cleanup_log",
        "last cleanup",
        "log of the application",
    )];
    for (fault, mend, check, remedy) in
        both.iter().chain(if db.is_postgres() { postgres } else { sqlite })
    {
        db.run(fault).await;
        let (code, findings) = findings(&db);
        let found: Vec<_> = findings.iter().filter(|row| row["ok"] == false).collect();
        assert_eq!((code, found.len()), (1, 1), "{fault}: {findings:#?}");
        assert_eq!(found[0]["check"], *check);
        assert!(found[0]["remedy"].as_str().unwrap().contains(remedy), "{fault}: {findings:#?}");
        db.run(mend).await;
    }
}

/// A backlog is a fault only if it is old.
#[tokio::test]
async fn a_cleanup_that_lags_is_found() {
    for db in [Db::postgres().await, Db::sqlite()] {
        let sessions = db.sessions().await;
        log_in(&sessions, "ada", "203.0.113.7", "curl").await;
        for (ago, code) in [(600, 0), (7_200, 1)] {
            db.run(&format!("update sessions set valid_until = {{now}} - {ago} * {{s}}, expires_at = {{now}} - {ago} * {{s}}")).await;
            let (found, findings) = findings(&db);
            assert_eq!(found, code, "{findings:#?}");
        }
        db.drop().await;
    }
}

#[tokio::test]
async fn a_role_that_lacks_a_right_is_found() {
    let db = Db::postgres().await;
    db.sessions().await;
    let role = db.url.rsplit_once('/').unwrap().1.to_owned();
    db.run(&format!("create role {role}; grant usage on schema sessile to {role}; grant select, insert, update, delete on sessions, session_cutoffs, session_event_inbox, session_cleanup_log to {role}; grant select on session_schema, _sqlx_migrations, active_sessions, session_events to {role}")).await;
    let (code, found) = findings(&db);
    let fault: Vec<_> = found.iter().filter(|row| row["ok"] == false).collect();
    assert_eq!((code, fault.len()), (1, 1), "{found:#?}");
    // The statement that it gives mends it.
    let grant = fault[0]["remedy"].as_str().unwrap().to_owned();
    assert_eq!(
        grant,
        format!("grant delete, insert, select, update on sessile.session_event_log to {role}")
    );
    db.run(&grant).await;
    assert_eq!(findings(&db).0, 0);
    db.run(&format!("drop owned by {role}; drop role {role}")).await;
    db.drop().await;
}

#[tokio::test]
async fn a_file_that_others_may_read_is_found() {
    let db = Db::sqlite();
    db.sessions().await;
    let file = db.folder().join("sessions.db");
    mode(&file, 0o644);
    let (code, found) = findings(&db);
    assert_eq!(code, 1);
    let fault = found.iter().find(|row| row["ok"] == false).unwrap();
    assert_eq!(fault["check"], "file modes");
    assert!(fault["finding"].as_str().unwrap().contains("mode 644"), "{fault}");
    // SQLite gives the log beside the file the file's mode, so the remedy names both.
    let remedy = fault["remedy"].as_str().unwrap();
    assert!(std::process::Command::new("sh").args(["-c", remedy]).status().unwrap().success());
    assert_eq!(findings(&db).0, 0, "{remedy}");
}

#[test]
fn shells_and_manuals_know_every_command() {
    let printed = |args: &[&str]| {
        let mut command = command();
        command.args(args);
        let ran = run(command);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out
    };
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(printed(&["completions", shell]).contains("revoke"), "{shell}");
    }
    let page = printed(&["man"]);
    assert!(page.contains(".TH sessile 1") && page.contains("Exit codes"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    printed(&["man", "--out", folder.path().to_str().unwrap()]);
    for page in ["sessile.1", "sessile-revoke.1", "sessile-migrate-run.1"] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
    let mut command = command();
    command.args(["man", "--out", "/no/such/folder"]);
    assert_eq!(crate::program::failed(command).code, 9);
}

/// This machine's clock is an hour ahead.
#[tokio::test]
async fn clocks_that_differ_are_found() {
    let db = Db::postgres().await;
    db.sessions().await;
    let mut command = std::process::Command::new("faketime");
    command
        .args(["-f", "+1h", env!("CARGO_BIN_EXE_sessile"), "doctor", "--json"])
        .env("SESSILE_DATABASE_URL", &db.url);
    let ran = run(command);
    let found: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    let fault: Vec<_> = found.iter().filter(|row| row["ok"] == false).collect();
    assert_eq!((ran.code, fault.len()), (1, 1), "{found:#?}");
    assert_eq!(fault[0]["check"], "clock");
    assert!(fault[0]["remedy"].as_str().unwrap().contains("NTP"));
    db.drop().await;
}

/// The library refuses such a database. Somebody has run the migrations by hand.
#[tokio::test]
async fn an_encoding_that_cannot_hold_every_text_is_found() {
    let db = Db::sqlite();
    feed(&db, "pragma encoding = 'UTF-16'; create table first (id);");
    mode(&db.folder().join("sessions.db"), 0o600);
    feed(&db, &done(&db, &["migrate", "run", "--sql"]));
    feed(&db, "pragma journal_mode = wal;");
    let (code, found) = findings(&db);
    let fault: Vec<_> = found.iter().filter(|row| row["ok"] == false).collect();
    assert_eq!((code, fault.len()), (1, 1), "{found:#?}");
    assert_eq!(
        (&fault[0]["check"], &fault[0]["finding"]),
        (&"encoding".into(), &"the file is in UTF-16le".into())
    );

    let mut db = Db::postgres().await;
    let name = db.url.rsplit_once('/').unwrap().1.to_owned();
    feed(
        &db,
        &format!(
            "create database {name}_ascii encoding 'SQL_ASCII' template template0 locale 'C';"
        ),
    );
    let utf8 = db.clone();
    db.url.push_str("_ascii");
    feed(&db, &done(&db, &["migrate", "run", "--sql"]));
    let (code, found) = findings(&db);
    let fault: Vec<_> = found.iter().filter(|row| row["ok"] == false).collect();
    assert_eq!((code, fault.len()), (1, 1), "{found:#?}");
    assert_eq!(fault[0]["check"], "encoding");
    assert!(fault[0]["remedy"].as_str().unwrap().contains("encoding 'UTF8'"));
    feed(&utf8, &format!("drop database {name}_ascii with (force);"));
    utf8.drop().await;
}
