//! A backup that somebody restores, or has stolen and restores.

use std::process::Command;

use sessile::Sessions;

use crate::support::{Browser, Db, Pool, cases};

cases! { a_restored_backup_revives_sessions_until_all_are_revoked }

/// A backup in the database's own form, in a file.
async fn back_up(db: &Db, file: &str) {
    match &db.pool {
        Pool::Postgres(_) => {
            run(postgres("pg_dump", db).await.args(["--format=custom", "--file", file]));
        }
        Pool::Sqlite(pool) => {
            sqlx::query("vacuum into ?").bind(file).execute(pool).await.unwrap();
        }
    }
}

/// Puts the backup in the place of the database's present contents.
async fn restore(db: &Db, file: &str) {
    match &db.pool {
        Pool::Postgres(_) => {
            run(postgres("pg_restore", db).await.args(["--clean", "--single-transaction", file]));
        }
        // Nodes have it open, so they must not notice another file in its place.
        Pool::Sqlite(_) => {
            let path = db.url.trim_start_matches("sqlite://");
            run(Command::new("sqlite3").args([path, &format!(".restore '{file}'")]));
        }
    }
}

/// A program of the server.
async fn postgres(program: &str, db: &Db) -> Command {
    let folder =
        db.texts("select setting from pg_config where name = 'BINDIR'", "").await.remove(0);
    let mut command = Command::new(format!("{folder}/{program}"));
    command.args(["--dbname", &db.url]);
    command
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

async fn a_restored_backup_revives_sessions_until_all_are_revoked(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup").display().to_string();
    let sessions = db.sessions().await;
    let (ada, id) = Browser::logged_in(&sessions, "ada").await;
    let (mut bob, _) = Browser::logged_in(&sessions, "bob").await;
    let (eve, _) = Browser::logged_in(&sessions, "eve").await;
    let bobs_old = bob.clone();
    back_up(&db, &file).await;

    // After the backup: a revocation, a new secret, a log-out everywhere.
    sessions.revoke(id).await.unwrap();
    let session = bob.open(&sessions).await;
    session.reauthenticate().await.unwrap();
    bob.finish(&session).await;
    sessions.revoke_user("eve").await.unwrap();
    let lives = async |sessions: &Sessions| {
        let mut lives = Vec::new();
        for browser in [&ada, &bobs_old, &bob, &eve] {
            lives.push(browser.is_in(sessions).await);
        }
        lives
    };
    assert_eq!(lives(&sessions).await, [false, false, true, false]);

    restore(&db, &file).await;
    // A node that starts after the restore, as operators do.
    let sessions = db.sessions().await;
    assert_eq!(lives(&sessions).await, [true, true, false, true], "the backup has them");
    assert_eq!(sessions.revoke_all().await.unwrap().ended, 3);
    assert_eq!(lives(&sessions).await, [false; 4]);
    assert_eq!(db.rows().await, 0);
    // Whoever logs in now is in.
    let (ada, _) = Browser::logged_in(&sessions, "ada").await;
    assert!(ada.is_in(&sessions).await);
}
