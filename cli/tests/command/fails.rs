//! Failures: one line that says why, a remedy, the documented exit code.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use crate::{
    program::{command, done, failed, on, rows, run},
    support::{self, Db, log_in},
};

support::cases! {
    without_a_schema_each_command_says_so,
    with_a_newer_schema_each_command_says_so,
    a_lock_is_not_waited_for_without_end,
    a_closed_pipe_ends_the_command_in_silence,
    the_url_comes_from_the_option_then_the_environment_then_a_file,
}

const READING: [&[&str]; 5] =
    [&["list"], &["events"], &["stats"], &["cleanup"], &["cleanup", "--dry-run"]];

async fn without_a_schema_each_command_says_so(db: Db) {
    for args in READING.into_iter().chain([&["revoke", "--user", "ada", "--yes"][..]]) {
        let ran = failed(on(&db, args));
        assert_eq!(ran.code, 6, "{args:?}");
        assert!(
            ran.err.contains("no tables of sessile") && ran.err.contains("sessile migrate run"),
            "{ran:?}"
        );
    }
    let ran = run(on(&db, &["doctor"]));
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("sessile migrate run"), "{ran:?}");
}

async fn with_a_newer_schema_each_command_says_so(db: Db) {
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    let ledger = if db.is_postgres() { "_sqlx_migrations" } else { "_sessile_migrations" };
    db.run(&format!(
        "insert into {ledger} (version, description, success, checksum, execution_time) select 20990101000001, 'later', success, checksum, 0 from {ledger} limit 1"
    ))
    .await;
    db.run("update session_schema set needs_migration = 20990101000001, needs_release = '9.0.0'")
        .await;
    for args in READING.into_iter().chain([&["revoke", "--all", "--yes"][..]]) {
        let ran = failed(on(&db, args));
        assert_eq!(ran.code, 6, "{args:?}");
        assert!(ran.err.contains("needs sessile 9.0.0"), "{ran:?}");
    }
    assert_eq!(failed(on(&db, &["migrate", "revert", "--yes"])).code, 6);
    assert!(run(on(&db, &["migrate", "status"])).out.contains("of a newer release"));
}

async fn a_lock_is_not_waited_for_without_end(db: Db) {
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    // Held by this test's own connection.
    if db.is_postgres() {
        let pool = sqlx::PgPool::connect(&db.url).await.unwrap();
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("lock table sessile.sessions in access exclusive mode")
            .execute(&mut *tx)
            .await
            .unwrap();
        assert_eq!(failed(on(&db, &["list"])).code, 8);
        assert_eq!(failed(on(&db, &["revoke", "--user", "ada", "--yes"])).code, 8);
        tx.rollback().await.unwrap();
    } else {
        let pool = sqlx::SqlitePool::connect(&db.url).await.unwrap();
        let tx = pool.begin_with("begin immediate").await.unwrap();
        let ran = run(on(&db, &["revoke", "--user", "ada", "--yes"]));
        assert_eq!(ran.code, 8, "{ran:?}");
        tx.rollback().await.unwrap();
    }
    assert_eq!(rows(&db, &["list"]).len(), 1, "nothing was changed");
}

