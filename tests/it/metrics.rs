//! What the library counts, and the table of it in docs/operations.md.

use std::collections::{BTreeMap, BTreeSet};

use ::metrics::with_local_recorder;
use metrics_util::{
    MetricKind,
    debugging::{DebugValue, DebuggingRecorder, Snapshotter},
};
use serde_json::json;
use sessile::{ErrorKind, OnLimit, Schedule, Sessions, days, hours, store::CacheOptions};

use crate::support::{Browser, Db, Pool};

/// Runs a case with a recorder of its own, which gets what this thread counts. So everything runs on this thread.
fn counted(db: impl Future<Output = Db>, case: impl AsyncFnOnce(Db, Snapshotter) -> Db) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    with_local_recorder(&recorder, || {
        runtime.block_on(async { case(db.await, snapshotter).await.drop().await });
    });
}

macro_rules! counted {
    ($($case:ident),* $(,)?) => {
        mod postgres {
            $(#[test]
            fn $case() {
                super::counted(crate::support::Db::postgres(), super::$case);
            })*
        }
        mod sqlite {
            $(#[test]
            fn $case() {
                super::counted(crate::support::Db::sqlite(), super::$case);
            })*
        }
    };
}

counted! {
    a_run_has_every_metric_of_the_table_and_no_other,
    each_end_and_each_log_in_is_counted_once,
    a_save_after_another_one_is_a_conflict,
    requests_that_come_at_once_share_statements,
    a_copy_in_memory_is_a_hit,
    a_sweep_tells_what_it_deleted_and_how_late,
    a_bad_row_is_a_retry_of_the_others,
    a_failure_is_counted_by_its_kind,
}

/// The values of a snapshot, by name and labels: `sessile_retries_total{reason=locked}`. Empties the histograms
/// and the counters.
fn values(snapshotter: &Snapshotter) -> BTreeMap<String, Vec<f64>> {
    let mut values = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let (_, key) = key.into_parts();
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = match labels.is_empty() {
            true => key.name().to_owned(),
            false => format!("{}{{{}}}", key.name(), labels.join(",")),
        };
        let value = match value {
            DebugValue::Counter(n) => vec![n as f64],
            DebugValue::Gauge(value) => vec![value.into_inner()],
            DebugValue::Histogram(values) => {
                values.iter().map(|value| value.into_inner()).collect()
            }
        };
        values.insert(name.trim_start_matches("sessile_").to_owned(), value);
    }
    values
}

fn counter(values: &BTreeMap<String, Vec<f64>>, name: &str) -> f64 {
    values.get(name).map_or(0.0, |value| value[0])
}

/// As an operator reads it: name, type, labels, unit.
type Row = (String, String, BTreeSet<String>, String);

fn documented() -> BTreeSet<Row> {
    let page = include_str!("../../docs/operations.md");
    // The page also has a table of roles, with fewer columns.
    let is_row = |line: &&str| line.starts_with("| `sessile_") && line.split('|').count() == 7;
    let rows = page.lines().filter(is_row);
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, unit, usage, _] = cells[..] else { panic!("{line}") };
        assert!(!usage.is_empty(), "{line}");
        let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (name.replace('`', ""), kind.to_owned(), words(labels), unit.to_owned())
    };
    rows.map(row).collect()
}

fn emitted(snapshotter: &Snapshotter) -> BTreeSet<Row> {
    let mut found = BTreeSet::new();
    for (key, unit, help, _) in snapshotter.snapshot().into_vec() {
        let (kind, key) = key.into_parts();
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        assert!(help.is_some(), "{} has no help text", key.name());
        let labels = key.labels().map(|label| label.key().to_owned()).collect();
        let unit = unit.map_or(String::new(), |unit| unit.as_str().to_owned());
        found.insert((key.name().to_owned(), kind.to_owned(), labels, unit));
    }
    found
}

async fn a_run_has_every_metric_of_the_table_and_no_other(db: Db, counts: Snapshotter) -> Db {
    let builder = db.builder().await.sessions_per_user(1, OnLimit::Refuse);
    let sessions = builder.cache(CacheOptions::default()).build().unwrap();
    let late = Browser::default().open(&sessions).await;
    let (ada, id) = Browser::logged_in(&sessions, "ada").await;
    assert!(ada.is_in(&sessions).await);
    sessions.revoke_user("ada").await.unwrap();
    late.log_in("ada").await.unwrap_err();
    assert!(!ada.is_in(&sessions).await, "{id}");
    conflict(&sessions).await;
    Browser::with(&sessions, "n", json!(1)).await;
    db.pass(days(2)).await;
    sessions.cleanup(Schedule::every(hours(1))).run_once().await.unwrap();
    one_bad_row(&db).await;
    db.run("drop table sessile.sessions cascade", "drop table sessions").await;
    sessions.count().await.unwrap_err();

    let (documented, emitted) = (documented(), emitted(&counts));
    let missing: Vec<_> = documented.difference(&emitted).collect();
    let unknown: Vec<_> = emitted.difference(&documented).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "in the table only: {missing:#?}\nin the run only: {unknown:#?}"
    );
    db
}

