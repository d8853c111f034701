//! From each earlier version to the newest, with data, and while others use the database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use sessile::CookieChange;
use tokio::task::JoinHandle;

use super::{EVENTS, FIRST, INBOX, REALMS, empty_cases, sqlx, until, works};
use crate::support::{Browser, Db, Pool};

empty_cases! {
    data_of_every_earlier_version_survives,
    events_stay_when_the_inbox_comes_and_goes,
    a_large_table_is_not_rewritten_and_its_writers_do_not_wait,
}

/// For each version that was released: its schema, with sessions in it, migrated to the newest. The
/// rows were written by that version, and are in `tests/it/earlier`.
async fn data_of_every_earlier_version_survives(db: Db) {
    let versions = [
        (
            FIRST,
            include_str!("../earlier/20261123000001.postgres.sql"),
            include_str!("../earlier/20261123000001.sqlite.sql"),
            // The row does not say so, and its idle timeout is not that of a remembered session.
            false,
        ),
        (
            REALMS,
            include_str!("../earlier/20261125000002.postgres.sql"),
            include_str!("../earlier/20261125000002.sqlite.sql"),
            true,
        ),
        (
            EVENTS,
            include_str!("../earlier/20261127000004.postgres.sql"),
            include_str!("../earlier/20261127000004.sqlite.sql"),
            true,
        ),
        (
            INBOX,
            include_str!("../earlier/20261128000005.postgres.sql"),
            include_str!("../earlier/20261128000005.sqlite.sql"),
            true,
        ),
    ];
    for (version, postgres, sqlite, is_remembered) in versions {
        sqlx(&db, &["run", "--target-version", version]);
        let text = if db.is_postgres() { postgres } else { sqlite };
        for statement in text.split(";\n") {
            db.run(statement, statement).await;
        }
        let sessions = db.sessions().await;
        sessions.migrate().await.unwrap();
        let checked = db.texts("select 'ok'", "pragma integrity_check").await;
        assert_eq!(checked, ["ok"], "{version}");
        let cookie = "AaIJ_dtdc0OfeFOWaEic0gABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let mut browser = Browser { cookie: Some(cookie.to_owned()) };
        let session = browser.open(&sessions).await;
        assert_eq!(session.user_id().as_deref(), Some("ada"), "{version}");
        assert_eq!(session.data::<serde_json::Value>().unwrap(), json!({"cart": {"tea": 2}}));
        session
            .update("cart", |cart: &mut serde_json::Value| cart["tea"] = json!(3))
            .await
            .unwrap();
        let device = &session.devices().await.unwrap()[0];
        assert_eq!(device.ip, Some([192, 0, 2, 1].into()));
        assert_eq!(device.user_agent.as_deref(), Some("curl"));
        session.reauthenticate().await.unwrap();
        let change = session.finish().await.unwrap();
        let CookieChange::Set { max_age, .. } = &change else { panic!("{change:?}") };
        assert_eq!(max_age.is_some(), is_remembered, "{version}");
        browser.keep(change);
        browser.open(&sessions).await.log_out_everywhere().await.unwrap();
        assert!(!browser.is_in(&sessions).await);
        let was_recorded = i64::from([EVENTS, INBOX].contains(&version));
        assert_eq!(logged_in(&db).await, was_recorded, "{version}");
        sqlx(&db, &["revert", "--target-version", "0"]);
    }
}

/// The number of events of log-ins.
async fn logged_in(db: &Db) -> i64 {
    let count = "select count(*) from session_events where event = 'logged_in'";
    db.number(&count.replace("from ", "from sessile."), count).await
}

/// Of the inbox and of the log.
async fn events_stay_when_the_inbox_comes_and_goes(db: Db) {
    let sessions = db.sessions().await;
    sessions.migrate().await.unwrap();
    Browser::logged_in(&sessions, "ada").await;
    assert_eq!(sessions.sweep().await.unwrap().filed, 1);
    let (browser, _) = Browser::logged_in(&sessions, "bob").await;
    assert_eq!(logged_in(&db).await, 2);
    sqlx(&db, &["revert", "--target-version", EVENTS]);
    assert_eq!(logged_in(&db).await, 2);
    // As a node of that version writes it.
    let insert = |now| {
        format!(
            "insert into session_event_log (at, event, user_id) values ({now}, 'logged_in', 'eve')"
        )
    };
    db.run(&insert("now()").replace("into ", "into sessile."), &insert("unixepoch() * 1000")).await;
    sessions.migrate().await.unwrap();
    assert_eq!(logged_in(&db).await, 3);
    db.run(&insert("now()").replace("into ", "into sessile."), &insert("unixepoch() * 1000")).await;
    browser.open(&sessions).await.log_out().await.unwrap();
    assert_eq!(sessions.sweep().await.unwrap().filed, 1);
    assert_eq!(logged_in(&db).await, 4);
}

