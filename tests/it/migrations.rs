//! The schema: up, down, from several nodes at once, and by sqlx-cli.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use sessile::{CookieChange, ErrorKind, Sessions};
use tokio::task::JoinHandle;

use crate::{
    capture::Capture,
    support::{Browser, Db, Pool},
};

/// Each case on an empty database.
macro_rules! empty_cases {
    ($($case:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let db = crate::support::Db::empty_postgres().await;
                super::$case(db.clone()).await;
                db.drop().await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let db = crate::support::Db::empty_sqlite().await;
                super::$case(db.clone()).await;
                db.drop().await;
            })*
        }
    };
}

empty_cases! {
    an_empty_database_is_migrated,
    a_database_that_is_not_migrated_says_what_to_do,
    a_newer_schema_that_is_good_for_this_release_is_used,
    a_newer_schema_that_needs_a_newer_release_is_refused,
    a_newer_schema_that_does_not_say_what_it_needs_is_refused,
    up_down_and_up_again,
    the_way_down_ends_the_sessions_of_other_realms_only,
    sqlx_cli_and_the_library_are_interchangeable,
    nodes_that_start_at_once_all_succeed,
    the_applications_own_ledger_is_not_touched,
    data_of_every_earlier_version_survives,
    a_large_table_is_not_rewritten_and_its_writers_do_not_wait,
}

/// The versions that were released, the newest last.
const FIRST: &str = "20261123000001";
const REALMS: &str = "20261125000002";

async fn works(sessions: &Sessions) {
    let (browser, _) = Browser::with(sessions, "a", json!(1)).await;
    assert!(browser.is_in(sessions).await);
}

/// `sqlx migrate …` on this database, as an application's operators run it.
fn sqlx(db: &Db, command: &[&str]) {
    let folder = if db.is_postgres() { "migrations/postgres" } else { "migrations/sqlite" };
    let output = Command::new("sqlx")
        .arg("migrate")
        .args(command)
        .args(["--source", folder, "--config", &format!("{folder}/sqlx.toml")])
        .args(["--database-url", &db.url])
        .output()
        .expect("sqlx-cli is on the PATH: scripts/test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn an_empty_database_is_migrated(db: Db) {
    let sessions = db.sessions().await;
    sessions.migrate().await.unwrap();
    works(&sessions).await;
    sessions.migrate().await.unwrap();
    works(&sessions).await;
}

async fn a_database_that_is_not_migrated_says_what_to_do(db: Db) {
    let sessions = db.sessions().await;
    let error = sessions.count().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("Sessions::migrate()"), "{error}");
}

/// As after the next release's migration, which says which release it needs at least.
async fn migrated_by_a_later_release(db: &Db, needs_migration: &str, needs_release: &str) {
    db.sessions().await.migrate().await.unwrap();
    db.run(
        "insert into sessile._sqlx_migrations (version, description, success, checksum, execution_time)
         values (99990101000000, 'later', true, '\\x00', 0)",
        "insert into _sessile_migrations (version, description, success, checksum, execution_time)
         values (99990101000000, 'later', true, x'00', 0)",
    )
    .await;
    let needs =
        format!("set needs_migration = {needs_migration}, needs_release = '{needs_release}'");
    db.run(
        &format!("update sessile.session_schema {needs}"),
        &format!("update session_schema {needs}"),
    )
    .await;
}

async fn a_newer_schema_that_is_good_for_this_release_is_used(db: Db) {
    // Releases of their own, so that other tests' lines are told apart.
    let backend = if db.is_postgres() { "postgres" } else { "sqlite" };
    for needs_migration in [FIRST, REALMS] {
        let logs = Capture::begin();
        let release = format!("0.{needs_migration}.0-{backend}");
        migrated_by_a_later_release(&db, needs_migration, &release).await;
        let sessions = db.sessions().await;
        sessions.migrate().await.unwrap();
        works(&sessions).await;
        let message = "the schema is of a newer release, and good for this one";
        let told = logs.events(message, &release);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["message"], "INFO");
        assert_eq!(told[0]["release"], env!("CARGO_PKG_VERSION"));
        assert_eq!(told[0]["needs_release"], release);
        let later = "version = 99990101000000";
        db.run(
            &format!("delete from sessile._sqlx_migrations where {later}"),
            &format!("delete from _sessile_migrations where {later}"),
        )
        .await;
    }
}

