//! Rows that a forgotten transaction has locked.

use std::time::Duration;

use serde_json::json;
use sessile::{ErrorKind, Schedule, SessionId, Sessions, minutes};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::{
    patience::{DEADLINE, SLACK, failed, soon, within},
    support::{Browser, Db, cases},
};

cases! {
    @postgres [
        a_locked_row_holds_up_nobody_else
        a_locked_row_holds_up_nobody_else_on_the_applications_pool
        a_locked_row_holds_up_nobody_else_where_lock_timeout_is_short
        a_write_waits_for_a_lock_that_goes_in_time
        a_log_out_that_nobody_waits_for_is_made_when_the_lock_goes
        neither_a_flush_nor_the_end_of_the_cleanup_waits_for_a_lock
        a_log_out_of_others_goes_by_their_devices_of_which_one_is_locked
    ]
}

/// At once, with some time for a busy machine.
const AT_ONCE: Duration = Duration::from_millis(1_400);

/// Locks the rows until the transaction is rolled back, or dropped.
async fn lock(db: &Db, ids: &[SessionId]) -> PgConnection {
    let mut psql = PgConnection::connect(&db.url).await.unwrap();
    sqlx::query("begin").execute(&mut psql).await.unwrap();
    for id in ids {
        let row = format!("select 1 from sessile.sessions where id = '{id}' for update");
        sqlx::query(AssertSqlSafe(row)).execute(&mut psql).await.unwrap();
    }
    psql
}

async fn roll_back(mut psql: PgConnection) {
    sqlx::query("rollback").execute(&mut psql).await.unwrap();
    psql.close().await.unwrap();
}

async fn anybodys(sessions: &Sessions, how_many: usize) -> Vec<(Browser, SessionId)> {
    let mut all = Vec::new();
    for _ in 0..how_many {
        all.push(Browser::with(sessions, "n", json!(0)).await);
    }
    all
}

async fn seen_lately(db: &Db) -> i64 {
    let seen =
        "select count(*) from sessile.sessions where last_seen_at > now() - interval '1 minute'";
    db.number(seen, "").await
}

async fn a_locked_row_holds_up_nobody_else(db: Db) {
    others_go_on(&db, &db.sessions().await).await;
}

async fn a_locked_row_holds_up_nobody_else_on_the_applications_pool(db: Db) {
    let pool = PgPool::connect(&db.url).await.unwrap();
    others_go_on(&db, &Sessions::builder(pool.clone()).build().unwrap()).await;
    within(AT_ONCE, pool.close()).await;
}

async fn a_locked_row_holds_up_nobody_else_where_lock_timeout_is_short(db: Db) {
    let name = db.url.rsplit_once('/').unwrap().1;
    db.run(&format!("alter database {name} set lock_timeout = '20ms'"), "").await;
    let pool = PgPool::connect(&db.url).await.unwrap();
    others_go_on(&db, &Sessions::builder(pool.clone()).build().unwrap()).await;
    within(AT_ONCE, pool.close()).await;
}

async fn others_go_on(db: &Db, sessions: &Sessions) {
    let all = anybodys(sessions, 40).await;
    let locked = all[20].1;
    db.pass(minutes(20)).await;
    let psql = lock(db, &[locked]).await;

    // Requests that only read.
    for (browser, _) in &all {
        let mut browser = browser.clone();
        within(AT_ONCE, async {
            let session = browser.open(sessions).await;
            assert!(session.id().is_some());
            browser.finish(&session).await;
        })
        .await;
    }
    within(DEADLINE + SLACK, sessions.flush()).await.unwrap();
    assert_eq!(seen_lately(db).await, 39, "all but the locked one");

    // Requests that write, all at once: most of them share a statement.
    for round in 0..2 {
        let mut writes = JoinSet::new();
        for (browser, id) in all.clone() {
            let session = browser.open(sessions).await;
            writes.spawn(async move {
                let write = session.update("n", |n: &mut i64| *n += 1);
                match id == locked {
                    true => {
                        failed(within(DEADLINE + SLACK, write).await, ErrorKind::Contention);
                    }
                    false => within(AT_ONCE, write).await.unwrap(),
                }
            });
        }
        while let Some(done) = writes.join_next().await {
            done.unwrap();
        }
        let sum = "select sum((data ->> 'n')::int)::bigint from sessile.sessions";
        assert_eq!(db.number(sum, "").await, 39 * (round + 1), "nothing of the locked one");
    }

    // Log-outs, all at once.
    let mut ends = JoinSet::new();
    for (browser, id) in all.clone() {
        let session = browser.open(sessions).await;
        ends.spawn(async move {
            match id == locked {
                true => {
                    let end = within(DEADLINE + SLACK, session.log_out()).await;
                    failed(end, ErrorKind::Contention);
                }
                false => assert_eq!(within(AT_ONCE, session.log_out()).await.unwrap().ended, 1),
            }
        });
    }
    while let Some(done) = ends.join_next().await {
        done.unwrap();
    }
    assert_eq!(db.rows().await, 1);

    roll_back(psql).await;
    let session = all[20].0.open(sessions).await;
    session.update("n", |n: &mut i64| *n += 1).await.unwrap();
    session.log_out().await.unwrap();
    assert_eq!(db.rows().await, 0);
}

