//! A store whose tables are distributed sends no statement that Citus refuses.

use std::time::Duration;

use serde_json::json;
use sessile::{
    ErrorKind, OnLimit, Sessions, minutes,
    store::{Backend, Store, postgres::PostgresStore},
};
use sqlx::{PgPool, postgres::PgPoolOptions, query, query_scalar};

use crate::support::{Browser, Db};

async fn one_connection(db: &Db) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(1).test_before_acquire(false);
    pool.connect(&db.url).await.unwrap()
}

/// The library's statements that are prepared on the connection.
async fn prepared(pool: &PgPool) -> Vec<String> {
    let statements =
        "select statement from pg_prepared_statements where statement like '%sessile.session%'";
    query_scalar(statements).fetch_all(pool).await.unwrap()
}

async fn every_verb(sessions: &Sessions, store: &PostgresStore) {
    let (mut browser, _) = Browser::with(sessions, "theme", json!("light")).await;
    let session = browser.open(sessions).await;
    session.begin_log_in().user("ada").await.unwrap();
    browser.finish(&session).await;
    let session = browser.open(sessions).await;
    session.complete_log_in().await.unwrap();
    browser.finish(&session).await;
    let (_, other) = Browser::logged_in(sessions, "ada").await;
    Browser::logged_in(sessions, "ada").await;
    let session = browser.open(sessions).await;
    session.insert("theme", "dark").unwrap();
    session.save().await.unwrap();
    session.reauthenticate().await.unwrap();
    browser.finish(&session).await;
    let session = browser.open(sessions).await;
    session.renew().await.unwrap();
    browser.finish(&session).await;
    let session = browser.open(sessions).await;
    assert_eq!(session.devices().await.unwrap().len(), 3);
    assert!(session.log_out_device(other).await.unwrap());
    assert_eq!(session.log_out_others().await.unwrap().ended, 1);
    browser.finish(&session).await;
    assert!(sessions.find(other).await.unwrap().is_none());
    assert_eq!(sessions.count().await.unwrap(), 1);
    assert_eq!(sessions.of_user("ada").await.unwrap().len(), 1);
    browser.open(sessions).await.log_out().await.unwrap();
    Browser::logged_in(sessions, "ada").await;
    assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 1);
    Browser::logged_in(sessions, "ada").await;
    assert_eq!(sessions.revoke_all().await.unwrap().ended, 1);
    sessions.sweep().await.unwrap();
    // Otherwise a backlog would be deleted by pages.
    let _ = store.survey().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_sends_only_what_citus_takes() {
    for is_distributed in [true, false] {
        let db =
            if is_distributed { Db::postgres_distributed().await } else { Db::postgres().await };
        let pool = one_connection(&db).await;
        let store = PostgresStore::new(pool.clone());
        let sessions = Sessions::builder(Backend::new(store.clone()))
            .sessions_per_user(100, OnLimit::EndOldest)
            .build()
            .unwrap();
        every_verb(&sessions, &store).await;
        let statements = prepared(&pool).await;
        assert!(statements.len() > 15, "{}", statements.len());
        let others: Vec<_> =
            statements.iter().filter(|text| text.contains("-- Not where")).collect();
        assert_eq!(others.is_empty(), is_distributed, "{others:#?}");
        let loads_by_shard =
            statements.iter().any(|text| text.contains("where id = any($1::uuid[])"));
        assert_eq!(loads_by_shard, is_distributed);
        assert_eq!(store.survey().await.unwrap().is_none(), is_distributed);
        pool.close().await;
        db.drop().await;
    }
}

/// No statement can skip the locked row there. The failed saves are tried again, and at some point without
/// that row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_saves_the_others_of_a_locked_row() {
    let db = Db::postgres_distributed().await;
    let store = PostgresStore::dedicated(one_connection(&db).await);
    let sessions =
        Sessions::builder(Backend::new(store)).deadline(Duration::from_secs(1)).build().unwrap();
    let (locked, id) = Browser::with(&sessions, "n", json!(0)).await;
    let mut free = Vec::new();
    for _ in 0..8 {
        free.push(Browser::with(&sessions, "n", json!(0)).await.0);
    }
    let own = PgPool::connect(&db.url).await.unwrap();
    let mut tx = own.begin().await.unwrap();
    let lock = "select 1 from sessile.sessions where id = $1 for update";
    query(lock).bind(id.as_uuid()).execute(&mut *tx).await.unwrap();

    let save = |browser: &Browser| {
        let (browser, sessions) = (browser.clone(), sessions.clone());
        tokio::spawn(async move {
            let session = browser.open(&sessions).await;
            session.insert("n", 1).unwrap();
            session.save().await
        })
    };
    let stuck = save(&locked);
    for saved in free.iter().map(save).collect::<Vec<_>>() {
        saved.await.unwrap().unwrap();
    }
    assert_eq!(stuck.await.unwrap().unwrap_err().kind(), ErrorKind::Contention);
    tx.rollback().await.unwrap();
    save(&locked).await.unwrap().unwrap();
    own.close().await;
    db.drop().await;
}

/// All touches are one statement. Without the locked row it succeeds for the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_touches_the_others_of_a_locked_row() {
    let db = Db::postgres_distributed().await;
    let sessions = db.sessions().await;
    let (locked, id) = Browser::with(&sessions, "n", json!(0)).await;
    let mut browsers = vec![locked];
    for _ in 0..8 {
        browsers.push(Browser::with(&sessions, "n", json!(0)).await.0);
    }
    db.pass(minutes(20)).await;
    let own = PgPool::connect(&db.url).await.unwrap();
    let mut tx = own.begin().await.unwrap();
    let lock = "select 1 from sessile.sessions where id = $1 for update";
    query(lock).bind(id.as_uuid()).execute(&mut *tx).await.unwrap();

    for browser in &mut browsers {
        let session = browser.open(&sessions).await;
        browser.finish(&session).await;
    }
    sessions.flush().await.unwrap();
    let touched =
        "select count(*) from sessile.sessions where last_seen_at > now() - interval '1 minute'";
    let touched: i64 = query_scalar(touched).fetch_one(&own).await.unwrap();
    assert_eq!(touched, 8);
    tx.rollback().await.unwrap();
    own.close().await;
    db.drop().await;
}
