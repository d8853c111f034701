//! The scheduled sweep.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::json;
use sessile::{
    CleanupReport, Error, ErrorKind, Schedule, Sessions, hours,
    store::{Store, Swept, postgres::PostgresStore},
};
use sqlx::{postgres::PgPoolOptions, query_scalar};
use tokio::time::timeout;

use crate::{
    capture::Capture,
    support::{
        Browser, Db, Pool, cases,
        tap::{self, Gate, Switch, Verb},
        up_to,
    },
};

cases! {
    expired_rows_go_and_live_ones_stay,
    rows_go_in_batches,
    a_hook_sees_each_batch_and_may_end_the_run,
    a_backlog_goes_whole,
    the_task_runs_on_its_schedule_and_reports,
    an_error_is_reported_and_the_next_run_goes_on,
    a_stop_waits_for_the_batch_in_hand,
    a_stop_writes_the_touches_that_are_held_back,
    nodes_that_sweep_at_once_delete_each_row_once,
    cut_offs_are_forgotten_after_a_day,
    old_cut_offs_go_in_batches,
    a_backlog_and_old_cut_offs_go_in_one_run,
    a_hook_that_panics_ends_no_schedule,
}

const SOON: Duration = Duration::from_millis(1);

async fn sessions_that_expired(db: &Db, sessions: &Sessions, n: usize) {
    for n in 0..n {
        Browser::with(sessions, "n", json!(n)).await;
    }
    db.pass(hours(48)).await;
}

/// The reports of a cleanup's runs, as its hook receives them.
type Reports = Arc<Mutex<Vec<Result<CleanupReport, ErrorKind>>>>;

fn hook(reports: &Reports) -> impl Fn(&sessile::Result<CleanupReport>) + Send + Sync + 'static {
    let reports = reports.clone();
    move |report| {
        reports.lock().unwrap().push(report.as_ref().copied().map_err(sessile::Error::kind));
    }
}

/// Waits until a report matches.
async fn reported(reports: &Reports, like: impl Fn(&Result<CleanupReport, ErrorKind>) -> bool) {
    let seen = async {
        while !reports.lock().unwrap().iter().any(&like) {
            tokio::time::sleep(SOON).await;
        }
    };
    timeout(Duration::from_secs(20), seen).await.expect("no such report");
}

async fn expired_rows_go_and_live_ones_stay(db: Db) {
    let sessions = db.sessions().await;
    sessions_that_expired(&db, &sessions, 3).await;
    let (browser, _) = Browser::with(&sessions, "live", json!(1)).await;
    let report = sessions.sweep().await.unwrap();
    assert_eq!((report.rows, report.batches, report.busy), (3, 1, false));
    assert_eq!(db.rows().await, 1);
    assert!(browser.is_in(&sessions).await);
    assert_eq!(sessions.sweep().await.unwrap().rows, 0);
}

async fn rows_go_in_batches(db: Db) {
    let sessions = db.sessions().await;
    sessions_that_expired(&db, &sessions, 10).await;
    let cleanup = sessions.cleanup(Schedule::every(hours(1))).batch(4).pause(Duration::ZERO);
    let report = cleanup.run_once().await.unwrap();
    assert_eq!(report.rows, 10);
    // Postgres sweeps by pages, once it knows that there is more than one batch.
    assert_eq!(report.batches, if db.is_postgres() { 2 } else { 3 });
    assert_eq!(db.rows().await, 0);
}

/// So many expired rows that Postgres sweeps by pages.
async fn backlog(db: &Db) {
    db.run(
        "insert into sessile.sessions (id, revision, created_at, last_seen_at, absolute_expires_at, valid_until,
            expires_at, idle_timeout, secret_hash, data)
         select gen_random_uuid(), 0, at, at, at, at, at, 60, sha256('x'), '{}'
         from generate_series(1, 20000), (select now() - interval '1 hour' as at) as past",
        "with recursive series(n) as (select 1 union all select n + 1 from series where n < 20000)
         insert into sessions (id, revision, created_at, last_seen_at, absolute_expires_at, valid_until, expires_at,
            idle_timeout, secret_hash, data)
         select randomblob(16), 0, 0, 0, 1, 1, 1, 60, zeroblob(32), '{}' from series",
    )
    .await;
}