async fn each_end_and_each_log_in_is_counted_once(db: Db, counts: Snapshotter) -> Db {
    let sessions = db.sessions().await;
    let (one, _) = Browser::logged_in(&sessions, "ada").await;
    let (two, _) = Browser::logged_in(&sessions, "ada").await;
    let (_, three) = Browser::logged_in(&sessions, "ada").await;
    two.open(&sessions).await.log_out_device(three).await.unwrap();
    one.open(&sessions).await.log_out_others().await.unwrap();
    one.open(&sessions).await.log_out().await.unwrap();
    // Nobody is logged in, so nothing ends.
    one.open(&sessions).await.log_out().await.unwrap();
    let found = values(&counts);
    assert_eq!(counter(&found, "log_ins_total"), 3.0);
    for reason in ["log_out_device", "log_out_others", "log_out"] {
        assert_eq!(counter(&found, &format!("sessions_ended_total{{reason={reason}}}")), 1.0);
    }
    assert_eq!(counter(&found, "cookies_refused_total{reason=ended}"), 1.0);

    let (ada, _) = Browser::logged_in(&sessions, "ada").await;
    Browser::logged_in(&sessions, "ada").await;
    ada.open(&sessions).await.log_out_everywhere().await.unwrap();
    let (_, id) = Browser::logged_in(&sessions, "ada").await;
    // A text of the application is in no label.
    sessions.revoke(id).reason("a lost laptop").await.unwrap();
    let late = Browser::default().open(&sessions).await;
    sessions.revoke_user("ada").await.unwrap();
    late.log_in("ada").await.unwrap_err();
    Browser::logged_in(&sessions, "ada").await;
    sessions.forget_user("ada").await.unwrap();
    let few = db.builder().await.sessions_per_user(1, OnLimit::EndOldest).build().unwrap();
    Browser::logged_in(&few, "bob").await;
    Browser::logged_in(&few, "bob").await;
    let full = db.builder().await.sessions_per_user(1, OnLimit::Refuse).build().unwrap();
    Browser::default().open(&full).await.log_in("bob").await.unwrap_err();
    let found = values(&counts);
    let ended: BTreeMap<_, _> =
        found.iter().filter(|(name, _)| name.starts_with("sessions_ended")).collect();
    for (reason, sessions) in [("log_out_everywhere", 2.0), ("revoked", 2.0), ("limit", 1.0)] {
        let name = format!("sessions_ended_total{{reason={reason}}}");
        assert_eq!(counter(&found, &name), sessions, "{reason}: {ended:?}");
    }
    assert_eq!(counter(&found, "log_ins_refused_total{reason=cutoff}"), 1.0);
    assert_eq!(counter(&found, "log_ins_refused_total{reason=limit}"), 1.0);
    assert!(!format!("{found:?}").contains("laptop"));
    db
}

async fn conflict(sessions: &Sessions) {
    let (browser, _) = Browser::with(sessions, "n", json!(1)).await;
    let (one, two) = (browser.open(sessions).await, browser.open(sessions).await);
    for session in [one, two] {
        session.insert("m", 1).unwrap();
        session.save().await.unwrap();
    }
}

async fn a_save_after_another_one_is_a_conflict(db: Db, counts: Snapshotter) -> Db {
    let sessions = db.sessions().await;
    let (browser, id) = Browser::with(&sessions, "n", json!(1)).await;
    conflict(&sessions).await;
    // A session that has ended is no conflict.
    let held = browser.open(&sessions).await;
    sessions.revoke(id).await.unwrap();
    held.insert("m", 1).unwrap();
    held.save().await.unwrap_err();
    assert_eq!(counter(&values(&counts), "conflicts_total"), 1.0);
    db
}

async fn requests_that_come_at_once_share_statements(db: Db, counts: Snapshotter) -> Db {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    values(&counts);
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (sessions, browser) = (sessions.clone(), browser.clone());
        requests.spawn(async move { assert!(browser.is_in(&sessions).await) });
    }
    requests.join_all().await;
    let found = values(&counts);
    assert_eq!(found["operation_duration_seconds{verb=load}"].len(), 50);
    let (sizes, lengths) = (&found["batch_size{verb=load}"], &found["queue_length{verb=load}"]);
    assert_eq!(sizes.iter().sum::<f64>(), 50.0, "each request is in one statement");
    assert!(sizes.len() < 10, "{sizes:?}");
    assert_eq!(sizes.len(), lengths.len());
    assert!(std::iter::zip(sizes, lengths).all(|(size, length)| size <= length));
    db
}

