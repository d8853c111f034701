//! Log-ins that wait for an application's transaction.

use std::time::Duration;

use serde_json::json;
use sessile::{ErrorKind, Sessions, store::postgres as in_tx};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::task::JoinSet;

use crate::{
    patience::{LOG_IN_DEADLINE, SLACK, failed, failed_for_now, soon, within},
    support::{Browser, Db, cases},
};

cases! {
    @postgres [
        log_ins_that_wait_for_a_revocation_hold_up_nobody_else
        a_log_in_within_the_transaction_that_it_waits_for_is_told_so
    ]
}

async fn waiting_for_locks(db: &Db) -> i64 {
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    db.number(waiting, "").await
}

async fn have_waited_for_two_seconds(db: &Db) -> bool {
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query_start < now() - interval '2 seconds'";
    db.number(waiting, "").await > 0
}

fn log_in_often(log_ins: &mut JoinSet<sessile::Result<()>>, sessions: &Sessions) {
    for _ in 0..50 {
        let sessions = sessions.clone();
        log_ins.spawn(async move {
            let session = Browser::default().open(&sessions).await;
            within(LOG_IN_DEADLINE + SLACK, session.log_in("ada")).await
        });
    }
}

async fn log_ins_that_wait_for_a_revocation_hold_up_nobody_else(db: Db) {
    let own = PgPool::connect(&db.url).await.unwrap();
    for sessions in [db.sessions().await, Sessions::builder(own).build().unwrap()] {
        let mut psql = PgConnection::connect(&db.url).await.unwrap();
        let mut tx = psql.begin().await.unwrap();
        in_tx::revoke_user(&mut tx, sessions.realm(), "ada").await.unwrap();

        let (bob, _) = Browser::with(&sessions, "n", json!(0)).await;
        let mut log_ins = JoinSet::new();
        log_in_often(&mut log_ins, &sessions);
        // And log-ins whose clients have gone.
        for _ in 0..50 {
            let session = Browser::default().open(&sessions).await;
            let given_up =
                tokio::time::timeout(Duration::from_millis(1), session.log_in("ada").into_future());
            assert!(given_up.await.is_err());
        }
        soon(LOG_IN_DEADLINE, async || waiting_for_locks(&db).await > 2).await;
        for _ in 0..20 {
            within(Duration::from_secs(1), async {
                let session = bob.open(&sessions).await;
                session.update("n", |n: &mut i64| *n += 1).await.unwrap();
            })
            .await;
        }
        // These get their connections when the first ones give up.
        soon(LOG_IN_DEADLINE, async || have_waited_for_two_seconds(&db).await).await;
        log_in_often(&mut log_ins, &sessions);
        // Log-ins of other users wait too, as long as there is room.
        let mut told = 0;
        while let Some(answer) = log_ins.join_next().await {
            let error = failed_for_now(answer.unwrap());
            let source = std::error::Error::source(&error).map(ToString::to_string);
            told += u32::from(error.kind() == ErrorKind::Contention);
            let says = error.to_string();
            assert!(says.contains("nothing was done"), "{says}: {source:?}");
        }
        assert!(told > 0, "some of them waited for the lock");

        soon(LOG_IN_DEADLINE, async || waiting_for_locks(&db).await == 0).await;
        tx.commit().await.unwrap();
        let (browser, _) = Browser::logged_in(&sessions, "ada").await;
        assert_eq!(browser.open(&sessions).await.user_id().as_deref(), Some("ada"));
        assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 1);
    }
}

async fn a_log_in_within_the_transaction_that_it_waits_for_is_told_so(db: Db) {
    let pool = PgPoolOptions::new().max_connections(4).connect(&db.url).await.unwrap();
    let sessions = Sessions::builder(pool.clone()).build().unwrap();
    let session = Browser::default().open(&sessions).await;
    let mut tx = pool.begin().await.unwrap();
    let revocation = in_tx::revoke_user(&mut tx, sessions.realm(), "ada").await.unwrap();
    let log_in = session.log_in("ada").after(&revocation);
    let error = failed(within(LOG_IN_DEADLINE + SLACK, log_in).await, ErrorKind::Contention);
    assert!(error.to_string().contains("commit it before the log-in"), "{error}");
    assert_eq!(waiting_for_locks(&db).await, 0);
    tx.commit().await.unwrap();
    session.log_in("ada").after(&revocation).await.unwrap();
    drop(session);
    within(SLACK, pool.close()).await;
}
