//! The application's migrations and sessile's, in one database and in either order.

use sessile::{Client, Sessions};
use sqlx::PgPool;

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

#[sqlx::test(migrations = false)]
async fn migrated_before_sessile(pool: PgPool) -> Result {
    let sessions = Sessions::builder(pool.clone()).build()?;
    host::migrate(&pool).await?;
    sessions.migrate().await?;
    both_work(pool, sessions).await
}

#[sqlx::test(migrations = false)]
async fn migrated_after_sessile(pool: PgPool) -> Result {
    let sessions = Sessions::builder(pool.clone()).build()?;
    sessions.migrate().await?;
    host::migrate(&pool).await?;
    both_work(pool, sessions).await
}

async fn both_work(pool: PgPool, sessions: Sessions) -> Result {
    let (_, created_at) = host::order(&pool, "tea").await?;
    assert_eq!(host::orders_since(&pool, created_at).await?, ["tea"]);

    let session = sessions.open(None, Client::default()).await?;
    session.insert("cart", vec![1, 2])?;
    session.save().await?;
    let id = session.id().expect("it has been saved");
    assert!(sessions.find(id).await?.is_some());

    // Each ledger has only its own migrations, and a second run finds nothing to do.
    for _ in 0..2 {
        assert_eq!(versions(&pool, "public._sqlx_migrations").await?, [1]);
        let theirs = versions(&pool, "sessile._sqlx_migrations").await?;
        assert!(!theirs.is_empty() && !theirs.contains(&1), "{theirs:?}");
        host::migrate(&pool).await?;
        sessions.migrate().await?;
    }
    Ok(())
}

async fn versions(pool: &PgPool, ledger: &str) -> sqlx::Result<Vec<i64>> {
    let statement = format!("select version from {ledger} order by version");
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_all(pool).await
}
