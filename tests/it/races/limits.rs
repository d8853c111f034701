//! Parallel log-ins at the limit of sessions per user.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;
use sessile::{ErrorKind, OnLimit, Sessions};

use crate::support::{Browser, Db, cases};

cases! {
    parallel_log_ins_never_exceed_the_limit_where_the_oldest_end,
    parallel_log_ins_never_exceed_the_limit_where_more_are_refused,
    a_limit_of_one_leaves_the_last,
    log_ins_of_others_do_not_wait_at_the_limit,
}

/// Concurrent log-ins of ada on two nodes, some from an anonymous session. Returns how many succeeded. A
/// watcher counts the sessions all the time.
async fn log_in_at_once(db: &Db, limit: u32, on_limit: OnLimit) -> usize {
    let nodes = [node(db, limit, on_limit).await, node(db, limit, on_limit).await];
    let done = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (done, sessions) = (done.clone(), db.sessions().await);
        tokio::spawn(async move {
            let mut counted = 0;
            while !done.load(Ordering::SeqCst) {
                let count = sessions.count_of_user("ada").await.unwrap();
                assert!(count <= limit.into(), "{count} at once");
                counted += 1;
            }
            counted
        })
    };
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let node = nodes[n % 2].clone();
        let mut browser = Browser::default();
        if n % 3 == 0 {
            browser = Browser::with(&node, "n", json!(n)).await.0;
        }
        tasks.spawn(async move {
            let session = browser.open(&node).await;
            let result = session.log_in("ada").await;
            if let Err(error) = &result {
                assert_eq!(error.kind(), ErrorKind::TooManySessions, "{error:?}");
            }
            browser.finish(&session).await;
            result.is_ok()
        });
    }
    let got_in = tasks.join_all().await.into_iter().filter(|ok| *ok).count();
    done.store(true, Ordering::SeqCst);
    assert!(watcher.await.unwrap() > 0);
    got_in
}

async fn node(db: &Db, limit: u32, on_limit: OnLimit) -> Sessions {
    db.builder().await.sessions_per_user(limit, on_limit).build().unwrap()
}

async fn parallel_log_ins_never_exceed_the_limit_where_the_oldest_end(db: Db) {
    assert_eq!(log_in_at_once(&db, 3, OnLimit::EndOldest).await, 16);
    assert_eq!(db.sessions().await.count_of_user("ada").await.unwrap(), 3);
}

async fn parallel_log_ins_never_exceed_the_limit_where_more_are_refused(db: Db) {
    assert_eq!(log_in_at_once(&db, 3, OnLimit::Refuse).await, 3);
    assert_eq!(db.sessions().await.count_of_user("ada").await.unwrap(), 3);
}

async fn a_limit_of_one_leaves_the_last(db: Db) {
    assert_eq!(log_in_at_once(&db, 1, OnLimit::EndOldest).await, 16);
    assert_eq!(db.sessions().await.count_of_user("ada").await.unwrap(), 1);
}

async fn log_ins_of_others_do_not_wait_at_the_limit(db: Db) {
    let sessions = node(&db, 1, OnLimit::Refuse).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let sessions = sessions.clone();
        tasks.spawn(async move { Browser::logged_in(&sessions, &format!("user {n}")).await });
    }
    for (browser, _) in tasks.join_all().await {
        assert!(browser.is_in(&sessions).await);
    }
}