async fn a_copy_in_memory_is_a_hit(db: Db, counts: Snapshotter) -> Db {
    let builder = db.builder().await;
    let sessions = builder.cache(CacheOptions::default().bound(hours(1))).build().unwrap();
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    crate::cache::eventually(async || {
        browser.open(&sessions).await;
        counter(&values(&counts), "cache_loads_total{outcome=hit}") > 0.0
    })
    .await;
    for _ in 0..5 {
        browser.open(&sessions).await;
    }
    let found = values(&counts);
    assert_eq!(counter(&found, "cache_loads_total{outcome=hit}"), 5.0);
    assert_eq!(counter(&found, "cache_loads_total{outcome=miss}"), 0.0);
    assert_eq!(found["operation_duration_seconds{verb=load}"].len(), 5);
    assert!(found.get("batch_size{verb=load}").is_none_or(Vec::is_empty));
    db
}

async fn a_sweep_tells_what_it_deleted_and_how_late(db: Db, counts: Snapshotter) -> Db {
    let sessions = db.sessions().await;
    for n in 0..3 {
        Browser::with(&sessions, "n", json!(n)).await;
    }
    let cleanup = sessions.cleanup(Schedule::every(hours(1)));
    cleanup.run_once().await.unwrap();
    let found = values(&counts);
    assert_eq!(counter(&found, "cleanup_deleted_rows_total"), 0.0);
    assert!(!found.contains_key("cleanup_backlog_seconds"), "nothing was due");

    // The idle timeout of a visitor, and at most half of it for the step of `expires_at`.
    db.pass(days(10)).await;
    cleanup.run_once().await.unwrap();
    let found = values(&counts);
    assert_eq!(counter(&found, "cleanup_deleted_rows_total"), 3.0);
    assert_eq!(found["cleanup_duration_seconds{outcome=done}"].len(), 1);
    let backlog = found["cleanup_backlog_seconds"][0] / 86_400.0;
    assert!((8.0..10.0).contains(&backlog), "{backlog} days");

    // A row that a person has edited stops no sweep.
    Browser::with(&sessions, "n", json!(1)).await;
    db.run(
        "update sessile.sessions set valid_until = '-infinity', expires_at = '-infinity'",
        "update sessions set valid_until = -9223372036854775808, expires_at = -9223372036854775808",
    )
    .await;
    assert_eq!(cleanup.run_once().await.unwrap().rows, 1);
    db
}

/// Saves that share a statement, of which the database refuses one row.
async fn one_bad_row(db: &Db) {
    db.run(
        "alter table sessile.sessions add constraint good check (data->>'late' is distinct from '3')",
        "create trigger good before update on sessions when new.data->>'late' = 3 begin select raise(abort, 'bad'); end",
    )
    .await;
    let sessions = db.sessions().await;
    let mut opened = Vec::new();
    for n in 0..4 {
        let (browser, _) = Browser::with(&sessions, "n", json!(n)).await;
        opened.push(browser.open(&sessions).await);
    }
    let mut saves = tokio::task::JoinSet::new();
    for (n, session) in opened.into_iter().enumerate() {
        saves.spawn(async move {
            session.insert("late", n).unwrap();
            assert_eq!(session.save().await.is_ok(), n != 3);
        });
    }
    saves.join_all().await;
}

async fn a_bad_row_is_a_retry_of_the_others(db: Db, counts: Snapshotter) -> Db {
    one_bad_row(&db).await;
    let found = values(&counts);
    assert!(counter(&found, "retries_total{reason=one_row}") > 0.0, "{found:?}");
    assert_eq!(found["operation_duration_seconds{verb=save}"].len(), 4, "a retry is no call");
    assert_eq!(counter(&found, "operation_errors_total{verb=save,kind=database}"), 1.0);
    db
}

/// Only Postgres has locks of rows.
#[test]
fn a_locked_row_is_asked_for_again() {
    counted(Db::postgres(), async |db, counts| {
        let sessions = db.sessions().await;
        let mut opened = Vec::new();
        for n in 0..4 {
            let (browser, _) = Browser::with(&sessions, "n", json!(n)).await;
            opened.push(browser.open(&sessions).await);
        }
        let Pool::Postgres(pool) = &db.pool else { unreachable!() };
        let mut lock = pool.begin().await.unwrap();
        sqlx::query("select id from sessile.sessions for update")
            .execute(&mut *lock)
            .await
            .unwrap();
        let mut saves = tokio::task::JoinSet::new();
        for session in opened {
            saves.spawn(async move {
                session.insert("late", 1).unwrap();
                session.save().await.unwrap();
            });
        }
        let mut locked = 0.0;
        crate::cache::eventually(async || {
            locked += counter(&values(&counts), "retries_total{reason=locked}");
            locked > 0.0
        })
        .await;
        lock.rollback().await.unwrap();
        saves.join_all().await;
        db
    });
}

async fn a_failure_is_counted_by_its_kind(db: Db, counts: Snapshotter) -> Db {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    db.run("drop table sessile.sessions cascade", "drop table sessions").await;
    for _ in 0..2 {
        assert_eq!(browser.try_open(&sessions).await.unwrap_err().kind(), ErrorKind::Schema);
    }
    let found = values(&counts);
    assert_eq!(counter(&found, "operation_errors_total{verb=load,kind=schema}"), 2.0);
    assert_eq!(found["operation_duration_seconds{verb=load}"].len(), 2);
    db
}
