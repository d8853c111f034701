//! `cleanup`.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use crate::{
    program::{done, failed, interrupt, on, rows},
    support::{self, Db, log_in},
};

support::cases! {
    expired_rows_are_deleted_and_recorded,
    events_stay_unless_their_age_is_given,
    no_event_is_recorded_if_the_application_wants_none,
    a_schedule_runs_until_it_is_interrupted,
    an_interrupted_run_keeps_what_is_done,
    a_wrong_schedule_is_named,
}

async fn expired(db: &Db, number: usize) {
    let sessions = db.sessions().await;
    for _ in 0..number {
        log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    }
    db.run("update sessions set valid_until = {now} - {s}, expires_at = {now} - {s}").await;
    log_in(&sessions, "live", "203.0.113.7", "curl").await;
}

async fn expired_rows_are_deleted_and_recorded(db: Db) {
    expired(&db, 3).await;
    assert_eq!(
        done(&db, &["cleanup", "--dry-run"]),
        "Would delete about 3 rows of expired sessions.\n"
    );
    let out = done(&db, &["cleanup", "--batch", "2"]);
    assert!(out.starts_with("Deleted 3 rows of expired sessions in "), "{out}");
    assert!(out.ends_with("Filed 4 events.\n"), "{out}");
    assert_eq!(rows(&db, &["list"]).len(), 1);
    assert_eq!(rows(&db, &["events", "--event", "expired"]).len(), 3);
    let stats = rows(&db, &["stats"]);
    let expired = stats.iter().find(|row| row["name"] == "expired").unwrap();
    assert_eq!(expired["value"], 0);
}

async fn events_stay_unless_their_age_is_given(db: Db) {
    expired(&db, 1).await;
    db.run("insert into session_event_log (at, event, user_id) select {now} - 31536000 * {s}, 'logged_in', 'old'").await;
    let old = || rows(&db, &["events", "--user", "old"]).len();
    done(&db, &["cleanup"]);
    assert_eq!(old(), 1);
    done(&db, &["cleanup", "--keep-events", "2years"]);
    assert_eq!(old(), 1);
    done(&db, &["cleanup", "--keep-events", "90days"]);
    assert_eq!(old(), 0);
}

async fn no_event_is_recorded_if_the_application_wants_none(db: Db) {
    expired(&db, 1).await;
    done(&db, &["cleanup", "--no-events"]);
    assert_eq!(rows(&db, &["events", "--event", "expired"]).len(), 0);
    assert_eq!(rows(&db, &["list"]).len(), 1);
}

async fn a_schedule_runs_until_it_is_interrupted(db: Db) {
    expired(&db, 1).await;
    let mut child = on(&db, &["cleanup", "--every", "1s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.starts_with("Deleted 1 rows of expired sessions"), "{line}");
    interrupt(&child);
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success(), "{said}");
    assert_eq!(rows(&db, &["list"]).len(), 1);
}

async fn an_interrupted_run_keeps_what_is_done(db: Db) {
    let many = 3_000;
    let sessions = db.sessions().await;
    log_in(&sessions, "live", "203.0.113.7", "curl").await;
    let copy = "select {id}, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at, {now} - {s}, {now} - {s}, idle_timeout, secret_hash, user_id, data from sessions";
    let columns = "id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at, valid_until, expires_at, idle_timeout, secret_hash, user_id, data";
    let copy = if db.is_postgres() {
        format!("{}, generate_series(1, {many})", copy.replace("{id}", "gen_random_uuid()"))
    } else {
        format!(
            "{}, (with recursive n(i) as (values (1) union all select i + 1 from n where i < {many}) select i from n)",
            copy.replace("{id}", "randomblob(16)")
        )
    };
    db.run(&format!("insert into sessions ({columns}) {copy}")).await;
    if db.is_postgres() {
        // A backlog goes in one statement, which has to last until the signal comes.
        db.run("create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.0003); return old; end $$; create trigger slow before delete on sessions for each row execute function slow()").await;
    }
    let mut child = on(&db, &["cleanup", "--batch", "1", "--no-events"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    loop {
        let stats = rows(&db, &["stats"]);
        let left =
            stats.iter().find(|row| row["name"] == "expired").unwrap()["value"].as_u64().unwrap();
        if left < many || child.try_wait().unwrap().is_some() {
            break;
        }
    }
    interrupt(&child);
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{out}{said}");
    let deleted: u64 = out.split(' ').nth(1).unwrap().replace(',', "").parse().unwrap();
    let stats = rows(&db, &["stats"]);
    let left =
        stats.iter().find(|row| row["name"] == "expired").unwrap()["value"].as_u64().unwrap();
    assert!(deleted > 0 && (left > 0 || db.is_postgres()), "{out}");
    assert_eq!(deleted + left, many, "it says what it has done");
}

async fn a_wrong_schedule_is_named(db: Db) {
    expired(&db, 1).await;
    let ran = failed(on(&db, &["cleanup", "--cron", "every day"]));
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("cron"), "{ran:?}");
    assert_eq!(rows(&db, &["events", "--event", "expired"]).len(), 0);
}
