//! The times of the cleanup's runs, by tokio's clock, which advances here only when all tasks sleep.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::json;
use sessile::{Error, Result, Schedule, Sessions, hours, minutes, seconds};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, advance, pause, resume, timeout},
};

use crate::support::{
    Browser, Db,
    tap::{Gate, Hook, Verb, tapped},
};

/// Reports the first call of each run, and is not a real database.
#[derive(Debug)]
struct Sweeps(UnboundedSender<Instant>);

#[async_trait]
impl Hook for Sweeps {
    async fn before(&self, verb: Verb) -> Result<()> {
        if verb == Verb::FileEvents {
            self.0.send(Instant::now()).ok();
        }
        Err(Error::database(sqlx::Error::PoolTimedOut))
    }
}

fn swept() -> (Sessions, UnboundedReceiver<Instant>) {
    let pool = sqlx::SqlitePool::connect_lazy("sqlite::memory:").unwrap();
    let store = Arc::new(sessile::store::sqlite::SqliteStore::new(pool));
    let (sender, receiver) = unbounded_channel();
    let sessions = Sessions::builder(tapped(store, &Arc::new(Sweeps(sender)))).build().unwrap();
    (sessions, receiver)
}

/// The time of each of the first runs after the run before it.
async fn intervals(schedule: Schedule, jitter: Option<Duration>, runs: usize) -> Vec<Duration> {
    let (sessions, mut sweeps) = swept();
    let mut cleanup = sessions.cleanup(schedule);
    if let Some(jitter) = jitter {
        cleanup = cleanup.jitter(jitter);
    }
    let mut before = Instant::now();
    let cleanup = cleanup.spawn();
    let mut intervals = Vec::new();
    for _ in 0..runs {
        let at = sweeps.recv().await.expect("it goes on after an error");
        intervals.push(at - before);
        before = at;
    }
    cleanup.stop().await;
    intervals
}

#[tokio::test(start_paused = true)]
async fn a_run_comes_after_the_interval_and_at_most_the_jitter_later() {
    let intervals = intervals(Schedule::every(minutes(5)), Some(minutes(2)), 100).await;
    let (shortest, longest) = (intervals.iter().min().unwrap(), intervals.iter().max().unwrap());
    assert!(*shortest >= minutes(5), "{shortest:?}");
    assert!(*longest <= minutes(7) + seconds(1), "{longest:?}");
    // The runs are spread over the whole interval. A hundred random ones are never close together.
    assert!(*shortest < minutes(5) + seconds(30) && *longest > minutes(6) + seconds(30));
}

#[tokio::test(start_paused = true)]
async fn the_jitter_is_a_tenth_and_at_most_a_minute_unless_it_is_said() {
    for (interval, most) in [(minutes(1), seconds(6)), (hours(24), minutes(1))] {
        let intervals = intervals(Schedule::every(interval), None, 100).await;
        let longest = *intervals.iter().max().unwrap();
        assert!(longest > interval + most / 2 && longest <= interval + most + seconds(1));
        assert!(intervals.iter().all(|passed| *passed >= interval));
    }
}

#[tokio::test(start_paused = true)]
async fn without_jitter_runs_are_as_far_apart_as_they_should_be() {
    for passed in intervals(Schedule::every(minutes(5)), Some(Duration::ZERO), 20).await {
        assert!(passed >= minutes(5) && passed < minutes(5) + seconds(1), "{passed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cron_schedule_runs_at_its_minute() {
    let schedule = Schedule::cron("* * * * *").unwrap();
    let intervals = intervals(schedule, Some(Duration::ZERO), 1).await;
    assert!(intervals[0] <= minutes(1), "{intervals:?}");
}

#[tokio::test(start_paused = true)]
async fn a_time_without_end_never_comes() {
    let longest = Duration::MAX;
    let times = [(longest, None), (longest, Some(longest)), (hours(24 * 365 * 100), Some(longest))];
    for (interval, jitter) in times {
        let (sessions, mut sweeps) = swept();
        let mut cleanup = sessions.cleanup(Schedule::every(interval));
        if let Some(jitter) = jitter {
            cleanup = cleanup.jitter(jitter);
        }
        let cleanup = cleanup.spawn();
        let swept = timeout(hours(24 * 50), sweeps.recv()).await;
        assert!(swept.is_err(), "{interval:?} {jitter:?}: {swept:?}");
        cleanup.stop().await;
    }
}

/// A database that does not answer.
#[derive(Debug)]
struct Silent(UnboundedSender<Instant>);

#[async_trait]
impl Hook for Silent {
    async fn before(&self, verb: Verb) -> Result<()> {
        if verb == Verb::FileEvents {
            self.0.send(Instant::now()).ok();
        }
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_ten_seconds_at_most() {
    let pool = sqlx::SqlitePool::connect_lazy("sqlite::memory:").unwrap();
    let store = Arc::new(sessile::store::sqlite::SqliteStore::new(pool));
    let (sender, mut sweeps) = unbounded_channel();
    let silent = Arc::new(Silent(sender));
    let sessions = Sessions::builder(tapped(store, &silent)).build().unwrap();
    let cleanup = sessions.spawn_cleanup(Schedule::every(seconds(1)));
    sweeps.recv().await.unwrap();
    let before = Instant::now();
    let stopped = timeout(minutes(1), cleanup.stop()).await;
    assert!(stopped.is_ok(), "it waits for a database that does not answer");
    let waited = before.elapsed();
    assert!(waited >= seconds(5) && waited <= seconds(10), "{waited:?}");
}

/// Only the sweep hangs, as with a locked table.
#[tokio::test]
async fn a_stop_writes_touches_though_a_sweep_hangs() {
    let db = Db::sqlite().await;
    let gate = Gate::before(Verb::Sweep);
    let sessions = db.tapped(&gate).build().unwrap();
    let (mut browser, id) = Browser::with(&sessions, "a", json!(1)).await;
    db.pass(minutes(30)).await;
    let before = sessions.find(id).await.unwrap().unwrap().last_seen_at;
    let cleanup = sessions.spawn_cleanup(Schedule::every(Duration::from_millis(1)));
    gate.reached().await;
    let session = browser.open(&sessions).await;
    browser.finish(&session).await;
    let stop = tokio::spawn(cleanup.stop());
    tokio::task::yield_now().await;
    pause();
    advance(seconds(6)).await;
    resume();
    timeout(seconds(20), stop).await.expect("it waits for the sweep").unwrap();
    assert!(sessions.find(id).await.unwrap().unwrap().last_seen_at > before);
    db.drop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_touches_without_end() {
    let db = Db::sqlite().await;
    let gate = Gate::before(Verb::Touch);
    let sessions = db.tapped(&gate).build().unwrap();
    let (mut browser, _) = Browser::with(&sessions, "a", json!(1)).await;
    db.pass(minutes(30)).await;
    let cleanup = sessions.spawn_cleanup(Schedule::every(hours(1)));
    let session = browser.open(&sessions).await;
    browser.finish(&session).await;
    let stop = tokio::spawn(cleanup.stop());
    gate.reached().await;
    pause();
    advance(seconds(6)).await;
    resume();
    timeout(seconds(20), stop).await.expect("it waits for the touch").unwrap();
    gate.open();
    db.drop().await;
}