async fn a_closed_pipe_ends_the_command_in_silence(db: Db) {
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    let many = if db.is_postgres() {
        "insert into session_event_log (at, event) select now(), 'logged_in' from generate_series(1, 20000)"
    } else {
        "with recursive n(i) as (values (1) union all select i + 1 from n where i < 20000) insert into session_event_log (at, event) select 1, 'logged_in' from n"
    };
    db.run(many).await;
    for format in ["--json", "--csv", "--follow"] {
        let args: &[&str] = match format {
            "--follow" => &["events", "--follow", "--since", "90days"],
            format => &["events", "--all", format],
        };
        let mut child =
            on(&db, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut some = [0; 100];
        if format != "--follow" || db.is_postgres() {
            child.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
        }
        drop(child.stdout.take());
        if format == "--follow" {
            log_in(&sessions, "ada", "203.0.113.7", "curl").await;
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(141), "{format}: {said}");
        assert!(!said.contains("sessile:") && !said.contains("panicked"), "{format}: {said}");
    }
}

async fn the_url_comes_from_the_option_then_the_environment_then_a_file(db: Db) {
    db.sessions().await;
    let folder = tempfile::tempdir().unwrap();
    let wrong = "postgres://ada:hunter2@127.0.0.1:1/wrong";
    let within = |text: &str| {
        std::fs::write(folder.path().join(".env"), text).unwrap();
        let below = folder.path().join("below");
        std::fs::create_dir_all(&below).unwrap();
        let mut command = command();
        command.current_dir(below).arg("list");
        command
    };
    assert_eq!(
        run(within(&format!("DATABASE_URL={}\n", db.url))).code,
        0,
        "the file, also of a folder above"
    );
    assert_eq!(
        run(within(&format!("SESSILE_DATABASE_URL=\"{}\"\nDATABASE_URL={wrong}\n", db.url))).code,
        0
    );
    let mut command = within(&format!("SESSILE_DATABASE_URL={wrong}\n"));
    command.env("DATABASE_URL", &db.url);
    assert_eq!(run(command).code, 0, "the environment before the file");
    let mut command = within("");
    command.env("DATABASE_URL", wrong).env("SESSILE_DATABASE_URL", &db.url);
    assert_eq!(run(command).code, 0);
    let mut command = within("");
    command.env("SESSILE_DATABASE_URL", wrong).args(["--database-url", &db.url]);
    assert_eq!(run(command).code, 0, "the option before the environment");
    let mut command = within("");
    command.env("SESSILE_DATABASE_URL", wrong);
    assert_eq!(failed(command).code, 5);
    let none = failed(within(""));
    assert_eq!(none.code, 2);
    assert!(none.err.contains("no database is named"), "{none:?}");
    let broken = failed(within("this is = 'hunter2\n"));
    assert_eq!(broken.code, 2);
}

#[tokio::test]
async fn a_wrong_url_is_told_without_the_password() {
    for (url, code) in [
        ("mysql://root:hunter2@localhost/shop", 2),
        ("hunter2", 2),
        ("postgres://ada:hunter2@127.0.0.1:1/shop", 5),
        ("postgres://ada:hunter2@no-such-host.invalid/shop", 5),
        ("sqlite:///no/such/folder/hunter2.db", 5),
    ] {
        for args in [
            &["list"][..],
            &["revoke", "--all", "--yes"],
            &["doctor"],
            &["migrate", "status"],
            &["cleanup"],
        ] {
            let mut command = command();
            command.args(args).args(["--database-url", url]);
            assert_eq!(failed(command).code, code, "{url} {args:?}");
        }
    }
}

/// A role that may only read the views, as docs/sql.md has it for support.
#[tokio::test]
async fn a_role_without_a_right_is_told_which() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", "curl").await.to_string();
    let role = db.url.rsplit_once('/').unwrap().1.to_owned();
    db.run(&format!("create role {role} login password 'hunter2'")).await;
    let host = db
        .url
        .rsplit_once('@')
        .map_or(db.url.split_once("://").unwrap().1, |(_, host)| host)
        .to_owned();
    let url = format!("postgres://{role}:hunter2@{host}");
    let as_role = |args: &[&str]| {
        let mut command = command();
        command.env("DATABASE_URL", &url).args(args);
        command
    };
    let ran = failed(as_role(&["list"]));
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(
        ran.err.contains("permission denied for schema sessile")
            && ran.err.contains("docs/operations.md"),
        "{ran:?}"
    );

    db.run(&format!("grant usage on schema sessile to {role}; grant select on active_sessions, session_events to {role}")).await;
    assert!(run(as_role(&["list", "--user", "ada"])).out.contains(&id));
    assert!(run(as_role(&["show", &id])).out.contains("logged_in"));
    assert!(run(as_role(&["events", "--user", "ada"])).out.contains(&id));
    let ran = run(as_role(&["revoke", "--user", "ada", "--yes"]));
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.err.contains("permission denied"), "{ran:?}");
    assert_eq!(rows(&db, &["list"]).len(), 1);
    let wrong = url.replace("hunter2", "hunter3");
    let mut command = command();
    command.env("DATABASE_URL", wrong).arg("list");
    // The test's server may trust everybody.
    let ran = run(command);
    assert!(matches!(ran.code, 0 | 7), "{ran:?}");
    db.run(&format!("drop owned by {role}; drop role {role}")).await;
    db.drop().await;
}

/// A server that is stopped while the command asks it.
#[tokio::test]
async fn a_database_that_goes_down_is_told() {
    let db = Db::postgres().await;
    db.sessions().await;
    let name = db.url.rsplit_once('/').unwrap().1.to_owned();
    db.clone().drop().await;
    let ran = failed(on(&db, &["list"]));
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.err.contains(&name) && ran.err.contains("does not exist"), "{ran:?}");
}

#[tokio::test]
async fn watch_needs_a_terminal() {
    let db = Db::sqlite();
    db.sessions().await;
    let ran = failed(on(&db, &["watch"]));
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("terminal") && ran.err.contains("sessile stats"), "{ran:?}");
}

#[test]
fn the_help_has_every_exit_code_and_every_command_has_help() {
    let help = run({
        let mut command = command();
        command.arg("--help");
        command
    });
    for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130, 141] {
        assert!(
            help.out.lines().any(|line| line.trim_start().starts_with(&format!("{code}  "))),
            "{code}"
        );
    }
    for name in [
        "list",
        "show",
        "revoke",
        "events",
        "stats",
        "watch",
        "cleanup",
        "doctor",
        "migrate",
        "roles",
        "console",
        "completions",
        "man",
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessile"));
        command.args([name, "--help"]);
        let ran = run(command);
        assert!(ran.code == 0 && ran.out.contains("Usage:"), "{ran:?}");
        assert!(help.out.contains(name));
    }
}

#[tokio::test]
async fn a_limit_in_time_is_kept() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    db.run("insert into session_event_log (at, event) select now() - n * interval '1 ms', 'logged_in' from generate_series(1, 300000) as n").await;
    let ran = failed(on(
        &db,
        &["events", "--actor", "x", "--scan", "400000", "--json", "--timeout", "1ms"],
    ));
    assert_eq!(ran.code, 8, "{ran:?}");
    done(&db, &["events", "--actor", "x", "--scan", "400000"]);
    db.drop().await;
}
