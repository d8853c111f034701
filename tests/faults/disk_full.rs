//! A disk that is full for a moment: SQLite's files may not grow.
//!
//! The limit is one of the process, so the test runs in a child process.

use std::{
    collections::BTreeSet,
    process::{Command, id},
};

use sessile::{ErrorKind, Session, SessionId, Sessions};

use crate::{
    journal::with_rollback_journal,
    support::{Browser, Db, cases},
};

cases! {
    @sqlite [
        a_full_disk_fails_what_it_has_to_and_nothing_afterwards
        a_full_disk_on_the_applications_pool_fails_nothing_afterwards
        a_full_disk_with_a_rollback_journal_fails_nothing_afterwards
    ]
}

const IN_CHILD: &str = "FAULTS_DISK_FULL";

async fn a_full_disk_fails_what_it_has_to_and_nothing_afterwards(db: Db) {
    if in_child("a_full_disk_fails_what_it_has_to_and_nothing_afterwards") {
        goes_on_when_there_is_room(&db, &db.sessions().await).await;
    }
}

async fn a_full_disk_on_the_applications_pool_fails_nothing_afterwards(db: Db) {
    if in_child("a_full_disk_on_the_applications_pool_fails_nothing_afterwards") {
        let pool = sqlx::SqlitePool::connect(&db.url).await.unwrap();
        goes_on_when_there_is_room(&db, &Sessions::builder(pool).build().unwrap()).await;
    }
}

async fn a_full_disk_with_a_rollback_journal_fails_nothing_afterwards(db: Db) {
    if in_child("a_full_disk_with_a_rollback_journal_fails_nothing_afterwards") {
        let pool = with_rollback_journal(&db, std::time::Duration::from_secs(1)).await;
        let mut db = db.clone();
        db.pool = crate::support::Pool::Sqlite(pool.clone());
        goes_on_when_there_is_room(&db, &Sessions::builder(pool).build().unwrap()).await;
    }
}

/// Whether this process is the child. In the parent, runs the test in a child. The child gets an error for a
/// file that is too large, instead of a signal.
fn in_child(test: &str) -> bool {
    if std::env::var_os(IN_CHILD).is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let name = format!("disk_full::sqlite::{test}");
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(program)
        .args(["--exact", &name, "--nocapture"])
        .env(IN_CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    let complained = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(child.status.success() && said.contains("1 passed"), "{said}\n{complained}");
    false
}

/// The soft limit of this process, which the process may raise again.
fn files_may_have(bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let done = Command::new("prlimit").arg(format!("--pid={}", id())).arg(limit).status().unwrap();
    assert!(done.success());
}

/// The size of the file that grows with each write, and one page.
fn as_they_are(db: &Db) -> String {
    let path = db.url.trim_start_matches("sqlite://");
    let of = |file: &str| std::fs::metadata(file).map_or(0, |file| file.len());
    let wal = of(&format!("{path}-wal"));
    (if wal > 0 { wal + 4_096 } else { of(path) }).to_string()
}

/// The disk is full at some point of this. Everything that was answered with Ok holds, and everything works
/// when there is room again.
async fn goes_on_when_there_is_room(db: &Db, sessions: &Sessions) {
    let mut users: Vec<(Browser, Session, i64)> = Vec::new();
    for _ in 0..8 {
        let (browser, _) = Browser::logged_in(sessions, "ada").await;
        let session = browser.open(sessions).await;
        users.push((browser, session, 0));
    }
    let mut ids: BTreeSet<_> = users.iter().map(|user| user.1.id().unwrap()).collect();
    for is_full in [false, true, false] {
        // The sessions that will end.
        let (leaving, gone) = Browser::logged_in(sessions, "bob").await;
        let leaving = leaving.open(sessions).await;
        let (staying, _) = Browser::logged_in(sessions, "eve").await;
        Browser::logged_in(sessions, "eve").await;
        let staying = staying.open(sessions).await;
        let of_eve = sessions.count_of_user("eve").await.unwrap();

        files_may_have(&if is_full { "0".to_owned() } else { as_they_are(db) });
        let mut failed = 0;
        let mut fails = |result: sessile::Result<()>| match result {
            Ok(()) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Database, "{error:?}");
                failed += 1;
                true
            }
        };
        for step in 0..3 {
            for (i, (browser, session, n)) in users.iter_mut().enumerate() {
                let more = session.update("n", |n: &mut i64| *n += 1).await;
                *n += i64::from(!fails(more));
                let large = "x".repeat(20_000);
                fails(session.update("large", |filler: &mut String| *filler = large.clone()).await);
                fails(match (i + step) % 4 {
                    0 => session.renew().await,
                    1 => session.reauthenticate().await,
                    2 => session.log_in("ada").await,
                    _ => Browser::default().open(sessions).await.begin_log_in().await,
                });
                browser.keep(session.abandon());
                let new = Browser::default().open(sessions).await;
                if !fails(new.log_in("ada").await) {
                    ids.insert(new.id().unwrap());
                }
            }
        }
        let is_out = !fails(leaving.log_out().await.map(drop));
        let are_out = !fails(staying.log_out_others().await.map(drop));
        if is_full {
            assert!(failed >= 8 * 3 * 3, "{failed}");
            assert!(!is_out && !are_out);
        }
        assert!(failed > 0, "the disk was full");
        if !is_full {
            // Reads continue. Without any room at all, a new connection cannot create its index of the log.
            assert_eq!(sessions.find(gone).await.unwrap().is_none(), is_out);
        }

        files_may_have("unlimited");
        // At once, without a restart.
        assert_eq!(sessions.find(gone).await.unwrap().is_none(), is_out);
        let left = if are_out { 1 } else { of_eve };
        assert_eq!(sessions.count_of_user("eve").await.unwrap(), left);
        for (browser, session, n) in &mut users {
            *session = browser.open(sessions).await;
            assert_eq!(session.user_id().as_deref(), Some("ada"));
            assert_eq!(session.get::<i64>("n").unwrap().unwrap_or_default(), *n);
            session.update("n", |n: &mut i64| *n += 1).await.unwrap();
            *n += 1;
        }
        let found = sessions.of_user("ada").await.unwrap();
        let found: BTreeSet<SessionId> = found.iter().map(|info| info.id).collect();
        assert_eq!(found, ids);

        let (mut browser, id) = Browser::logged_in(sessions, "ada").await;
        let session = browser.open(sessions).await;
        session.renew().await.unwrap();
        session.reauthenticate().await.unwrap();
        browser.finish(&session).await;
        browser.open(sessions).await.log_out().await.unwrap();
        assert!(sessions.find(id).await.unwrap().is_none());
        staying.log_out_others().await.unwrap();
        Browser::default().open(sessions).await.begin_log_in().await.unwrap();
        sessions.flush().await.unwrap();
    }
}
