//! Runtimes that end: a test's runtime, or the runtime of a part of an application.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use sessile::{ErrorKind, Sessions, minutes, store::CacheOptions};
use tokio::{runtime::Builder, sync::mpsc};

use crate::{
    patience::{DEADLINE, SLACK, soon, within},
    support::{Browser, Db, Pool, cases},
};

cases! {
    the_next_runtime_goes_on,
    the_next_runtime_hears_of_revocations,
    a_pool_can_be_closed_after_its_first_runtime,
    a_runtime_that_ends_fails_nothing_in_another_one,
}

/// Runs the future in a separate runtime, which ends with it.
async fn in_runtime<T: Send + 'static>(run: impl Future<Output = T> + Send + 'static) -> T {
    tokio::task::spawn_blocking(|| {
        let thread = std::thread::spawn(|| {
            let mut runtime = Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(run)
        });
        thread.join().unwrap()
    })
    .await
    .unwrap()
}

async fn own_pool(db: &Db) -> (Sessions, Pool) {
    match &db.pool {
        Pool::Postgres(_) => {
            let pool = sqlx::PgPool::connect(&db.url).await.unwrap();
            (Sessions::builder(pool.clone()).build().unwrap(), Pool::Postgres(pool))
        }
        Pool::Sqlite(_) => {
            let pool = sqlx::SqlitePool::connect(&db.url).await.unwrap();
            (Sessions::builder(pool.clone()).build().unwrap(), Pool::Sqlite(pool))
        }
    }
}

async fn seen_lately(db: &Db) -> i64 {
    db.number(
        "select count(*) from sessile.sessions where last_seen_at > now() - interval '1 minute'",
        "select count(*) from sessions where last_seen_at > (unixepoch() - 60) * 1000",
    )
    .await
}

async fn the_next_runtime_goes_on(db: Db) {
    for is_own in [false, true] {
        let (to_first, looks) = (db.clone(), db.clone());
        let (sessions, first, second) = in_runtime(async move {
            let db = to_first;
            let sessions = if is_own { own_pool(&db).await.0 } else { db.sessions().await };
            let (mut first, _) = Browser::logged_in(&sessions, "ada").await;
            let (second, _) = Browser::logged_in(&sessions, "bob").await;
            db.pass(minutes(20)).await;
            // The runtime ends while the touch waits.
            let session = first.open(&sessions).await;
            first.finish(&session).await;
            (sessions, first, second)
        })
        .await;
        assert_eq!(seen_lately(&db).await, 0);
        in_runtime(async move {
            let mut second = second;
            within(DEADLINE, async {
                let session = second.open(&sessions).await;
                second.finish(&session).await;
                // The touch is also written without a flush, by its own task.
                soon(DEADLINE, async || seen_lately(&looks).await == 2).await;
                let session = first.open(&sessions).await;
                session.update("n", |n: &mut i64| *n += 1).await.unwrap();
                session.log_in("ada").await.unwrap();
                Browser::logged_in(&sessions, "ada").await;
                sessions.flush().await.unwrap();
                assert_eq!(sessions.revoke_all().await.unwrap().ended, 3);
            })
            .await;
        })
        .await;
        // The next round has another node, which refuses a log-in within the same millisecond as the revocation.
        db.pass(minutes(1)).await;
    }
}

