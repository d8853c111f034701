//! A log-in that meets a revocation, in the application's transaction or by hand.

use std::time::Instant;

use sessile::{ErrorKind, Result, SessionId, seconds};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Path, What, both_paths};
use crate::{
    support::{Browser, Db},
    tx::{Tx, until_waiting},
};

both_paths! {
    a_log_in_that_began_before_is_refused_and_a_later_one_is_not,
    the_cut_off_is_the_moment_of_the_call_and_not_of_the_transaction,
    a_log_in_that_waits_is_refused_when_the_revocation_commits,
    a_log_in_that_waits_succeeds_when_the_revocation_rolls_back,
    a_log_in_that_has_its_lock_does_not_survive_the_revocation_that_waits,
}

fn ways() -> [What<'static>; 3] {
    [What::User("ada"), What::Others("ada", Uuid::now_v7().into()), What::All]
}

async fn a_log_in_that_began_before_is_refused_and_a_later_one_is_not(db: Db, path: Path) {
    let sessions = db.sessions().await;
    for what in ways() {
        let early = Browser::default().open(&sessions).await;
        path.revoke(&db, "", what).await;
        let error = early.log_in("ada").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LogInRefused, "{what:?}");
        // The node knows the database's time to within a round trip.
        db.pass_for_cutoffs(seconds(1)).await;
        Browser::logged_in(&sessions, "ada").await;
    }
}

async fn the_cut_off_is_the_moment_of_the_call_and_not_of_the_transaction(db: Db, path: Path) {
    let sessions = db.sessions().await;
    for what in ways() {
        let mut open = Tx::begin(&db).await;
        open.execute("select 1").await;
        let before = db.clock().await;
        path.revoke_in(&mut open, "", what).await;
        open.commit().await;
        let later = db
            .number(
                &format!("select count(*) from sessile.session_cutoffs where revoked_at >= timestamptz 'epoch' + {before} * interval '1 microsecond'"),
                &format!("select count(*) from session_cutoffs where revoked_at > {before}"),
            )
            .await;
        assert_eq!(later, 1, "{what:?}");
        db.pass_for_cutoffs(seconds(60)).await;
        Browser::logged_in(&sessions, "ada").await;
    }
}

/// Ends ada's sessions in a transaction that stays open.
async fn revoke(path: Path, db: &Db, what: What<'_>) -> Tx {
    let mut open = Tx::begin(db).await;
    path.revoke_in(&mut open, "", what).await;
    // Moves the revocation back by a second.
    open.run(
        "update sessile.session_cutoffs set revoked_at = revoked_at - interval '1 second'",
        "update session_cutoffs set revoked_at = revoked_at - 1000",
    )
    .await;
    open
}

/// A log-in of ada whose authentication began before the revocation was committed. On Postgres it waits for the commit
/// when this function returns; on SQLite it may come before or after.
async fn waiting_log_in(db: &Db, began: Instant) -> JoinHandle<Result<SessionId>> {
    let node = db.sessions().await;
    let log_in = tokio::spawn(async move {
        let session = Browser::default().open(&node).await;
        session.log_in("ada").authentication_began(began).await?;
        Ok(session.id().unwrap())
    });
    until_waiting(db, 1).await;
    log_in
}

async fn a_log_in_that_waits_is_refused_when_the_revocation_commits(db: Db, path: Path) {
    for what in ways() {
        // On SQLite nobody knows whether the log-in has begun to wait, so it began before the revocation.
        let before = Instant::now();
        let open = revoke(path, &db, what).await;
        let began = if db.is_postgres() { Instant::now() } else { before - seconds(2) };
        let log_in = waiting_log_in(&db, began).await;
        open.commit().await;
        let error = log_in.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LogInRefused, "{what:?}");
        assert_eq!(db.rows().await, 0, "{what:?}");
    }
}

async fn a_log_in_that_waits_succeeds_when_the_revocation_rolls_back(db: Db, path: Path) {
    let sessions = db.sessions().await;
    for what in ways() {
        let began = Instant::now();
        let open = revoke(path, &db, what).await;
        let log_in = waiting_log_in(&db, began).await;
        open.roll_back().await;
        let id = log_in.await.unwrap().unwrap();
        assert!(sessions.find(id).await.unwrap().is_some(), "{what:?}");
    }
    assert_eq!(db.rows().await, 3);
}

/// The log-in is admitted and about to write, and the revocation must see its row. The test holds the log-in by a lock
/// on its row. (On SQLite by a lock on the whole database: either may come first.)
async fn a_log_in_that_has_its_lock_does_not_survive_the_revocation_that_waits(db: Db, path: Path) {
    let sessions = db.sessions().await;
    for what in ways() {
        let (mut browser, _) = Browser::with(&sessions, "cart", "tea".into()).await;
        let mut lock = Tx::begin(&db).await;
        lock.run("select 1 from sessile.sessions for update", "select 1").await;
        let node = db.sessions().await;
        let log_in = tokio::spawn(async move {
            let session = browser.open(&node).await;
            let result = session.log_in("ada").await;
            browser.finish(&session).await;
            (result, browser)
        });
        until_waiting(&db, 1).await;
        let revocation = tokio::spawn({
            let (db, what) = (db.clone(), what);
            async move { path.revoke(&db, "", what).await }
        });
        until_waiting(&db, 2).await;
        lock.roll_back().await;

        let (result, browser) = log_in.await.unwrap();
        let ended = revocation.await.unwrap();
        if db.is_postgres() {
            result.unwrap();
            assert_eq!(ended, Some(1), "{what:?}");
        }
        assert_eq!(sessions.count_of_user("ada").await.unwrap(), 0, "{what:?}");
        assert_eq!(browser.open(&sessions).await.user_id(), None, "{what:?}");
        db.run("delete from sessile.sessions", "delete from sessions").await;
        db.pass_for_cutoffs(seconds(60)).await;
    }
}
