//! The databases that `sessile::connect` opens, and connections that die.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use sessile::{
    Client, ErrorKind, Realm, Sessions,
    store::{NewSession, Store, Timeouts},
};
use sqlx::{SqlitePool, query_scalar};
use uuid::Uuid;

use crate::support::{Browser, Db, Pool};

#[tokio::test]
async fn a_url_of_another_kind_is_refused_without_showing_it() {
    for url in ["mysql://user:hunter2@host/db", "hunter2", ""] {
        let error = sessile::connect(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{url}");
        assert_eq!(
            error.to_string(),
            "the database URL has to begin with postgres:// or sqlite://"
        );
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

/// No server answers on port 1. The test only checks that the call does not hang.
#[tokio::test]
async fn a_server_that_is_not_there_is_a_transient_error_after_seconds() {
    let begun = Instant::now();
    let error = sessile::connect("postgres://postgres@127.0.0.1:1/none").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Database);
    assert!(error.is_transient(), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_sqlite_file_is_private_and_in_wal_mode() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let url = format!("sqlite://{}", path.display());
    let sessions = Sessions::builder(sessile::connect(&url).await.unwrap()).build().unwrap();
    sessions.migrate().await.unwrap();
    Browser::with(&sessions, "a", json!(1)).await;
    for suffix in ["", "-wal", "-shm"] {
        let file = std::fs::metadata(format!("{}{suffix}", path.display())).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{suffix}");
    }
    let pool = SqlitePool::connect(&url).await.unwrap();
    let mode: String = query_scalar("pragma journal_mode").fetch_one(&pool).await.unwrap();
    assert_eq!(mode, "wal");
    assert!(sessile::connect(&url).await.is_ok(), "a file that is there is opened");
}

/// SQLite's own checkpoint would stop the writer. Here it would come only after 16,000 pages.
#[tokio::test]
async fn the_log_is_carried_into_the_file_beside_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let store: Arc<dyn Store> =
        sessile::connect(&format!("sqlite://{}", path.display())).await.unwrap().into();
    store.migrate().await.unwrap();
    let size = || std::fs::metadata(&path).unwrap().len();
    let before = size();
    let sessions: Vec<NewSession> = (0..1_000).map(|_| new_session()).collect();
    store.create(&sessions[..999]).await.unwrap();
    assert_eq!(size(), before, "it is not time");
    store.create(&sessions[999..]).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while size() < before + 300_000 {
        assert!(Instant::now() < deadline, "{} bytes", size());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn new_session() -> NewSession {
    NewSession {
        id: Uuid::now_v7().into(),
        realm: Realm::default(),
        secret_hash: [0; 32].into(),
        data: "x".repeat(300),
        timeouts: Timeouts::new(3600, 86_400),
        client: Client::new(),
        pending: None,
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let error = sessile::connect("sqlite:///no/such/folder/sessions.db").await.unwrap_err();
    assert!(error.to_string().contains("/no/such/folder/sessions.db"), "{error}");
}

#[tokio::test]
async fn a_database_in_memory_works() {
    let sessions =
        Sessions::builder(sessile::connect("sqlite::memory:").await.unwrap()).build().unwrap();
    sessions.migrate().await.unwrap();
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    assert_eq!(browser.open(&sessions).await.user_id().as_deref(), Some("ada"));
}

/// As after a restart of the server between two requests: every connection of the pool is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_connections_cost_no_request() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    for round in 0..5 {
        let opens = (0..20).map(|_| {
            let (browser, sessions) = (browser.clone(), sessions.clone());
            tokio::spawn(async move { browser.is_in(&sessions).await })
        });
        for open in opens.collect::<Vec<_>>() {
            assert!(open.await.unwrap());
        }
        let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                    where datname = current_database() and application_name = 'sessile'";
        let killed: i64 = query_scalar(kill).fetch_one(pool).await.unwrap();
        assert!(killed > 0, "round {round}");
        assert_eq!(browser.open(&sessions).await.id(), Some(id), "round {round}");
        let session = browser.open(&sessions).await;
        session.insert("round", round).unwrap();
        session.save().await.unwrap();
    }
    db.drop().await;
}

/// A trigger reports a deadlock for the first statement, or for all. Its sequence counts on even if the
/// statement is rolled back.
#[tokio::test]
async fn what_lost_a_deadlock_runs_again() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "a", json!(1)).await;
    let lose = async |statements: i64| {
        let trigger = format!(
            "create sequence if not exists lost; select setval('lost', 1, false);
             create or replace function lose() returns trigger language plpgsql as $$ begin
                 if nextval('lost') <= {statements} then
                     raise exception 'deadlock detected' using errcode = '40P01';
                 end if;
                 return new;
             end $$;
             create or replace trigger lose before insert or update on sessile.sessions
                 for each row execute function lose()"
        );
        let Pool::Postgres(pool) = &db.pool else { unreachable!() };
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger)).execute(pool).await.unwrap();
    };

    lose(1).await;
    let session = browser.open(&sessions).await;
    session.insert("b", 2).unwrap();
    session.save().await.unwrap();
    lose(1).await;
    Browser::with(&sessions, "c", json!(3)).await;
    lose(1).await;
    Browser::logged_in(&sessions, "ada").await;

    lose(100).await;
    session.insert("b", 3).unwrap();
    let error = session.save().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    db.drop().await;
}