/// With live rows among them and after them.
async fn a_hook_sees_each_batch_and_may_end_the_run(db: Db) {
    let sessions = db.sessions().await;
    sessions_that_expired(&db, &sessions, 5).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let rows = seen.clone();
    let ends_at_once = move |report: &CleanupReport| {
        rows.lock().unwrap().push((report.rows, report.batches));
        ControlFlow::Break(())
    };
    let cleanup = sessions.cleanup(Schedule::every(hours(1))).batch(2).on_batch(ends_at_once);
    assert_eq!(cleanup.run_once().await.unwrap().rows, 2);
    assert_eq!(*seen.lock().unwrap(), [(2, 1)]);
    assert_eq!(db.rows().await, 3);
    assert_eq!(sessions.sweep().await.unwrap().rows, 3, "the next run goes on");
}

async fn a_backlog_goes_whole(db: Db) {
    let sessions = db.sessions().await;
    let (first, _) = Browser::with(&sessions, "live", json!(1)).await;
    backlog(&db).await;
    let (last, _) = Browser::with(&sessions, "live", json!(2)).await;
    let report = sessions.cleanup(Schedule::every(hours(1))).batch(500).run_once().await.unwrap();
    assert_eq!(report.rows, 20_000);
    if db.is_postgres() {
        assert_eq!(report.batches, 2, "one by the index, one for all pages, and none after them");
    }
    assert_eq!(db.rows().await, 2);
    assert!(first.is_in(&sessions).await && last.is_in(&sessions).await);
}

async fn the_task_runs_on_its_schedule_and_reports(db: Db) {
    let sessions = db.sessions().await;
    sessions_that_expired(&db, &sessions, 3).await;
    let reports = Reports::default();
    let cleanup = sessions.cleanup(Schedule::every(SOON)).on_run(hook(&reports)).spawn();
    reported(&reports, |report| report.is_ok_and(|report| report.rows == 3)).await;
    reported(&reports, |report| report.is_ok_and(|report| report.rows == 0)).await;
    cleanup.stop().await;
    let runs = reports.lock().unwrap().len();
    sessions_that_expired(&db, &sessions, 1).await;
    assert_eq!(reports.lock().unwrap().len(), runs, "nothing runs after the stop");
    assert_eq!(db.rows().await, 1);
}

async fn an_error_is_reported_and_the_next_run_goes_on(db: Db) {
    let switch = Switch::new();
    let sessions = db.tapped(&switch).build().unwrap();
    sessions_that_expired(&db, &sessions, 3).await;
    switch.off();
    let reports = Reports::default();
    let cleanup = sessions.cleanup(Schedule::every(SOON)).on_run(hook(&reports)).spawn();
    reported(&reports, |report| *report == Err(ErrorKind::Database)).await;
    switch.on();
    reported(&reports, |report| report.is_ok_and(|report| report.rows == 3)).await;
    cleanup.stop().await;
}

async fn a_stop_waits_for_the_batch_in_hand(db: Db) {
    let gate = Gate::after(Verb::Sweep);
    let sessions = db.tapped(&gate).build().unwrap();
    sessions_that_expired(&db, &sessions, 3).await;
    let reports = Reports::default();
    let cleanup = sessions.cleanup(Schedule::every(SOON)).batch(1).on_run(hook(&reports)).spawn();
    gate.reached().await;
    let mut stop = tokio::spawn(cleanup.stop());
    assert!(timeout(Duration::from_millis(50), &mut stop).await.is_err(), "it waits");
    gate.open();
    stop.await.unwrap();
    assert_eq!(reports.lock().unwrap().len(), 1, "the run that was under way is reported");
    assert_eq!(db.rows().await, 2, "and no further batch was begun");
}

