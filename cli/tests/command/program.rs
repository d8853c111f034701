//! Runs the program.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::Db;

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessile"));
    for variable in ["SESSILE_DATABASE_URL", "DATABASE_URL", "SUDO_USER"] {
        command.env_remove(variable);
    }
    // Not in a folder with a file `.env`.
    command.current_dir("/").env("USER", "grace").stdin(Stdio::null());
    command
}

/// The command on a database.
pub(crate) fn on(db: &Db, args: &[&str]) -> Command {
    let mut command = command();
    command.env("SESSILE_DATABASE_URL", &db.url).args(args);
    command
}

/// The result of a run: the exit code and the two outputs.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(mut command: Command) -> Ran {
    ran(command.output().unwrap())
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A run that has to succeed.
pub(crate) fn done(db: &Db, args: &[&str]) -> String {
    let ran = run(on(db, args));
    assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    ran.out
}

/// The rows of `--json`.
pub(crate) fn rows(db: &Db, args: &[&str]) -> Vec<Value> {
    let out = done(db, &[args, &["--json"]].concat());
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}"))
}

/// A run that has to fail: one line on standard error, with a remedy, and no password.
pub(crate) fn failed(command: Command) -> Ran {
    let ran = run(command);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    assert!(ran.err.starts_with("sessile: ") && ran.err.contains(". Remedy: "), "{ran:?}");
    assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    ran
}

/// Runs the command on a terminal, and types this.
pub(crate) fn on_terminal(db: &Db, args: &[&str], typed: &str) -> (i32, String) {
    let child = terminal(db, args);
    let mut child = child;
    child.stdin.as_mut().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// util-linux's `script` makes the terminal.
pub(crate) fn terminal(db: &Db, args: &[&str]) -> Child {
    let line =
        format!("stty cols 200 rows 30; {} {}", env!("CARGO_BIN_EXE_sessile"), args.join(" "));
    Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("SESSILE_DATABASE_URL", &db.url)
        .env("TERM", "xterm-256color")
        .env("USER", "grace")
        .env_remove("SUDO_USER")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(crate) fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Runs a script in the database's own program, as an administrator does.
pub(crate) fn feed(db: &Db, script: &str) {
    let mut program = if db.is_postgres() {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", &db.url]);
        psql
    } else {
        let mut sqlite = Command::new("sqlite3");
        sqlite.args(["-bail", db.url.strip_prefix("sqlite://").unwrap()]);
        sqlite
    };
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

pub(crate) fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}
