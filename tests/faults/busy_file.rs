//! Another program holds SQLite's lock.

use std::time::Duration;

use serde_json::json;
use sessile::{Sessions, minutes};
use sqlx::{Connection, SqliteConnection, SqlitePool};
use tokio::task::JoinSet;

use crate::{
    patience::{DEADLINE, LOG_IN_DEADLINE, SLACK, within},
    support::{Browser, Db, cases},
};

cases! {
    @sqlite [
        every_write_is_answered_in_time_and_reads_go_on
        every_write_on_the_applications_pool_is_answered_in_time
        a_writer_that_ends_in_time_is_waited_for
    ]
}

const AT_ONCE: Duration = Duration::from_millis(700);

async fn lock(db: &Db) -> SqliteConnection {
    let mut other = SqliteConnection::connect(&db.url).await.unwrap();
    sqlx::query("begin immediate").execute(&mut other).await.unwrap();
    other
}

async fn every_write_is_answered_in_time_and_reads_go_on(db: Db) {
    answered_in_time(&db, &db.sessions().await).await;
}

async fn every_write_on_the_applications_pool_is_answered_in_time(db: Db) {
    let pool = SqlitePool::connect(&db.url).await.unwrap();
    answered_in_time(&db, &Sessions::builder(pool).build().unwrap()).await;
}

async fn answered_in_time(db: &Db, sessions: &Sessions) {
    let mut users = Vec::new();
    for _ in 0..8 {
        let (browser, _) = Browser::logged_in(sessions, "ada").await;
        users.push((browser.open(sessions).await, browser));
    }
    db.pass(minutes(20)).await;
    let rows = db.rows().await;
    let other = lock(db).await;
    let mut writes = JoinSet::new();
    macro_rules! ask {
        ($name:literal, $limit:expr, $call:expr) => {
            writes.spawn(async move { ($name, within($limit + SLACK, $call).await.map(|_| ())) })
        };
    }
    let of = |i: usize| users[i].0.clone();
    let (a, b, c, d, e, f) = (of(0), of(1), of(2), of(3), of(4), of(5));
    let (new, nobody) =
        (Browser::default().open(sessions).await, Browser::default().open(sessions).await);
    ask!("update", DEADLINE, a.update("n", |n: &mut i64| *n += 1));
    ask!("renew", DEADLINE, b.renew());
    ask!("reauthenticate", DEADLINE, c.reauthenticate());
    ask!("log out", DEADLINE, d.log_out());
    ask!("log in", LOG_IN_DEADLINE, e.log_in("ada"));
    ask!("log out others", LOG_IN_DEADLINE, f.log_out_others());
    ask!("create", DEADLINE, new.update("n", |n: &mut i64| *n += 1));
    ask!("log in of nobody", LOG_IN_DEADLINE, nobody.log_in("bob"));
    let mut reads = JoinSet::new();
    for _ in 0..5 {
        for (_, browser) in &users {
            let (mut browser, sessions) = (browser.clone(), sessions.clone());
            reads.spawn(async move {
                within(AT_ONCE, async {
                    let session = browser.open(&sessions).await;
                    assert!(session.user_id().is_some());
                    browser.finish(&session).await;
                    assert_eq!(sessions.of_user("ada").await.unwrap().len(), 8);
                })
                .await;
            });
        }
        while let Some(read) = reads.join_next().await {
            read.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let unknown = |error: &sessile::Error| error.kind() == sessile::ErrorKind::OutcomeUnknown;
    let mut perhaps = 0;
    while let Some(write) = writes.join_next().await {
        let (name, answer) = write.unwrap();
        let error = answer.unwrap_err();
        perhaps += i64::from(unknown(&error));
        assert!(error.is_transient() || unknown(&error), "{name}: {error:?}");
    }
    within(DEADLINE + SLACK, sessions.flush()).await.ok();
    assert_eq!(db.rows().await, rows);
    other.close().await.unwrap();

    let (browser, _) = within(DEADLINE, Browser::logged_in(sessions, "new")).await;
    let session = browser.open(sessions).await;
    within(DEADLINE, session.update("n", |n: &mut i64| *n += 1)).await.unwrap();
    if perhaps == 0 {
        assert_eq!(db.rows().await, rows + 1);
    }
}

async fn a_writer_that_ends_in_time_is_waited_for(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "n", json!(0)).await;
    let session = browser.open(&sessions).await;
    let mut other = lock(&db).await;
    let update = tokio::spawn(async move { session.update("n", |n: &mut i64| *n += 1).await });
    let user = Browser::default().open(&sessions).await;
    let log_in = tokio::spawn(async move { user.log_in("ada").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!update.is_finished() && !log_in.is_finished());
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    within(AT_ONCE, update).await.unwrap().unwrap();
    within(AT_ONCE, log_in).await.unwrap().unwrap();
    assert_eq!(db.rows().await, 2);
}