/// This many sessions, as the first release wrote them.
async fn fill(db: &Db, rows: u32) {
    db.run(
        &format!("insert into sessile.sessions (id, revision, created_at, authenticated_at, last_seen_at,
                absolute_expires_at, valid_until, expires_at, idle_timeout, secret_hash, user_id, data, ip, user_agent)
            select gen_random_uuid(), 1, now(), now(), now(), now() + interval '1 day', now() + interval '1 hour',
                now() + interval '90 minutes', 3600, sha256(n::text::bytea), 'user-' || n,
                '{{\"cart\":{{\"tea\":2,\"honey\":1}}}}', '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64)'
            from generate_series(1, {rows}) n"),
        &format!("insert into sessions (id, revision, created_at, authenticated_at, last_seen_at,
                absolute_expires_at, valid_until, expires_at, idle_timeout, secret_hash, user_id, data, ip, user_agent)
            with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {rows}),
                clock (now) as (select cast(round(unixepoch('subsec') * 1000) as integer))
            select randomblob(16), 1, now, now, now, now + 86400000, now + 3600000, now + 5400000, 3600,
                randomblob(32), 'user-' || n, '{{\"cart\":{{\"tea\":2,\"honey\":1}}}}', '192.0.2.1',
                'Mozilla/5.0 (X11; Linux x86_64)'
            from numbers, clock"),
    )
    .await;
}

/// A client that writes to one row after another.
struct Writer {
    writes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    longest: JoinHandle<Duration>,
}

impl Writer {
    fn begin(db: &Db) -> Self {
        let (writes, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (db, counted, stopped) = (db.clone(), writes.clone(), stop.clone());
        let longest = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !stopped.load(SeqCst) {
                let user = format!("where user_id = 'user-{}'", counted.load(SeqCst) % 1000 + 1);
                let begun = Instant::now();
                db.run(
                    &format!("update sessile.sessions set revision = revision + 1 {user}"),
                    &format!("update sessions set revision = revision + 1 {user}"),
                )
                .await;
                longest = longest.max(begun.elapsed());
                counted.fetch_add(1, SeqCst);
            }
            longest
        });
        Self { writes, stop, longest }
    }

    /// Waits until the writer has written some more rows.
    async fn goes_on(&self) {
        let before = self.writes.load(SeqCst);
        until("the writer goes on", async || self.writes.load(SeqCst) > before + 2).await;
    }

    /// The duration of its longest write.
    async fn longest(self) -> Duration {
        self.goes_on().await;
        self.stop.store(true, SeqCst);
        self.longest.await.unwrap()
    }
}

async fn a_large_table_is_not_rewritten_and_its_writers_do_not_wait(db: Db) {
    sqlx(&db, &["run", "--target-version", FIRST]);
    fill(&db, if db.is_postgres() { 50_000 } else { 200_000 }).await;
    db.run("analyze sessile.sessions", "pragma wal_checkpoint(truncate)").await;
    // Postgres rewrites a changed table into another file. On SQLite the log contains the written pages.
    let file = async || {
        let postgres = "select string_agg(pg_relation_filenode(c.oid)::text, ' ' order by c.oid) from pg_class c
            where c.oid = 'sessile.sessions'::regclass
                or c.oid in (select indexrelid from pg_index where indrelid = 'sessile.sessions'::regclass)";
        db.texts(postgres, "select ''").await
    };
    let file_before = file().await;

    let writer = Writer::begin(&db);
    writer.goes_on().await;
    let begun = Instant::now();
    db.sessions().await.migrate().await.unwrap();
    let took = begun.elapsed();
    let longest = writer.longest().await;
    eprintln!("the migration took {took:?}, the longest write meanwhile {longest:?}");
    assert!(longest < Duration::from_secs(1), "a write took {longest:?}");
    assert_eq!(file().await, file_before);
    if !db.is_postgres() {
        let path = db.url.strip_prefix("sqlite://").unwrap();
        let [table, log] =
            ["", "-wal"].map(|end| std::fs::metadata(format!("{path}{end}")).unwrap().len());
        assert!(log < table / 4, "{log} bytes were written for a table of {table}");
    }
    works(&db.sessions().await).await;
}

/// It gives up for a moment, so that no statement waits both for it and for the transaction that it waits
/// for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_meets_a_locked_table_lets_others_pass_postgres() {
    let db = Db::empty_postgres().await;
    sqlx(&db, &["run", "--target-version", FIRST]);
    fill(&db, 1000).await;
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    let mut reader = pool.begin().await.unwrap();
    sqlx::query("select count(*) from sessile.sessions").execute(&mut *reader).await.unwrap();

    let writer = Writer::begin(&db);
    writer.goes_on().await;
    let sessions = db.sessions().await;
    let migration = tokio::spawn(async move { sessions.migrate().await });
    let waits = async || {
        let waiting =
            "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'
            and relation = 'sessile.sessions'::regclass";
        db.number(waiting, "").await > 0
    };
    for _ in 0..2 {
        until("it asks for the lock", waits).await;
        until("it gives up", async || !waits().await).await;
        writer.goes_on().await;
        assert!(!migration.is_finished());
    }
    reader.rollback().await.unwrap();
    migration.await.unwrap().unwrap();
    let longest = writer.longest().await;
    // A write waits at most as long as one try, which is less than a second, and does not wait for the
    // reader.
    assert!(longest < Duration::from_millis(1500), "a write took {longest:?}");
    works(&db.sessions().await).await;
    db.drop().await;
}
