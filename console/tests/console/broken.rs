//! A database without tables, one that is gone, and one that refuses.

use std::time::Duration;

use axum::http::{Method, StatusCode, header::RETRY_AFTER};
use sessile_admin::Database;
use sessile_console::{Access, Console};

use crate::{
    browser::{BASE, Browser, ROUTES, UNANSWERED},
    pages::shows,
    support::{self, Db, log_in},
};

support::cases! {
    a_database_without_tables_is_explained,
    a_question_that_takes_too_long_is_explained,
}

const ID: &str = "0198c5ca-7b1e-7c3a-9f53-2f4de0c7a911";

/// The pages that ask the database.
fn asking() -> impl Iterator<Item = String> {
    let asks = |path: &&&str| !path.contains("nothing");
    ROUTES.iter().filter(asks).map(|path| path.replace("{id}", ID))
}

async fn a_database_without_tables_is_explained(db: Db) {
    let browser = Browser::of(&db).await;
    for path in asking() {
        let answer = browser.get(&path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        shows(&answer.body, &["<h1>No sessions here yet</h1>", "sessile migrate run", "</footer>"]);
    }
    db.sessions().await;
    for path in asking().filter(|path| path != "/" && path != "/live") {
        let answer = browser.get(&path).await;
        assert!(!answer.status.is_server_error(), "{path}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_is_explained() {
    let db = Db::postgres().await;
    db.sessions().await;
    let browser = Browser::of(&db).await;
    browser.page("/events").await;
    let name = db.url.rsplit('/').next().unwrap();
    server(&[
        &format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"),
        &format!("alter database {name} rename to {name}_gone"),
    ])
    .await;
    for path in asking() {
        let answer = browser.get(&path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", answer.body);
        shows(&answer.body, &["<h1>The database is down</h1>", "What to do:", "</footer>"]);
        assert!(answer.headers.contains_key(RETRY_AFTER));
        assert!(!answer.body.contains(&db.url) && !answer.body.contains("postgres://"));
    }
    server(&[&format!("alter database {name}_gone rename to {name}")]).await;
    shows(&browser.page("/events").await, &["No event fits"]);
    db.drop().await;
}

/// Nobody waits for a slow count: the page comes without figures, and the script asks for them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overview_waits_only_a_moment_for_the_database() {
    let db = Db::postgres().await;
    db.sessions().await;
    let browser = Browser::of(&db).await;
    let pool = sqlx::PgPool::connect(&db.url).await.unwrap();
    let mut locking = pool.begin().await.unwrap();
    sqlx::query("lock table sessile.sessions in access exclusive mode")
        .execute(&mut *locking)
        .await
        .unwrap();
    for path in ["/", "/live"] {
        let answer = browser.send(Method::GET, path, &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        shows(&answer.body, &[UNANSWERED, "data-again"]);
    }
    locking.rollback().await.unwrap();
    shows(&browser.page("/").await, &["Active sessions", "Newest events"]);
    pool.close().await;
    db.drop().await;
}

async fn a_question_that_takes_too_long_is_explained(db: Db) {
    db.sessions().await;
    let many = if db.is_postgres() {
        "insert into session_event_log (at, event) select now() - n * interval '1 ms', 'logged_in' from generate_series(1, 100000) as n"
    } else {
        "with recursive n(i) as (values (1) union all select i + 1 from n where i < 100000) insert into session_event_log (at, event) select {now} - i, 'logged_in' from n"
    };
    db.run(many).await;
    let database = Database::open(&db.url).await.unwrap().time_limit(Duration::from_millis(1));
    let guard = async |_| Ok(Access::full("grace"));
    let browser = Browser::new(Console::new(database, guard).base_path(BASE).router());
    let answer = browser.get("/events?actor=role:").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    shows(&answer.body, &["<h1>That took too long</h1>", "narrow the question"]);
}

/// The reader of docs/operations.md: the views, and no table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_views_sees_every_page_and_ends_nothing() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", "curl/8").await.to_string();
    let role = format!("reader_{}", uuid::Uuid::now_v7().simple());
    db.run(&format!("create role {role} login; grant usage on schema sessile to {role}; grant select on active_sessions, session_events, cleanup_runs to {role}")).await;
    let mut reader = db.clone();
    reader.url = db.url.replace("postgres@", &format!("{role}@"));
    let browser = Browser::of(&reader).await;
    for path in asking().map(|path| path.replace(ID, &id)) {
        let answer = browser.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    }
    shows(&browser.page("/").await, &["this database user may not read the table"]);
    for path in [format!("/session/{id}/end"), "/user/end?id=ada".to_owned(), "/end".to_owned()] {
        let answer = browser.submit(&path, &[("reason", "x"), ("words", "end all sessions")]).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        shows(&answer.body, &["<h1>The database refuses</h1>", "grant the right"]);
    }
    assert_eq!(sessions.count().await.unwrap(), 1);
    db.run(&format!("drop owned by {role}; drop role {role}")).await;
    db.drop().await;
}

async fn server(statements: &[&str]) {
    let pool = sqlx::PgPool::connect(&support::postgres_url()).await.unwrap();
    for statement in statements {
        sqlx::raw_sql(sqlx::AssertSqlSafe(*statement)).execute(&pool).await.unwrap();
    }
    pool.close().await;
}
