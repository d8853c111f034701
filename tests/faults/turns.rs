//! Many updates by one visitor, and updates that begin and are then no longer polled.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::Poll,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde_json::json;
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    patience::within,
    support::{Browser, Db, cases, tap},
};

cases! {
    a_thousand_updates_of_one_visitor_fail_none_of_another_ones,
    an_update_that_is_not_gone_on_with_holds_up_others_for_a_moment_only,
    a_write_that_is_not_gone_on_with_holds_up_nobody,
}

async fn a_thousand_updates_of_one_visitor_fail_none_of_another_ones(db: Db) {
    let sessions = db.sessions().await;
    let (greedy, _) = Browser::with(&sessions, "n", json!(0)).await;
    let mut updates = JoinSet::new();
    for _ in 0..1_000 {
        let session = greedy.open(&sessions).await;
        updates.spawn(async move { session.update("n", |n: &mut i64| *n += 1).await });
    }
    let (begun_all, mut slowest, mut asked) = (Instant::now(), Duration::ZERO, 0);
    let mut written = 0;
    let (other, _) = Browser::with(&sessions, "n", json!(0)).await;
    loop {
        let begun = Instant::now();
        let session = other.open(&sessions).await;
        session.update("n", |n: &mut i64| *n += 1).await.unwrap();
        (slowest, asked) = (slowest.max(begun.elapsed()), asked + 1);
        while let Some(done) = updates.try_join_next() {
            // The updates of the greedy visitor may fail.
            match done.unwrap() {
                Ok(()) => written += 1,
                Err(error) => assert!(error.is_transient(), "{error:?}"),
            }
        }
        if updates.is_empty() {
            break;
        }
    }
    let took = begun_all.elapsed();
    assert!(took < Duration::from_secs(16), "the last answer came after {took:?}");
    println!("{took:?}: {written} of 1000 written; another one's {asked} took {slowest:?} at most");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!(greedy.open(&sessions).await.get("n").unwrap(), Some(written));
    assert_eq!(other.open(&sessions).await.get("n").unwrap(), Some(asked));
}

/// Holds the answer to the next load.
#[derive(Debug, Default)]
struct Hold {
    is_armed: AtomicBool,
    reached: Notify,
    open: Notify,
}

#[async_trait]
impl tap::Hook for Hold {
    async fn after(&self, verb: tap::Verb) {
        if verb == tap::Verb::Load && self.is_armed.swap(false, SeqCst) {
            self.reached.notify_one();
            self.open.notified().await;
        }
    }
}

async fn an_update_that_is_not_gone_on_with_holds_up_others_for_a_moment_only(db: Db) {
    let hold = Arc::<Hold>::default();
    let sessions = db.tapped(&hold).build().unwrap();
    let (browser, _) = Browser::with(&sessions, "n", json!(0)).await;
    let left = browser.open(&sessions).await;
    let others = [browser.open(&sessions).await, browser.open(&sessions).await];
    browser.open(&sessions).await.update("n", |n: &mut i64| *n += 1).await.unwrap();

    // The update finds that another one was faster, takes its turn, and reads the row again. From then on it
    // is not polled.
    hold.is_armed.store(true, SeqCst);
    let mut update = Box::pin(left.update("n", |n: &mut i64| *n += 1));
    tokio::select! {
        done = &mut update => panic!("{done:?}"),
        () = hold.reached.notified() => hold.open.notify_one(),
    }
    for other in others {
        let update = other.update("n", |n: &mut i64| *n += 1);
        within(Duration::from_millis(1_500), update).await.unwrap();
    }
    assert_eq!(browser.open(&sessions).await.get("n").unwrap(), Some(3));
    // The update can continue at any time.
    update.await.unwrap();
    assert_eq!(browser.open(&sessions).await.get("n").unwrap(), Some(4));
}

async fn a_write_that_is_not_gone_on_with_holds_up_nobody(db: Db) {
    let sessions = db.sessions().await;
    // A call that is answered at once proves nothing here.
    let mut tries = 0..50;
    while tries.next().is_some() && !are_left(&sessions).await {}
    assert!(!tries.is_empty(), "none was left");
}

/// Returns whether the calls were in flight when they were left. Then checks that no other call was delayed.
async fn are_left(sessions: &sessile::Sessions) -> bool {
    let (browser, _) = Browser::with(sessions, "n", json!(0)).await;
    let (other, _) = Browser::with(sessions, "n", json!(0)).await;
    let (left, mut load) = (browser.open(sessions).await, Box::pin(browser.open(sessions)));
    let mut update = Box::pin(left.update("n", |n: &mut i64| *n += 1));
    let (newcomer, mut user) = (Browser::default().open(sessions).await, Browser::default());
    let mut log_in = Box::pin(newcomer.log_in("ada").into_future());
    if !(once(&mut update).await && once(&mut log_in).await && once(&mut load).await) {
        return false;
    }
    within(Duration::from_secs(5), async {
        for _ in 0..10 {
            let session = other.open(sessions).await;
            session.update("n", |n: &mut i64| *n += 1).await.unwrap();
            let session = user.open(sessions).await;
            session.log_in("ada").await.unwrap();
            user.finish(&session).await;
        }
        // This includes an update by the same visitor.
        browser.open(sessions).await.update("n", |n: &mut i64| *n += 1).await.unwrap();
        sessions.flush().await.unwrap();
    })
    .await;
    update.await.unwrap();
    assert_eq!(browser.open(sessions).await.get("n").unwrap(), Some(2));
    true
}

/// Polls the call once. Returns whether it is pending.
async fn once<F: Future>(call: &mut Pin<Box<F>>) -> bool {
    poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_pending())).await
}
