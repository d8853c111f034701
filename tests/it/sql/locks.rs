//! On Postgres: which locks a revocation by SQL takes, and in which order.

use sessile::SessionId;
use sqlx::PgPool;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Path, What};
use crate::{
    support::{Browser, Db, Pool},
    tx::{Tx, until_waiting},
};

fn pool(db: &Db) -> &PgPool {
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    pool
}

fn revoke(db: &Db, what: What<'static>) -> JoinHandle<Option<u64>> {
    let db = db.clone();
    tokio::spawn(async move { Path::Sql.revoke(&db, "", what).await })
}

/// The statements that wait for a lock, each with the statements that it waits for.
async fn waits(db: &Db) -> Vec<(String, String)> {
    sqlx::query_as(
        "select waiting.query, holding.query
         from pg_stat_activity as waiting
             join pg_stat_activity as holding on holding.pid = any(pg_blocking_pids(waiting.pid))
             join pg_locks as l on l.pid = waiting.pid and not l.granted and l.locktype in ('transactionid', 'tuple')
         where waiting.datname = current_database()
         order by waiting.query_start",
    )
    .fetch_all(pool(db))
    .await
    .unwrap()
}

/// The cut-off's row is locked, as a log-in of ada's locks it. A revocation of anybody else does not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_waits_for_the_row_that_log_ins_lock() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let (_, ada) = Browser::logged_in(&sessions, "ada").await;
    Browser::logged_in(&sessions, "bob").await;
    let keep: SessionId = Uuid::now_v7().into();
    for (row, what, free) in [
        ("ada", What::User("ada"), What::User("bob")),
        ("ada", What::Others("ada", keep), What::All),
        ("", What::All, What::User("ada")),
    ] {
        let mut lock = Tx::begin(&db).await;
        let hold =
            format!("select 1 from sessile.session_cutoffs where user_id = '{row}' for share");
        lock.execute(&hold).await;
        let waiting = revoke(&db, what);
        until_waiting(&db, 1).await;
        let waits = waits(&db).await;
        assert_eq!(waits.len(), 1, "{waits:?}");
        assert!(waits[0].0.contains("sessile.revoke_") && waits[0].1 == hold, "{waits:?}");
        // It holds no session yet.
        let free_rows = "select id from sessile.sessions for update skip locked";
        assert_eq!(lock.execute(free_rows).await, db.rows().await.unsigned_abs(), "{what:?}");
        lock.roll_back().await;
        waiting.await.unwrap();

        let mut lock = Tx::begin(&db).await;
        lock.execute(&hold).await;
        Path::Sql.revoke(&db, "", free).await;
        // A single session needs no cut-off.
        Path::Sql.revoke(&db, "", What::One(ada)).await;
        lock.roll_back().await;
        db.pass_for_cutoffs(sessile::seconds(60)).await;
        Browser::logged_in(&sessions, "ada").await;
        Browser::logged_in(&sessions, "bob").await;
    }
    db.drop().await;
}

/// A user's revocation has deleted rows in an order of its own. So one of everybody waits before it deletes any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_of_everybody_waits_for_those_of_users_before_it_holds_any_session() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    for path in [Path::Library, Path::Sql] {
        for user in ["bob", "ada", "bob"] {
            Browser::logged_in(&sessions, user).await;
        }
        let mut users = Tx::begin(&db).await;
        match path {
            Path::Library => drop(users.revoke_user("ada").await.unwrap()),
            Path::Sql => drop(users.execute("select sessile.revoke_user('ada', 'test')").await),
        }
        let all = {
            let db = db.clone();
            tokio::spawn(async move { path.revoke(&db, "", What::All).await })
        };
        until_waiting(&db, 1).await;
        let free_rows =
            "select id from sessile.sessions where user_id = 'bob' for update skip locked";
        assert_eq!(users.execute(free_rows).await, 2, "{path:?}");
        users.commit().await;
        assert_eq!(all.await.unwrap(), Some(2), "{path:?}");
    }
    db.drop().await;
}

/// A revocation that waits for a session's row holds the cut-off, so a log-in waits behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_waits_behind_a_revocation_that_waits_for_a_session() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    for what in [What::User("ada"), What::Others("ada", Uuid::now_v7().into()), What::All] {
        let (browser, id) = Browser::logged_in(&sessions, "ada").await;
        let early = Browser::default().open(&sessions).await;
        let mut lock = Tx::begin(&db).await;
        lock.execute("select 1 from sessile.sessions for update").await;
        let revocation = revoke(&db, what);
        until_waiting(&db, 1).await;
        let log_in = tokio::spawn(async move { early.log_in("ada").await });
        until_waiting(&db, 2).await;
        let waits = waits(&db).await;
        let behind = |(waiting, holding): &(String, String)| {
            !waiting.contains("sessile.revoke_") && holding.contains("sessile.revoke_")
        };
        assert!(waits.iter().any(behind), "{waits:?}");
        lock.roll_back().await;
        assert_eq!(revocation.await.unwrap(), Some(1), "{id}");
        log_in.await.unwrap().unwrap_err();
        assert!(!browser.is_in(&sessions).await);
        db.pass_for_cutoffs(sessile::seconds(60)).await;
    }
    db.drop().await;
}
