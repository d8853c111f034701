//! The command `sqlite3` of the machine, on a file that a running library has open. Views and triggers run in its
//! SQLite, which may be older than the library's.

use std::process::Command;

use super::{Event, Path, REASON, assert_events, log_in};
use crate::support::{Browser, Db};

const PATIENCE: &str = ".timeout 5000";

/// The output of the statements.
fn sqlite3(db: &Db, statements: &[&str]) -> Result<Vec<String>, String> {
    let file = db.url.strip_prefix("sqlite://").unwrap();
    let output = Command::new("sqlite3")
        .args(["-batch", "-bail", file, PATIENCE])
        .args(statements)
        .output()
        .expect("there is no command sqlite3: run scripts/test, or on Debian and Ubuntu: apt-get install sqlite3");
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

fn insert(columns: &str, values: &str) -> String {
    format!(
        "insert into revocations ({columns}, reason) values ({values}, '{}')",
        REASON.replace('\'', "''")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_reads_every_view() {
    let db = Db::sqlite().await;
    let sessions = db.sessions().await;
    let (_, id) = log_in(&sessions, "ada").await;
    sessions.sweep().await.unwrap();
    assert_eq!(sqlite3(&db, &["pragma journal_mode"]).unwrap(), ["wal"]);
    // Functions of an untrusted schema are still allowed.
    for trust in ["pragma trusted_schema = on", "pragma trusted_schema = off"] {
        let read = |statement| sqlite3(&db, &[trust, statement]).unwrap();
        assert_eq!(
            read("select id, user_id, ip, user_agent from active_sessions"),
            [format!("{id}|ada|192.0.2.7|a telephone")]
        );
        assert_eq!(read("select * from session_counts"), ["|1|0|0|"]);
        assert_eq!(
            read("select event, session_id, user_id from session_events"),
            [format!("logged_in|{id}|ada")]
        );
        assert_eq!(read("select logged_in, revoked, expired from sessions_by_hour"), ["1|0|0"]);
        assert_eq!(read("select sessions, error from cleanup_runs"), ["0|"]);
        let is_recent = "select count(*) from session_events where at between strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 minute') and strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
        assert_eq!(read(is_recent), ["1"]);
    }
    db.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_ends_sessions() {
    let db = Db::sqlite().await;
    let sessions = db.sessions().await;
    for trust in ["pragma trusted_schema = on", "pragma trusted_schema = off"] {
        for shape in 0..4 {
            let (browser, id) = log_in(&sessions, "ada").await;
            let (other, other_id) = log_in(&sessions, "ada").await;
            let early = Browser::default().open(&sessions).await;
            db.delete_events().await;
            let since = db.clock().await;
            let statement = match shape {
                0 => insert("session_id", &format!("'{id}'")),
                1 => insert("user_id", "'ada'"),
                2 => {
                    insert("scope, user_id, session_id", &format!("'others', 'ada', '{other_id}'"))
                }
                _ => insert("scope", "'all'"),
            };
            sqlite3(&db, &[trust, &statement]).unwrap();
            let is_other_in = [0, 2].contains(&shape);
            assert!(!browser.is_in(&sessions).await, "{statement}");
            assert_eq!(other.is_in(&sessions).await, is_other_in, "{statement}");
            let mut expected = vec![Event::revoked(&db, Path::Sql, "", id, "ada")];
            if !is_other_in {
                expected.push(Event::revoked(&db, Path::Sql, "", other_id, "ada"));
            }
            if shape > 0 {
                let user_id = (shape < 3).then_some("ada");
                expected.push(Event::of_all(&db, Path::Sql, "", user_id));
            }
            assert_events(&db, since, expected).await;
            assert_eq!(early.log_in("ada").await.is_err(), shape > 0, "{statement}");
            db.pass_for_cutoffs(sessile::seconds(60)).await;
            db.run("", "delete from sessions").await;
        }
    }
    db.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_shows_the_error() {
    let db = Db::sqlite().await;
    let sessions = db.sessions().await;
    let (browser, _) = log_in(&sessions, "ada").await;
    for (columns, values, expected) in [
        ("realm", "'office'", "a revocation needs either a session_id or a user_id"),
        ("session_id", "'garbage'", "a session_id is a UUID"),
        ("user_id", "char(7) || char(0)", "a user_id is a text of 1 to 255 bytes"),
    ] {
        // What the transaction did before goes too, since the command ends at the first error.
        let error = sqlite3(
            &db,
            &["begin immediate", &insert("user_id", "'ada'"), &insert(columns, values), "commit"],
        )
        .unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    assert!(browser.is_in(&sessions).await);
    db.drop().await;
}