async fn a_newer_schema_that_needs_a_newer_release_is_refused(db: Db) {
    migrated_by_a_later_release(&db, "99990101000000", "47.11.0").await;
    let sessions = db.sessions().await;
    let error = sessions.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("needs sessile 47.11.0 or newer"), "{error}");
    let this = format!("this is {}", env!("CARGO_PKG_VERSION"));
    assert!(error.to_string().contains(&this), "{error}");
    // A refusal leaves no lock behind.
    assert!(sessions.migrate().await.is_err());
}

async fn a_newer_schema_that_does_not_say_what_it_needs_is_refused(db: Db) {
    migrated_by_a_later_release(&db, FIRST, "0.1.0").await;
    db.run("delete from sessile.session_schema", "delete from session_schema").await;
    let error = db.sessions().await.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("newer than this version of sessile"), "{error}");
    assert!(error.to_string().contains("session_schema"), "{error}");
}

async fn up_down_and_up_again(db: Db) {
    for _ in 0..2 {
        sqlx(&db, &["run"]);
        let sessions = db.sessions().await;
        works(&sessions).await;
        sqlx(&db, &["revert", "--target-version", "0"]);
        assert_eq!(sessions.count().await.unwrap_err().kind(), ErrorKind::Schema);
    }
    db.sessions().await.migrate().await.unwrap();
    works(&db.sessions().await).await;
}

async fn the_way_down_ends_the_sessions_of_other_realms_only(db: Db) {
    let shop = db.sessions().await;
    shop.migrate().await.unwrap();
    let office = db.builder().await.realm("office").build().unwrap();
    let (guest, _) = Browser::with(&shop, "a", json!(1)).await;
    let (ada, _) = Browser::logged_in(&shop, "ada").await;
    let (guest_of_office, _) = Browser::with(&office, "a", json!(1)).await;
    let (ada_of_office, _) = Browser::logged_in(&office, "ada").await;
    shop.revoke_user("bob").await.unwrap();
    office.revoke_user("bob").await.unwrap();
    let cutoffs = async || {
        db.texts(
            "select user_id from sessile.session_cutoffs where revoked_at is not null",
            "select user_id from session_cutoffs where revoked_at is not null",
        )
        .await
    };
    assert_eq!(cutoffs().await.len(), 2);

    sqlx(&db, &["revert", "--target-version", FIRST]);
    assert_eq!((db.rows().await, cutoffs().await), (2, vec!["bob".to_owned()]));
    sqlx(&db, &["run"]);
    // The connections of before have statements of the other schema.
    let shop = db.sessions().await;
    let office = db.builder().await.realm("office").build().unwrap();
    for browser in [&guest, &ada] {
        assert!(browser.is_in(&shop).await);
        assert!(!browser.is_in(&office).await);
    }
    for browser in [&guest_of_office, &ada_of_office] {
        assert!(!browser.is_in(&office).await && !browser.is_in(&shop).await);
    }
    assert_eq!(ada.open(&shop).await.user_id().as_deref(), Some("ada"));
}

async fn sqlx_cli_and_the_library_are_interchangeable(db: Db) {
    sqlx(&db, &["run"]);
    let sessions = db.sessions().await;
    sessions.migrate().await.unwrap();
    works(&sessions).await;
    sqlx(&db, &["revert", "--target-version", "0"]);
    sessions.migrate().await.unwrap();
    sqlx(&db, &["run"]);
    works(&sessions).await;
}

