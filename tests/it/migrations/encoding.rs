//! A database that cannot hold every text is refused at the start, not by the first emoji.

use std::sync::Arc;

use sessile::{ErrorKind, Sessions, store::Store, store::sqlite::SqliteStore};
use sqlx::{
    AssertSqlSafe, PgPool, SqlitePool, query_scalar, raw_sql, sqlite::SqliteConnectOptions,
};
use uuid::Uuid;

use crate::support::postgres_url;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_database_in_another_encoding_is_refused() {
    let admin = PgPool::connect(&postgres_url()).await.unwrap();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("sessile_test_{}", Uuid::now_v7().simple());
        let create =
            format!("create database {name} encoding '{encoding}' template template0 locale 'C'");
        raw_sql(AssertSqlSafe(create)).execute(&admin).await.unwrap();
        let url = format!("{}/{name}", postgres_url().rsplit_once('/').unwrap().0);
        let sessions = Sessions::builder(sessile::connect(&url).await.unwrap()).build().unwrap();

        let error = sessions.migrate().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Schema, "{error:?}");
        assert!(!error.is_transient());
        let text = error.to_string();
        for part in [encoding, &name, "encoding 'UTF8'"] {
            assert!(text.contains(part), "{text}");
        }
        let pool = PgPool::connect(&url).await.unwrap();
        let has_schema = "select exists (select from pg_namespace where nspname = 'sessile')";
        assert!(!query_scalar::<_, bool>(has_schema).fetch_one(&pool).await.unwrap());

        pool.close().await;
        let drop = format!("drop database {name} with (force)");
        raw_sql(AssertSqlSafe(drop)).execute(&admin).await.unwrap();
    }
    admin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_sqlite_file_in_utf_16_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for encoding in ["UTF-16le", "UTF-16be"] {
        let path = folder.path().join(format!("{encoding}.db"));
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let pool = SqlitePool::connect_with(options.pragma("encoding", format!("'{encoding}'")))
            .await
            .unwrap();
        raw_sql("create table orders (id integer)").execute(&pool).await.unwrap();

        // Opened by the library, and on the application's own pool: at the start, and without one.
        let url = format!("sqlite://{}", path.display());
        let store: Arc<dyn Store> = Arc::new(SqliteStore::new(pool.clone()));
        let visitor = || async {
            let sessions = Sessions::builder(pool.clone()).build().unwrap();
            let session = sessions.open([], sessile::Client::new()).await.unwrap();
            session.insert("a", 1).unwrap();
            (session.save().await, session.log_in("ada").await)
        };
        let (saved, logged_in) = visitor().await;
        let errors = [
            sessile::connect(&url).await.map(drop),
            Sessions::builder(pool.clone()).build().unwrap().migrate().await,
            store.load(&[Uuid::now_v7().into()]).await.map(drop),
            saved,
            logged_in,
        ];
        for error in errors {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Schema, "{error:?}");
            let text = error.to_string();
            for part in [encoding, "UTF-8", "a file of its own"] {
                assert!(text.contains(part), "{text}");
            }
        }
        let tables = "select count(*) from sqlite_schema";
        assert_eq!(query_scalar::<_, i64>(tables).fetch_one(&pool).await.unwrap(), 1);
        pool.close().await;
    }
}