async fn the_next_runtime_hears_of_revocations(db: Db) {
    let elsewhere = db.sessions().await;
    let cached = db.builder().await.cache(CacheOptions::default().bound(Duration::from_secs(60)));
    let cached = cached.build();
    let Ok(sessions) = cached else { panic!("{cached:?}") };
    for _ in 0..2 {
        let (sessions, elsewhere) = (sessions.clone(), elsewhere.clone());
        in_runtime(async move {
            let (browser, id) = Browser::logged_in(&sessions, "ada").await;
            // The session is in the cache, and the cache listens.
            for _ in 0..20 {
                assert!(browser.is_in(&sessions).await);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            elsewhere.revoke(id).await.unwrap();
            soon(Duration::from_secs(1), async || !browser.is_in(&sessions).await).await;
        })
        .await;
    }
}

async fn a_pool_can_be_closed_after_its_first_runtime(db: Db) {
    let to_first = db.clone();
    let (sessions, pool) = in_runtime(async move {
        let (sessions, pool) = own_pool(&to_first).await;
        // Several requests at once, so that connections rest.
        let (browser, _) = Browser::logged_in(&sessions, "ada").await;
        let all = (0..8).map(|_| {
            let (browser, sessions) = (browser.clone(), sessions.clone());
            tokio::spawn(async move {
                let session = browser.open(&sessions).await;
                session.update("n", |n: &mut i64| *n += 1).await.unwrap();
            })
        });
        for one in all.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        (sessions, pool)
    })
    .await;
    let is_postgres = db.is_postgres();
    in_runtime(async move {
        // In an application's pool, the log-in may get a connection of the first runtime.
        if let Err(error) = Browser::default().open(&sessions).await.log_in("ada").await {
            assert!(is_postgres && error.kind() == ErrorKind::OutcomeUnknown, "{error:?}");
        }
        let close = async {
            match &pool {
                Pool::Postgres(pool) => pool.close().await,
                Pool::Sqlite(pool) => pool.close().await,
            }
        };
        within(DEADLINE + SLACK, close).await;
    })
    .await;
}

async fn a_runtime_that_ends_fails_nothing_in_another_one(db: Db) {
    for (sessions, is_own) in [(db.sessions().await, false), (own_pool(&db).await.0, true)] {
        // In an application's pool, a connection may belong to the runtime that ends.
        let may_be_unknown = is_own && db.is_postgres();
        let (healthy, _) = Browser::logged_in(&sessions, "ada").await;
        let is_over = Arc::new(AtomicBool::new(false));
        let here = tokio::spawn({
            let (sessions, is_over) = (sessions.clone(), is_over.clone());
            async move {
                let (mut asked, mut unknown) = (0, 0);
                while !is_over.load(SeqCst) {
                    let session = healthy.try_open(&sessions).await.unwrap();
                    let updated = session.update("n", |n: &mut i64| *n += 1).await;
                    let new = Browser::default().open(&sessions).await;
                    let logged_in = new.log_in("ada").await;
                    let logged_out = new.log_out().await.map(drop);
                    asked += i64::from(updated.is_ok());
                    for error in
                        [updated, logged_in, logged_out].into_iter().filter_map(Result::err)
                    {
                        let is_unknown = error.kind() == ErrorKind::OutcomeUnknown;
                        assert!(is_unknown && may_be_unknown, "{error:?}");
                        unknown += 1;
                    }
                }
                let written: i64 = healthy.open(&sessions).await.get("n").unwrap().unwrap();
                assert!((asked..=asked + unknown).contains(&written), "{written} of {asked}");
                asked
            }
        });
        for _ in 0..8 {
            let sessions = sessions.clone();
            in_runtime(async move {
                let (sender, mut begun) = mpsc::channel(1);
                for _ in 0..20 {
                    let (sessions, sender) = (sessions.clone(), sender.clone());
                    tokio::spawn(busy(sessions, sender));
                }
                drop(sender);
                for _ in 0..60 {
                    begun.recv().await.expect("they go on");
                }
                // The runtime ends in the middle of everything.
            })
            .await;
        }
        is_over.store(true, SeqCst);
        let asked: i64 = within(DEADLINE + SLACK, here).await.unwrap();
        assert!(asked > 0);
    }
}

/// Updates its own session, and reports each update, until the runtime ends.
async fn busy(sessions: Sessions, sender: mpsc::Sender<()>) -> sessile::Result<()> {
    let session = Browser::default().try_open(&sessions).await?;
    session.insert("n", 0)?;
    let mut browser = Browser::default();
    browser.keep(session.finish().await?);
    loop {
        let session = browser.try_open(&sessions).await?;
        session.update("n", |n: &mut i64| *n += 1).await?;
        sender.send(()).await.ok();
    }
}