/// Even if the first run never comes: the task exists until the stop.
async fn a_stop_writes_the_touches_that_are_held_back(db: Db) {
    let sessions = db.sessions().await;
    for interval in [hours(1), Duration::MAX, Duration::MAX - hours(1)] {
        let (mut browser, id) = Browser::with(&sessions, "a", json!(1)).await;
        db.pass(hours(1) / 2).await;
        let before = sessions.find(id).await.unwrap().unwrap().last_seen_at;
        let schedule = Schedule::every(interval);
        let cleanup = sessions.cleanup(schedule).jitter(Duration::MAX).spawn();
        let session = browser.open(&sessions).await;
        browser.finish(&session).await;
        cleanup.stop().await;
        let after = sessions.find(id).await.unwrap().unwrap().last_seen_at;
        assert!(after > before, "{interval:?}");
    }
}

async fn nodes_that_sweep_at_once_delete_each_row_once(db: Db) {
    let (one, other) = (db.sessions().await, db.sessions().await);
    for _ in 0..5 {
        sessions_that_expired(&db, &one, 20).await;
        let run = |sessions: &Sessions| {
            let cleanup = sessions.cleanup(Schedule::every(hours(1))).batch(3).pause(SOON);
            async move { cleanup.run_once().await.unwrap() }
        };
        let (one, other) = tokio::join!(run(&one), run(&other));
        // One of them ends early if it meets the other one.
        let left = db.rows().await;
        assert_eq!(one.rows + other.rows + left.unsigned_abs(), 20);
        assert!(left == 0 || one.busy || other.busy);
        db.run("delete from sessile.sessions", "delete from sessions").await;
    }
}

async fn cut_offs_are_forgotten_after_a_day(db: Db) {
    let sessions = db.sessions().await;
    sessions.revoke_user("ada").await.unwrap();
    sessions.revoke_all().await.unwrap();
    sessions.sweep().await.unwrap();
    assert_eq!(cutoffs(&db).await, 2);
    db.run(
        "update sessile.session_cutoffs set used_at = used_at - interval '25 hours'",
        "update session_cutoffs set used_at = used_at - 90000000 where user_id <> ''",
    )
    .await;
    sessions.sweep().await.unwrap();
    assert_eq!(cutoffs(&db).await, 1, "the one that is everybody's stays");
    Browser::logged_in(&sessions, "ada").await;
}

async fn cutoffs(db: &Db) -> i64 {
    db.number(
        "select count(*) from sessile.session_cutoffs",
        "select count(*) from session_cutoffs",
    )
    .await
}

/// As after so many log-ins and revocations a day ago.
async fn old_cutoffs(db: &Db, n: u32) {
    db.run(
        &format!(
            "insert into sessile.session_cutoffs (user_id, used_at)
             select 'user ' || n, now() - interval '25 hours' from generate_series(1, {n}) as n"
        ),
        &format!(
            "with recursive series(n) as (select 1 union all select n + 1 from series where n < {n})
             insert into session_cutoffs (user_id, revoked_at, used_at) select 'user ' || n, 0, 0 from series"
        ),
    )
    .await;
}

async fn old_cut_offs_go_in_batches(db: Db) {
    let sessions = db.sessions().await;
    let before = cutoffs(&db).await;
    old_cutoffs(&db, 25).await;
    let cleanup = sessions.cleanup(Schedule::every(hours(1))).batch(10).pause(Duration::ZERO);
    let report = cleanup.run_once().await.unwrap();
    assert_eq!((report.rows, report.batches), (0, 3));
    assert_eq!(cutoffs(&db).await, before);
}

async fn a_backlog_and_old_cut_offs_go_in_one_run(db: Db) {
    let sessions = db.sessions().await;
    let before = cutoffs(&db).await;
    backlog(&db).await;
    old_cutoffs(&db, 1_100).await;
    let cleanup = sessions.cleanup(Schedule::every(hours(1))).batch(500).pause(Duration::ZERO);
    let report = cleanup.run_once().await.unwrap();
    assert_eq!(report.rows, 20_000);
    if db.is_postgres() {
        assert_eq!(report.batches, 4, "one for all pages, and three for the cut-offs");
    }
    assert_eq!((db.rows().await, cutoffs(&db).await), (0, before));
}