async fn nodes_that_start_at_once_all_succeed(db: Db) {
    for _ in 0..5 {
        let mut nodes = Vec::new();
        for _ in 0..8 {
            nodes.push(db.sessions().await);
        }
        let starts: Vec<_> = nodes
            .iter()
            .cloned()
            .map(|node| tokio::spawn(async move { node.migrate().await }))
            .collect();
        for start in starts {
            start.await.unwrap().unwrap();
        }
        works(&nodes[0]).await;
        sqlx(&db, &["revert", "--target-version", "0"]);
        db.run("drop schema sessile cascade", "drop table _sessile_migrations").await;
    }
}

async fn the_applications_own_ledger_is_not_touched(db: Db) {
    let create = "create table _sqlx_migrations (mine text)";
    db.run(create, create).await;
    let insert = "insert into _sqlx_migrations values ('as it was')";
    db.run(insert, insert).await;
    db.sessions().await.migrate().await.unwrap();
    let select = "select mine from _sqlx_migrations";
    assert_eq!(db.texts(select, select).await, ["as it was"]);
}

/// For each version that was released: its schema, with sessions in it, migrated to the newest. The
/// rows were written by that version, and are in `tests/it/earlier`.
async fn data_of_every_earlier_version_survives(db: Db) {
    let versions = [
        (
            FIRST,
            include_str!("earlier/20261123000001.postgres.sql"),
            include_str!("earlier/20261123000001.sqlite.sql"),
            // It did not say so, and its idle timeout is not that of a remembered one.
            false,
        ),
        (
            REALMS,
            include_str!("earlier/20261125000002.postgres.sql"),
            include_str!("earlier/20261125000002.sqlite.sql"),
            true,
        ),
    ];
    for (version, postgres, sqlite, is_remembered) in versions {
        sqlx(&db, &["run", "--target-version", version]);
        db.run(postgres, sqlite).await;
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
        sqlx(&db, &["revert", "--target-version", "0"]);
    }
}

/// That many sessions, as the first release wrote them.
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

/// Somebody who writes to one row after the other.
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

    /// Waits until it has written some more.
    async fn goes_on(&self) {
        let before = self.writes.load(SeqCst);
        until("the writer goes on", async || self.writes.load(SeqCst) > before + 2).await;
    }

    /// How long its longest write took.
    async fn longest(self) -> Duration {
        self.goes_on().await;
        self.stop.store(true, SeqCst);
        self.longest.await.unwrap()
    }
}

/// Asks until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: never");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn a_large_table_is_not_rewritten_and_its_writers_do_not_wait(db: Db) {
    sqlx(&db, &["run", "--target-version", FIRST]);
    fill(&db, if db.is_postgres() { 50_000 } else { 200_000 }).await;
    db.run("analyze sessile.sessions", "pragma wal_checkpoint(truncate)").await;
    // Postgres writes a table that it changes into another file; SQLite's log holds what it writes.
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

/// It gives up for a moment, so that nobody waits for it and for the transaction it waits for.
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
    // A write waits for as long as one try does, which is less than a second, and not for the reader.
    assert!(longest < Duration::from_millis(1500), "a write took {longest:?}");
    works(&db.sessions().await).await;
    db.drop().await;
}

#[tokio::test]
async fn every_table_and_column_says_what_it_is() {
    let db = Db::postgres().await;
    let silent = db
        .texts(
            "select c.relname || coalesce('.' || a.attname, '') from pg_class c
             left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and c.relkind = 'r'
             where c.relnamespace = 'sessile'::regnamespace and c.relkind in ('r', 'v')
                and c.relname <> '_sqlx_migrations'
                and (col_description(c.oid, a.attnum) is null and c.relkind = 'r' or obj_description(c.oid) is null)",
            "",
        )
        .await;
    assert_eq!(silent, [] as [&str; 0]);
    db.drop().await;
}
