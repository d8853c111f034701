//! SQLite with a rollback journal, with which a reader delays the commit of a writer.

use std::time::Duration;

use serde_json::json;
use sessile::{Session, Sessions};
use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use crate::support::{Browser, Db, Pool, cases};

cases! {
    @sqlite [what_is_answered_with_ok_is_committed]
}

/// A pool whose connections use a rollback journal. For that, no other connection may have the file open:
/// those that created it may not have closed it yet.
pub(crate) async fn with_rollback_journal(db: &Db, busy_timeout: Duration) -> SqlitePool {
    let Pool::Sqlite(helpers) = &db.pool else { unreachable!("it is SQLite") };
    helpers.close().await;
    let options: SqliteConnectOptions = db.url.parse().unwrap();
    let options = options.journal_mode(SqliteJournalMode::Delete).busy_timeout(busy_timeout);
    for _ in 0..200 {
        if let Ok(pool) = SqlitePool::connect_with(options.clone()).await {
            return pool;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("somebody has the file open");
}

/// All rows, as another connection sees them.
async fn seen(db: &Db) -> String {
    db.dump().await
}

async fn what_is_answered_with_ok_is_committed(db: Db) {
    let pool = with_rollback_journal(&db, Duration::from_millis(30)).await;
    let options = (*pool.connect_options()).clone();
    let mode: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&pool).await.unwrap();
    assert_eq!(mode, "delete");
    let sessions = Sessions::builder(pool.clone()).build().unwrap();
    let mut looks = db.clone();
    looks.pool = Pool::Sqlite(pool.clone());

    let verbs: [(&str, Verb); 11] = [
        ("create", |_, new, _| {
            Box::pin(async move { new.update("n", |n: &mut i64| *n += 1).await })
        }),
        ("begin", |_, new, _| Box::pin(async move { new.begin_log_in().await })),
        ("begin in a session", |_, _, guest| {
            Box::pin(async move { guest.begin_log_in().user("ada").await })
        }),
        ("log in", |_, new, _| Box::pin(async move { new.log_in("bob").await })),
        ("log in to a session", |_, _, guest| Box::pin(async move { guest.log_in("bob").await })),
        ("save", |user, _, _| {
            Box::pin(async move { user.update("n", |n: &mut i64| *n += 1).await })
        }),
        ("renew", |user, _, _| Box::pin(async move { user.renew().await })),
        ("reauthenticate", |user, _, _| Box::pin(async move { user.reauthenticate().await })),
        ("log out others", |user, _, _| {
            Box::pin(async move { user.log_out_others().await.map(drop) })
        }),
        ("log out everywhere", |user, _, _| {
            Box::pin(async move { user.log_out_everywhere().await.map(drop) })
        }),
        ("log out", |user, _, _| Box::pin(async move { user.log_out().await.map(drop) })),
    ];
    for (name, verb) in verbs {
        let (browser, _) = Browser::logged_in(&sessions, "ada").await;
        Browser::logged_in(&sessions, "ada").await;
        let (guest, _) = Browser::with(&sessions, "n", json!(0)).await;
        let (user, guest) = (browser.open(&sessions).await, guest.open(&sessions).await);
        let new = Browser::default().open(&sessions).await;
        let before = seen(&looks).await;

        let mut reader = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("begin").execute(&mut reader).await.unwrap();
        sqlx::query("select * from sessions").fetch_all(&mut reader).await.unwrap();
        let answer = verb(user.clone(), new.clone(), guest.clone()).await;
        reader.close().await.unwrap();
        let after = seen(&looks).await;
        match &answer {
            Ok(()) => assert_ne!(before, after, "{name} said that it was done"),
            Err(error) => {
                assert!(error.is_transient(), "{name}: {error:?}");
                assert_eq!(before, after, "{name} said that nothing was done");
            }
        }
        assert!(answer.is_err(), "{name}: nothing can be committed beside a reader");

        // No trace of the failed call is left.
        verb(user, new, guest).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_ne!(seen(&looks).await, before, "{name}");
    }
    pool.close().await;
}

type Answer = std::pin::Pin<Box<dyn Future<Output = sessile::Result<()>> + Send>>;
type Verb = fn(user: Session, new: Session, guest: Session) -> Answer;