async fn a_hook_that_panics_ends_no_schedule(db: Db) {
    let capture = Capture::begin();
    let sessions = db.sessions().await;
    let reports = Reports::default();
    let told = hook(&reports);
    let id = uuid::Uuid::now_v7().to_string();
    let message = id.clone();
    let panics = move |report: &sessile::Result<CleanupReport>| {
        told(report);
        panic!("{message}");
    };
    let cleanup = sessions.cleanup(Schedule::every(SOON)).on_run(panics).spawn();
    reported(&reports, Result::is_ok).await;
    sessions_that_expired(&db, &sessions, 3).await;
    reported(&reports, |report| report.is_ok_and(|report| report.rows == 3)).await;
    cleanup.stop().await;
    let told = capture.events("cleanup panicked", &id);
    assert_eq!(told.len(), reports.lock().unwrap().len());
    assert_eq!(told[0], json!({"message": "ERROR", "panic": id}));
}

/// Fails the calls of a verb after the first ones.
#[derive(Debug)]
struct Fails {
    verb: Verb,
    after: usize,
    calls: Mutex<usize>,
    /// The number of calls that fail.
    times: usize,
}

#[async_trait]
impl tap::Hook for Fails {
    async fn before(&self, verb: Verb) -> sessile::Result<()> {
        if verb != self.verb {
            return Ok(());
        }
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        match (self.after + 1..=self.after + self.times).contains(&*calls) {
            true => Err(Error::database("canceling statement due to statement timeout")),
            false => Ok(()),
        }
    }
}

/// As on a server that ends statements after a second.
#[tokio::test]
async fn what_is_too_much_for_a_statement_goes_by_the_index() {
    for (verb, after) in [(Verb::Survey, 0), (Verb::Sweep, 1)] {
        let db = Db::postgres().await;
        let fails = Arc::new(Fails { verb, after, calls: Mutex::default(), times: 1 });
        let sessions = db.tapped(&fails).build().unwrap();
        sessions_that_expired(&db, &sessions, 10).await;
        let cleanup = sessions.cleanup(Schedule::every(hours(1))).batch(4).pause(SOON);
        let report = cleanup.run_once().await.unwrap();
        assert_eq!((report.rows, report.batches), (10, 3), "{verb:?}");
        db.drop().await;
    }
}

/// A planner knows the table at the time of planning, and not its later contents.
#[tokio::test]
async fn no_plan_for_pages_is_kept() {
    let db = Db::postgres().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&db.url).await.unwrap();
    let store = PostgresStore::new(pool.clone());
    store.sweep_pages(0..1, true).await.unwrap();
    store.file_events(0, 10).await.unwrap();
    let kept: i64 = query_scalar(
        "select count(*) from pg_prepared_statements
         where statement like '%delete%ctid%' and statement not like '%pg_prepared_statements%'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(kept, 0);
    pool.close().await;
    db.drop().await;
}

/// Another process is sweeping: it holds the lock.
#[tokio::test]
async fn a_sweep_leaves_it_to_the_one_that_holds_the_lock() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    sessions_that_expired(&db, &sessions, 1).await;
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(0x7365_7373_696c_6501_i64)
        .execute(&mut *tx)
        .await
        .unwrap();
    let report = sessions.sweep().await.unwrap();
    assert!(report.busy && report.rows == 0, "{report:?}");
    let store = PostgresStore::new(pool.clone());
    assert_eq!(store.sweep_pages(0..10, true).await.unwrap(), Swept::Busy);
    tx.rollback().await.unwrap();
    assert_eq!(
        store.sweep_pages(10..20, true).await.unwrap(),
        Swept::Rows(0),
        "there is no such page"
    );
    let report = sessions.sweep().await.unwrap();
    assert!(!report.busy && report.rows == 1, "{report:?}");
    db.drop().await;
}

/// A sweep does not wait for the disk. The next statement on its connection does.
#[tokio::test]
async fn a_sweep_leaves_the_durability_of_its_connection_alone() {
    let db = Db::postgres().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&db.url).await.unwrap();
    let store = PostgresStore::new(pool.clone());
    store.sweep(&up_to(10)).await.unwrap();
    store.sweep_pages(0..1, true).await.unwrap();
    store.file_events(0, 10).await.unwrap();
    let setting: String = query_scalar("show synchronous_commit").fetch_one(&pool).await.unwrap();
    assert_eq!(setting, "on");
    pool.close().await;
    db.drop().await;
}
