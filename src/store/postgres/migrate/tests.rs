use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, migrate::Migrate, query_scalar};

use super::*;

#[test]
fn the_checksum_is_crc_32() {
    // The check value of CRC-32/ISO-HDLC in the catalogue of CRC algorithms.
    assert_eq!(lock::crc32(b"123456789"), 0xcbf4_3926);
}

/// In tests/it this test would wait for a whole minute.
#[tokio::test]
async fn whoever_holds_the_lock_for_too_long_is_named() {
    let server =
        std::env::var("TEST_POSTGRES_URL").expect("the tests need a Postgres: run scripts/test");
    let mut admin = PgConnection::connect(&server).await.unwrap();
    let name = format!("sessile_test_{}", uuid::Uuid::now_v7().simple());
    let run = async |statement: String| {
        let mut admin = PgConnection::connect(&server).await.unwrap();
        raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
    };
    run(format!("create database {name}")).await;
    let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
    let pool = PgPool::connect(&url).await.unwrap();
    let mut holder =
        PgConnection::connect(&format!("{url}?application_name=deployment")).await.unwrap();
    holder.lock().await.unwrap();
    let pid: i32 = query_scalar("select pg_backend_pid()").fetch_one(&mut holder).await.unwrap();

    let error = migrate_within(&pool, Duration::from_millis(1)).await.unwrap_err();
    assert!(error.is_transient());
    let text = error.to_string();
    assert!(text.contains(&format!("backend {pid} (role ")), "{text}");
    assert!(text.contains("application_name \"deployment\""), "{text}");
    assert!(text.contains("sqlx migrate run"), "{text}");
    assert!(text.contains("a pooler"), "{text}");
    // The statement in the error helps.
    let (_, advice) = text.rsplit_once(": ").unwrap();
    assert_eq!(advice, format!("select pg_terminate_backend({pid})"));
    raw_sql(AssertSqlSafe(advice)).execute(&mut admin).await.unwrap();
    migrate_within(&pool, Duration::from_secs(60)).await.unwrap();
    pool.close().await;
    run(format!("drop database {name} with (force)")).await;
}
