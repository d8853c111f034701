//! Revocations in the application's own transaction, and under load.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use serde_json::json;
use sessile::{ErrorKind, store::postgres as in_tx};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use crate::{
    patience::failed,
    support::{Browser, Db, cases},
};

cases! {
    @postgres [
        a_revocation_at_another_isolation_level_is_refused_before_anything_is_done
        everybody_is_revoked_while_batches_are_saved
    ]
}

async fn a_revocation_at_another_isolation_level_is_refused_before_anything_is_done(db: Db) {
    let sessions = db.sessions().await;
    let (_, id) = Browser::logged_in(&sessions, "ada").await;
    let realm = sessions.realm();
    let mut psql = PgConnection::connect(&db.url).await.unwrap();
    for level in ["repeatable read", "serializable"] {
        let begin = sqlx::AssertSqlSafe(format!("begin isolation level {level}"));
        sqlx::query(begin).execute(&mut psql).await.unwrap();
        failed(in_tx::revoke_all(&mut psql, realm).await, ErrorKind::Configuration);
        failed(in_tx::revoke_user(&mut psql, realm, "ada").await, ErrorKind::Configuration);
        let others = in_tx::revoke_others(&mut psql, realm, "ada", id).await;
        let error = failed(others, ErrorKind::Configuration);
        assert!(error.to_string().contains("read committed"), "{error}");
        // The transaction continues, and its commit changes nothing.
        sqlx::query("commit").execute(&mut psql).await.unwrap();
        assert_eq!(db.rows().await, 1);
        let cutoffs = "select count(*) from sessile.session_cutoffs where revoked_at is not null";
        assert_eq!(db.number(cutoffs, "").await, 0);
    }
    // If repeatable read is the default, the library's own transactions still work.
    let name = db.url.rsplit_once('/').unwrap().1;
    let default = "default_transaction_isolation = 'repeatable read'";
    db.run(&format!("alter database {name} set {default}"), "").await;
    let sessions = db.sessions().await;
    assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 1);
    Browser::logged_in(&sessions, "ada").await;
    assert_eq!(sessions.revoke_all().await.unwrap().ended, 1);
}

/// The number of rows and rounds; `FAULTS_ROWS` and `FAULTS_ROUNDS` raise them.
fn size(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |size| size.parse().unwrap())
}

async fn everybody_is_revoked_while_batches_are_saved(db: Db) {
    let (rows, rounds) = (size("FAULTS_ROWS", 1_000), size("FAULTS_ROUNDS", 3));
    let sessions = db.sessions().await;
    let mut slowest = std::time::Duration::ZERO;
    for round in 0..rounds {
        // Rows with the secret of one browser each, created concurrently.
        let mut making = JoinSet::new();
        for _ in 0..256 {
            let sessions = sessions.clone();
            making.spawn(async move {
                let (browser, _) = Browser::with(&sessions, "n", json!(0)).await;
                browser.open(&sessions).await
            });
        }
        let all = making.join_all().await;
        let copies = format!(
            "insert into sessile.sessions (id, realm, secret_hash, data, revision, created_at, last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at)
             select gen_random_uuid(), realm, secret_hash, data, revision, created_at, last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at
             from (select * from sessile.sessions limit 1) as one, generate_series(1, {})",
            rows.saturating_sub(256)
        );
        db.run(&copies, "").await;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for session in all {
            let is_over = is_over.clone();
            writers.spawn(async move {
                while !is_over.load(SeqCst) {
                    if let Err(error) = session.update("n", |n: &mut i64| *n += 1).await {
                        assert!(
                            matches!(error.kind(), ErrorKind::SessionEnded | ErrorKind::Contention),
                            "{error:?}"
                        );
                        return;
                    }
                }
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let begun = std::time::Instant::now();
        let revocation = sessions.revoke_all().await;
        slowest = slowest.max(begun.elapsed());
        is_over.store(true, SeqCst);
        let ended = revocation.unwrap_or_else(|error| panic!("round {round}: {error:?}")).ended;
        assert_eq!(ended as usize, rows.max(256));
        while let Some(writer) = writers.join_next().await {
            writer.unwrap();
        }
        assert_eq!(db.rows().await, 0);
    }
    println!("{rounds} rounds of {rows} rows, the slowest {slowest:?}");
}
