//! On Postgres: one migrator at a time, sqlx's own included, and no lock stays behind.

use sessile::{Sessions, store::postgres::PostgresStore};
use sqlx::{
    Connection, PgConnection,
    migrate::{Migrate, Migrator},
    postgres::PgPoolOptions,
    query, query_scalar,
};

use super::{until, works};
use crate::support::{Db, Pool};

/// How many transactions hold the migrations' lock, or wait for it.
async fn locks(db: &Db) -> i64 {
    let locks = "select count(*) from pg_locks where locktype = 'advisory'
        and database = (select oid from pg_database where datname = current_database())";
    db.number(locks, "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_does_not_stay_behind_on_the_applications_pool() {
    let db = Db::empty_postgres().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&db.url).await.unwrap();
    let backend = sessile::store::Backend::new(PostgresStore::new(pool.clone()));
    let sessions = Sessions::builder(backend).build().unwrap();
    sessions.migrate().await.unwrap();
    assert_eq!(locks(&db).await, 0);
    // The same after a migration that fails.
    db.run("drop schema sessile cascade", "").await;
    db.run("create schema sessile", "").await;
    db.run("create table sessile.session_cutoffs (mine text)", "").await;
    sessions.migrate().await.unwrap_err();
    assert_eq!(locks(&db).await, 0);
    // The application's own migrations, on a connection outside the pool.
    let applications = Migrator::with_migrations(Vec::new());
    let Pool::Postgres(other) = &db.pool else { unreachable!() };
    applications.run(other).await.unwrap();
    pool.close().await;
    db.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlxs_own_migrator_is_waited_for() {
    let db = Db::empty_postgres().await;
    let mut other = PgConnection::connect(&db.url).await.unwrap();
    other.lock().await.unwrap();
    let sessions = db.sessions().await;
    let node = sessions.clone();
    let migration = tokio::spawn(async move { node.migrate().await });
    // For longer than Postgres takes to look for a deadlock, because it would end one of the two.
    let waits = "select count(*) from pg_stat_activity where datname = current_database()
        and application_name = 'sessile' and (query = 'ROLLBACK' or query like '%advisory%')
        and now() - backend_start > interval '1.5 seconds'";
    until("it waits for the lock", async || db.number(waits, "").await > 0).await;
    // The other transaction can run a statement that waits for all open transactions.
    query("create table mine (id integer)").execute(&mut other).await.unwrap();
    query("create index concurrently on mine (id)").execute(&mut other).await.unwrap();
    let has_schema: bool = query_scalar("select to_regnamespace('sessile') is not null")
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert!(!has_schema && !migration.is_finished());
    other.unlock().await.unwrap();
    migration.await.unwrap().unwrap();
    works(&sessions).await;
    other.close().await.unwrap();
    db.drop().await;
}

/// sqlx-cli creates the schema before it takes the lock. And the role's statements have a time-out, but its
/// migrations have none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_sqlx_cli_makes_at_the_same_moment_is_waited_for() {
    let db = Db::empty_postgres().await;
    let mut other = PgConnection::connect(&db.url).await.unwrap();
    let mut tx = other.begin().await.unwrap();
    query("create schema sessile").execute(&mut *tx).await.unwrap();
    let url = format!("{}?options=-c%20statement_timeout%3D200", db.url);
    let sessions = Sessions::builder(sessile::connect(&url).await.unwrap()).build().unwrap();
    let node = sessions.clone();
    let migration = tokio::spawn(async move { node.migrate().await });
    let waits = "select count(*) from pg_stat_activity where datname = current_database()
        and query = 'create schema sessile' and now() - query_start > interval '300 milliseconds'
        and wait_event_type = 'Lock'";
    until("it waits", async || db.number(waits, "").await > 0).await;
    tx.commit().await.unwrap();
    migration.await.unwrap().unwrap();
    works(&sessions).await;
    other.close().await.unwrap();
    db.drop().await;
}