/// The name that an operator sees in `pg_stat_activity`.
#[tokio::test]
async fn the_name_that_a_url_gives_is_kept() {
    let db = Db::postgres().await;
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    for (parameters, name) in [("", "sessile"), ("?application_name=shop", "shop")] {
        let url = format!("{}{parameters}", db.url);
        let _backend = sessile::connect(&url).await.unwrap();
        let here = "select count(*) from pg_stat_activity where datname = current_database() and application_name = $1";
        let connections: i64 = query_scalar(here).bind(name).fetch_one(pool).await.unwrap();
        assert_eq!(connections, 1, "{name}");
    }
    db.drop().await;
}

#[tokio::test]
async fn a_url_that_only_opens_a_file_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    for mode in ["ro", "rw"] {
        let url = format!("sqlite://{}?mode={mode}", path.display());
        assert_eq!(sessile::connect(&url).await.unwrap_err().kind(), ErrorKind::Database);
        assert!(!path.exists(), "{mode}");
    }
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let sessions = Sessions::builder(sessile::connect(&url).await.unwrap()).build().unwrap();
    sessions.migrate().await.unwrap();
    let (browser, _) = Browser::with(&sessions, "a", json!(1)).await;
    let url = format!("sqlite://{}?mode=ro", path.display());
    let reads = Sessions::builder(sessile::connect(&url).await.unwrap()).build().unwrap();
    assert!(browser.is_in(&reads).await);
}

/// A request waits for the lock of a whole table no longer than for anything else.
#[tokio::test]
async fn a_table_that_is_locked_is_waited_for_within_bounds() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    let mut tx = pool.begin().await.unwrap();
    sqlx::raw_sql("lock table sessile.sessions").execute(&mut *tx).await.unwrap();
    let error = browser.try_open(&sessions).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Contention);
    let waiting: i64 = query_scalar("select count(*) from pg_locks join pg_stat_activity using (pid) where not granted and datname = current_database()")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(waiting, 0, "nobody is left behind");
    tx.rollback().await.unwrap();
    assert!(browser.is_in(&sessions).await);
    db.drop().await;
}

/// A pooler that gives one client's prepared statement to another does not compare them. The server refuses
/// parameters of other types. So no statement that writes has the same parameters as another statement.
#[test]
fn no_statement_that_writes_can_be_taken_for_another_one() {
    let files = std::fs::read_dir(".sqlx").unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let all = texts.map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
    let ours: Vec<_> = all.filter(|one| one["db_name"] == "PostgreSQL").collect();
    assert!(ours.len() > 20);
    let writes = |one: &serde_json::Value| {
        let text = one["query"].as_str().unwrap();
        ["insert into", "update sessile", "delete from"].iter().any(|verb| text.contains(verb))
    };
    for (i, one) in ours.iter().enumerate().filter(|(_, one)| writes(one)) {
        let parameters = &one["describe"]["parameters"];
        let mut others = ours.iter().enumerate().filter(|(other, _)| *other != i);
        let same = others.find(|(_, other)| &other["describe"]["parameters"] == parameters);
        assert!(same.is_none(), "{} and {}", one["query"], same.unwrap().1["query"]);
    }
}