async fn a_write_waits_for_a_lock_that_goes_in_time(db: Db) {
    let sessions = db.sessions().await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    let psql = lock(&db, &[id]).await;
    let writes = [0, 1, 2].map(|which| {
        let (sessions, browser) = (sessions.clone(), browser.clone());
        tokio::spawn(async move {
            let session = browser.open(&sessions).await;
            match which {
                0 => session.update("n", |n: &mut i64| *n += 1).await,
                1 => session.update("m", |m: &mut i64| *m += 1).await,
                _ => sessions.revoke(id).await.map(drop),
            }
        })
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(writes.iter().all(|write| !write.is_finished()));
    roll_back(psql).await;
    for write in writes {
        let written = within(AT_ONCE, write).await.unwrap();
        // Either may have come first.
        assert!(written.is_ok_and(|()| true) || db.rows().await == 0);
    }
    assert_eq!(db.rows().await, 0);
}

async fn a_log_out_that_nobody_waits_for_is_made_when_the_lock_goes(db: Db) {
    let sessions = db.sessions().await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    let psql = lock(&db, &[id]).await;
    let given_up = tokio::time::timeout(Duration::from_millis(100), session.log_out()).await;
    assert!(given_up.is_err());
    drop(session);
    assert_eq!(db.rows().await, 1);
    roll_back(psql).await;
    soon(DEADLINE, async || db.rows().await == 0).await;
}

async fn neither_a_flush_nor_the_end_of_the_cleanup_waits_for_a_lock(db: Db) {
    let sessions = db.sessions().await;
    let all = anybodys(&sessions, 3).await;
    db.pass(minutes(20)).await;
    let cleanup = sessions.spawn_cleanup(Schedule::every(minutes(60)));
    // Not only a row, but the whole table.
    let mut psql = PgConnection::connect(&db.url).await.unwrap();
    for (browser, _) in &all {
        let session = browser.open(&sessions).await;
        session.finish().await.unwrap();
    }
    sqlx::query("begin").execute(&mut psql).await.unwrap();
    sqlx::query("lock table sessile.sessions in share mode").execute(&mut psql).await.unwrap();
    within(DEADLINE + SLACK, sessions.flush()).await.unwrap_err();
    let session = all[0].0.open(&sessions).await;
    session.finish().await.unwrap();
    within(DEADLINE + SLACK, cleanup.stop()).await;
    roll_back(psql).await;
    let session = all[0].0.open(&sessions).await;
    session.finish().await.unwrap();
    sessions.flush().await.unwrap();
    assert!(seen_lately(&db).await >= 1);
}

async fn a_log_out_of_others_goes_by_their_devices_of_which_one_is_locked(db: Db) {
    let sessions = db.sessions().await;
    let (_, phone) = Browser::logged_in(&sessions, "ada").await;
    let (laptop, id) = Browser::logged_in(&sessions, "ada").await;
    let session = laptop.open(&sessions).await;
    let psql = lock(&db, &[phone]).await;
    // Each call gets an answer, and no session has ended by halves.
    let error = within(crate::patience::LOG_IN_DEADLINE + SLACK, session.log_out_others()).await;
    failed(error, ErrorKind::Contention);
    assert_eq!(db.rows().await, 2);
    roll_back(psql).await;
    session.log_out_others().await.unwrap();
    assert_eq!(sessions.of_user("ada").await.unwrap()[0].id, id);
    assert_eq!(db.rows().await, 1);
}
