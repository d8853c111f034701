//! The inbox: events are there before and after they are filed, and never twice.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use sessile::{
    CleanupReport, OnLimit, Schedule, Sessions, days, hours,
    store::{Filed, postgres::PostgresStore},
};
use sqlx::query;
use tokio::{task::JoinSet, time::timeout};

use super::{events, log_in};
use crate::{
    support::{Browser, Db, Pool, cases},
    tx::{Tx, until_waiting},
};

cases! {
    an_event_is_there_before_and_after_it_is_filed,
    what_the_library_records_goes_into_the_inbox,
    a_run_files_what_it_finds_and_leaves_what_it_writes,
    events_are_filed_in_batches,
    a_hook_may_end_a_run_that_files,
    a_filed_event_that_is_too_old_goes,
    a_reader_sees_each_event_once_while_events_are_filed,
    runs_at_once_file_each_event_once,
    a_user_is_forgotten_with_filed_events_and_others,
}

/// How many events there are in the inbox, and in the log.
async fn places(db: &Db) -> (i64, i64) {
    let count = async |table: &str| {
        let count = format!("select count(*) from {table}");
        db.number(&count.replace(table, &format!("sessile.{table}")), &count).await
    };
    (count("session_event_inbox").await, count("session_event_log").await)
}

/// Puts so many events into the inbox, each of a user of its own.
async fn fill(db: &Db, many: u32) {
    db.run(
        &format!("insert into sessile.session_event_inbox (at, event, user_id) select now(), 'logged_in', 'user ' || n from generate_series(1, {many}) as n"),
        &format!("with recursive series(n) as (select 1 union all select n + 1 from series where n < {many})
            insert into session_event_inbox (at, event, user_id) select cast(round(unixepoch('subsec') * 1000) as integer), 'logged_in', 'user ' || n from series"),
    )
    .await;
}

/// The number of events, and of the users that they name.
async fn seen(db: &Db) -> String {
    let seen = "select count(*) || ' ' || count(distinct user_id) from session_events";
    let found = db.texts(&seen.replace("from ", "from sessile."), seen).await;
    found.concat()
}

async fn run_in_batches(sessions: &Sessions, of: u32) -> CleanupReport {
    let cleanup = sessions.cleanup(Schedule::every(hours(1))).batch(of).pause(Duration::ZERO);
    cleanup.run_once().await.unwrap()
}

async fn an_event_is_there_before_and_after_it_is_filed(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = Browser::default();
    log_in(&mut browser, &sessions, "ada").await;
    let raw = async || {
        db.texts(
            "select e::text from sessile.session_events as e",
            "select json_array(at, event, realm, hex(session_id), user_id, ip, user_agent, reason, actor) from session_events_raw",
        )
        .await
    };
    let by_hour = async || {
        let by_hour = "select logged_in + logged_out from sessions_by_hour";
        db.number(&by_hour.replace("from ", "from sessile."), by_hour).await
    };
    let before = raw().await;
    assert_eq!(events(&db).await, ["logged_in |  | session | ada | 192.0.2.7 | Lynx | - | user"]);
    assert_eq!((places(&db).await, by_hour().await), ((1, 0), 1));

    assert_eq!(sessions.sweep().await.unwrap().filed, 1);
    assert_eq!((places(&db).await, by_hour().await), ((0, 1), 1));
    assert_eq!(raw().await, before);
    assert_eq!(sessions.sweep().await.unwrap().filed, 0);
    assert_eq!(raw().await, before);

    // The view shows revocations of both tables.
    sessions.revoke_user("ada").reason("a lost laptop").await.unwrap();
    if !db.is_postgres() {
        let reasons = "select distinct reason from revocations";
        for _ in 0..2 {
            assert_eq!(db.texts("", reasons).await, ["a lost laptop"]);
            sessions.sweep().await.unwrap();
        }
    }
}

/// Except the events that an index of the log limits to one a minute.
async fn what_the_library_records_goes_into_the_inbox(db: Db) {
    let builder = db.builder().await.sessions_per_user(2, OnLimit::EndOldest);
    let sessions = builder.build().unwrap();
    for _ in 0..3 {
        Browser::logged_in(&sessions, "ada").await;
    }
    let mut browser = Browser::default();
    log_in(&mut browser, &sessions, "bob").await;
    let session = browser.open(&sessions).await;
    session.reauthenticate().await.unwrap();
    browser.finish(&session).await;
    browser.open(&sessions).await.log_out().await.unwrap();
    let (_, id) = Browser::logged_in(&sessions, "eve").await;
    sessions.revoke(id).await.unwrap();
    sessions.revoke_user("ada").await.unwrap();
    Browser::logged_in(&sessions, "eve").await;
    sessions.revoke_all().await.unwrap();
    let refuses = db.builder().await.sessions_per_user(1, OnLimit::Refuse).build().unwrap();
    Browser::logged_in(&refuses, "mallory").await;
    Browser::default().open(&refuses).await.log_in("mallory").await.unwrap_err();
    let names = async || {
        let names = "select event || ' ' || count(*) from session_event_inbox group by event order by event";
        db.texts(&names.replace("from ", "from sessile."), names).await
    };
    let found = names().await;
    let expected = ["logged_in 7", "logged_out 1", "reauthenticated 1", "refused 1", "revoked 7"];
    assert_eq!(found, expected);
    assert_eq!(places(&db).await.1, 0);
}

async fn a_run_files_what_it_finds_and_leaves_what_it_writes(db: Db) {
    let sessions = db.sessions().await;
    for user in ["ada", "bob", "eve", "mallory", "zoe"] {
        Browser::logged_in(&sessions, user).await;
    }
    db.pass(days(60)).await;
    // On Postgres, the first statement deletes by the index and the second one by pages.
    let report = run_in_batches(&sessions, 2).await;
    assert_eq!((report.filed, report.rows), (5, 5));
    assert_eq!(places(&db).await, (5, 5));
    if db.is_postgres() {
        Browser::logged_in(&sessions, "ada").await;
        let (_, locked) = Browser::logged_in(&sessions, "bob").await;
        db.pass(days(60)).await;
        let mut lock = Tx::begin(&db).await;
        lock.execute(&format!("select from sessile.sessions where id = '{locked}' for update"))
            .await;
        // Past the locked row, by pages.
        db.store().sweep_pages(0..10, true).await.unwrap();
        assert_eq!(places(&db).await, (8, 5));
        lock.roll_back().await;
    }
    let left = places(&db).await.0.unsigned_abs();
    let report = sessions.sweep().await.unwrap();
    assert_eq!(report.filed, left);
    sessions.sweep().await.unwrap();
    assert_eq!(places(&db).await.0, 0);
    assert_eq!(sessions.sweep().await.unwrap().batches, 1, "an empty inbox is no statement");
}

async fn events_are_filed_in_batches(db: Db) {
    fill(&db, 5).await;
    let store = db.store();
    let mut from = 0;
    for left in [3, 1] {
        let filed = store.file_events(from, 2).await.unwrap();
        assert_eq!(filed.events, 2);
        assert_eq!(places(&db).await, (left, 5 - left));
        from = filed.next.expect("there are more");
    }
    // What comes meanwhile is filed now, or by the next pass.
    let last = store.file_events(from, 2).await.unwrap();
    assert_eq!(last, Filed { events: 1, next: None });
    assert_eq!(store.file_events(0, 2).await.unwrap(), Filed::default());
    assert_eq!(seen(&db).await, "5 5");

    fill(&db, 1000).await;
    let sessions = db.sessions().await;
    let report = run_in_batches(&sessions, 30).await;
    assert_eq!((report.filed, places(&db).await), (1000, (0, 1005)));
    let statements = 1000_u64.div_ceil(30) + 1;
    assert!((statements..=statements + 1).contains(&report.batches), "{report:?}");
}

async fn a_hook_may_end_a_run_that_files(db: Db) {
    let sessions = db.sessions().await;
    Browser::with(&sessions, "n", json!(1)).await;
    db.pass(days(60)).await;
    fill(&db, 5).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let (reports, cleanup) = (told.clone(), sessions.cleanup(Schedule::every(hours(1))).batch(2));
    let cleanup = cleanup.on_batch(move |report| {
        reports.lock().unwrap().push((report.filed, report.rows));
        if report.filed < 4 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let report = cleanup.run_once().await.unwrap();
    assert_eq!((report.filed, report.rows, report.batches), (4, 0, 2));
    assert_eq!(*told.lock().unwrap(), [(2, 0), (4, 0)]);
    assert_eq!((places(&db).await, db.rows().await), ((1, 4), 1));
}

/// In one run.
async fn a_filed_event_that_is_too_old_goes(db: Db) {
    for age in [89, 91] {
        db.run(
            &format!("insert into sessile.session_event_inbox (at, event, user_id) values (now() - interval '{age} days', 'logged_in', 'bob')"),
            &format!("insert into session_event_inbox (at, event, user_id) values (cast(round(unixepoch('subsec') * 1000) as integer) - 86400000 * {age}, 'logged_in', 'bob')"),
        )
        .await;
    }
    assert_eq!(db.sessions().await.sweep().await.unwrap().filed, 2);
    assert_eq!(places(&db).await, (0, 1));
}

async fn a_reader_sees_each_event_once_while_events_are_filed(db: Db) {
    fill(&db, 2000).await;
    let sessions = db.sessions().await;
    let run = tokio::spawn(async move { run_in_batches(&sessions, 20).await });
    let mut between = 0;
    while !run.is_finished() {
        assert_eq!(seen(&db).await, "2000 2000");
        let (inbox, _) = places(&db).await;
        between += i32::from(0 < inbox && inbox < 2000);
    }
    assert_eq!(run.await.unwrap().filed, 2000);
    assert_eq!(seen(&db).await, "2000 2000");
    assert!(between > 0, "no reader came between two statements");
}

/// While users log in and out. On SQLite, each writer waits for all others, so there are fewer.
async fn runs_at_once_file_each_event_once(db: Db) {
    let (at_once, log_ins): (u32, u32) = if db.is_postgres() { (8, 12) } else { (3, 32) };
    let mut tasks = JoinSet::new();
    for user in 0..at_once {
        let (sessions, node) = (db.sessions().await, db.sessions().await);
        tasks.spawn(async move {
            for n in 0..log_ins {
                let (browser, _) = Browser::logged_in(&sessions, &format!("{user} {n}")).await;
                browser.open(&sessions).await.log_out().await.unwrap();
            }
        });
        tasks.spawn(async move {
            for _ in 0..log_ins {
                run_in_batches(&node, 3).await;
            }
        });
    }
    tasks.join_all().await;
    run_in_batches(&db.sessions().await, 3).await;
    assert_eq!(places(&db).await, (0, i64::from(2 * at_once * log_ins)));
    let users = at_once * log_ins;
    assert_eq!(seen(&db).await, format!("{} {users}", 2 * users));
}

async fn a_user_is_forgotten_with_filed_events_and_others(db: Db) {
    let sessions = db.sessions().await;
    let office = db.builder().await.realm("office").build().unwrap();
    for _ in 0..2 {
        Browser::logged_in(&sessions, "ada").await;
        Browser::logged_in(&sessions, "bob").await;
        Browser::logged_in(&office, "ada").await;
        if places(&db).await.1 == 0 {
            sessions.sweep().await.unwrap();
        }
    }
    assert_eq!(places(&db).await, (3, 3));
    sessions.forget_user("ada").await.unwrap();
    assert_eq!(places(&db).await, (2, 2));
    assert!(!events(&db).await.iter().any(|event| event.contains("|  | session | ada")));
}

const FILE: &str = "with taken as (delete from sessile.session_event_inbox returning *)
    insert into sessile.session_event_log select * from taken";

/// Another transaction is moving the user's events: they are in neither table for others, or in both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_forgotten_while_events_are_filed() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    Browser::logged_in(&sessions, "ada").await;
    Browser::logged_in(&sessions, "bob").await;
    let mut filing = Tx::begin(&db).await;
    assert_eq!(filing.execute(FILE).await, 2);
    let forgetting = tokio::spawn(async move { sessions.forget_user("ada").await.unwrap() });
    until_waiting(&db, 1).await;
    filing.commit().await;
    assert_eq!(forgetting.await.unwrap().ended, 1);
    assert_eq!(events(&db).await, ["logged_in |  | session | bob | - | - | - | user"]);
    db.drop().await;
}

/// SQLite has no such locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_event_is_left_to_the_next_run() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    fill(&db, 3).await;
    let mut lock = Tx::begin(&db).await;
    lock.execute("select from sessile.session_event_inbox where user_id = 'user 2' for update")
        .await;
    let soon = timeout(Duration::from_secs(10), sessions.sweep()).await.expect("it waits");
    assert_eq!((soon.unwrap().filed, places(&db).await), (2, (1, 2)));
    lock.roll_back().await;
    assert_eq!(sessions.sweep().await.unwrap().filed, 1);
    assert_eq!(seen(&db).await, "3 3");
    db.drop().await;
}

/// Two sweepers would find the same pages.
#[tokio::test]
async fn events_are_left_to_the_sweeper_that_holds_the_lock() {
    let db = Db::postgres().await;
    fill(&db, 3).await;
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    let mut other = pool.begin().await.unwrap();
    let lock = query("select pg_advisory_xact_lock($1)").bind(0x7365_7373_696c_6501_i64);
    lock.execute(&mut *other).await.unwrap();
    let report = db.sessions().await.sweep().await.unwrap();
    assert!(report.busy && report.filed == 0, "{report:?}");
    other.rollback().await.unwrap();
    assert_eq!(db.sessions().await.sweep().await.unwrap().filed, 3);
    db.drop().await;
}

/// Deleted rows stay on their pages until a vacuum.
#[tokio::test]
async fn a_pass_reads_each_page_once_and_reaches_the_last() {
    const PAGES: u32 = 3_100;
    let db = Db::postgres().await;
    // One event on each page.
    let room =
        "alter table sessile.session_event_inbox set (fillfactor = 10, autovacuum_enabled = off)";
    db.run(room, "").await;
    let fill = format!(
        "insert into sessile.session_event_inbox (at, event, user_id) select now(), repeat('x', 800), 'user ' || n from generate_series(1, {PAGES}) as n"
    );
    db.run(&fill, "").await;
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    let store: Arc<dyn sessile::store::Store> = Arc::new(PostgresStore::new(pool.clone()));
    let (mut from, mut begins) = (0, Vec::new());
    loop {
        let filed = store.file_events(from, 1000).await.unwrap();
        begins.push(from);
        let Some(next) = filed.next else { break };
        assert!(next > from, "{begins:?}");
        from = next;
    }
    assert_eq!(begins, [0, 999, 1999, 2999]);
    // Empty pages, and one event after them.
    let last = "insert into sessile.session_event_inbox (at, event) values (now(), 'at the end')";
    db.run(last, "").await;
    assert_eq!(places(&db).await, (1, i64::from(PAGES)));
    assert_eq!(db.sessions().await.sweep().await.unwrap().filed, 1);
    db.drop().await;
}

/// It would refuse the deletions in a table that has neither a primary key nor another replica identity.
#[tokio::test]
async fn a_publication_of_all_tables_lets_the_cleanup_work() {
    let db = Db::postgres().await;
    db.run("create publication everything for all tables", "").await;
    let sessions = db.sessions().await;
    Browser::logged_in(&sessions, "ada").await;
    db.pass(days(60)).await;
    for filed in [1, 1, 0] {
        assert_eq!(sessions.sweep().await.unwrap().filed, filed);
    }
    sessions.forget_user("ada").await.unwrap();
    assert_eq!(places(&db).await, (0, 0));
    db.drop().await;
}
