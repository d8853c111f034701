//! The cost of the statements in the database: by an index, for any size of the table; touches without a new
//! index entry; and log-ins in few round trips.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use sessile::{
    Client, OnLimit, Realm,
    store::{
        Began, Holder, LogIn, LogInOutcome, NewSession, Record, Store, Timeouts, Touch,
        postgres::PostgresStore,
    },
};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool, query_scalar};
use uuid::Uuid;

use crate::{
    round_trips::RoundTrips,
    support::{Db, Pool},
};

/// Rows of as many users, all of them live.
const ROWS: u32 = 20_000;

async fn filled_postgres() -> (Db, PgPool) {
    let db = Db::postgres().await;
    let Pool::Postgres(pool) = db.pool.clone() else { unreachable!() };
    let fill = format!(
        "insert into sessile.sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at,
            valid_until, expires_at, idle_timeout, secret_hash, user_id, data)
         select gen_random_uuid(), 0, now(), now(), now(), now() + interval '1 day', now() + interval '1 hour',
            now() + interval '2 hours', 3600, sha256(n::text::bytea), 'user ' || n, '{{}}'
         from generate_series(1, {ROWS}) as n"
    );
    sqlx::query(AssertSqlSafe(fill)).execute(&pool).await.unwrap();
    sqlx::query("analyze sessile.sessions").execute(&pool).await.unwrap();
    (db, pool)
}

async fn filled_sqlite() -> (Db, SqlitePool) {
    let db = Db::sqlite().await;
    let Pool::Sqlite(pool) = db.pool.clone() else { unreachable!() };
    let fill = format!(
        "with recursive series(n) as (select 1 union all select n + 1 from series where n < {ROWS})
         insert into sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at, valid_until,
            expires_at, idle_timeout, secret_hash, user_id, data)
         select randomblob(16), 0, 0, 0, 0, 1 << 50, 1 << 50, 1 << 50, 3600, randomblob(32), 'user ' || n, '{{}}' from series"
    );
    sqlx::query(AssertSqlSafe(fill)).execute(&pool).await.unwrap();
    sqlx::query("analyze").execute(&pool).await.unwrap();
    (db, pool)
}

/// The library's own statements for that backend, from its offline data.
fn statements(backend: &str) -> Vec<String> {
    let folder = std::fs::read_dir(".sqlx").unwrap();
    let files = folder.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let described = files.map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
    let ours = described.filter(|statement| statement["db_name"] == backend);
    ours.map(|statement| statement["query"].as_str().unwrap().to_owned()).collect()
}

/// The statements that read everything on purpose, or are measured by pages.
fn reads_all(statement: &str) -> bool {
    let text = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    // Counting, ending all sessions, sweeping by pages, and ledgers of migrations.
    text.contains("is null or user_id = $1) and realm = $2 and now()")
        || text.contains("is null or user_id = ?1) and realm = ?2 and cast")
        || text.contains("delete from sessile.sessions where realm = $1 and $3::boolean returning")
        || text.starts_with("delete from sessions where realm = ?1 returning cast")
        || text.ends_with("from sessions where user_id is not null and realm = ?2")
        || text.contains("ctid")
        || text.contains("_migrations")
}

/// With parameters that are unknown to the planner, as in a prepared statement.
#[tokio::test]
async fn postgres_scans_no_table_for_a_request() {
    let (db, pool) = filled_postgres().await;
    let mut connection = pool.acquire().await.unwrap();
    let generic = "set plan_cache_mode = force_generic_plan";
    sqlx::query(generic).execute(&mut *connection).await.unwrap();
    let mut explained = 0;
    for statement in statements("PostgreSQL").iter().filter(|statement| !reads_all(statement)) {
        sqlx::raw_sql(AssertSqlSafe(format!("prepare asked as {statement}")))
            .execute(&mut *connection)
            .await
            .unwrap();
        let parameters: i64 = query_scalar(
            "select cardinality(parameter_types) from pg_prepared_statements where name = 'asked'",
        )
        .fetch_one(&mut *connection)
        .await
        .map(i64::from as fn(i32) -> i64)
        .unwrap();
        let nulls = vec!["null"; usize::try_from(parameters).unwrap()].join(", ");
        let call = if nulls.is_empty() { String::new() } else { format!("({nulls})") };
        let explain = format!("explain execute asked{call}");
        let plan: Vec<String> =
            query_scalar(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan on sessions"), "{statement}\n{plan}");
        explained += u32::from(plan.contains("sessions_pkey") || plan.contains("_idx"));
        sqlx::raw_sql("deallocate asked").execute(&mut *connection).await.unwrap();
    }
    assert!(explained >= 10, "{explained}");
    drop(connection);
    db.drop().await;
}

#[tokio::test]
async fn sqlite_scans_no_table_for_a_request() {
    let (db, pool) = filled_sqlite().await;
    let mut explained = 0;
    for statement in statements("SQLite").iter().filter(|statement| !reads_all(statement)) {
        let explain = format!("explain query plan {statement}");
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(explain)).fetch_all(&pool).await.unwrap();
        let plan: Vec<_> = plan.into_iter().map(|(_, _, _, step)| step).collect();
        // The table, or its alias in the statements that give it one.
        let begins = |step: &str, verb: &str| {
            let table = step.strip_prefix(verb).and_then(|rest| rest.split_whitespace().next());
            matches!(table, Some("sessions" | "s"))
        };
        let scans = plan.iter().any(|step| begins(step, "SCAN ") && !step.contains("USING"));
        assert!(!scans, "{statement}\n{plan:#?}");
        explained += u32::from(plan.iter().any(|step| begins(step, "SEARCH ")));
    }
    assert!(explained >= 10, "{explained}");
    db.drop().await;
}

fn new_session(data: String) -> NewSession {
    NewSession {
        id: Uuid::now_v7().into(),
        realm: Realm::default(),
        secret_hash: secret_hash(),
        data,
        timeouts: Timeouts::new(3600, 86_400),
        client: Client::new().ip(Some([192, 0, 2, 1].into())).user_agent("Lynx"),
        pending: None,
    }
}

fn secret_hash() -> sessile::store::SecretHash {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(Uuid::now_v7().as_bytes());
    bytes.into()
}

fn log_in(to: Option<&Record>) -> LogIn {
    let new = new_session(String::new());
    LogIn {
        id: to.map_or(new.id, |record| record.id),
        realm: new.realm,
        old_hash: to.map(|record| record.secret_hash),
        new_hash: new.secret_hash,
        user_id: "ada".to_owned(),
        data: to.is_none().then(|| "{}".to_owned()),
        of_revision: None,
        timeouts: new.timeouts,
        remembered: false,
        client: new.client,
        began: Began::Here(std::time::Instant::now()),
        after: None,
        limit: None,
        replaces_user: None,
        is_recorded: true,
    }
}

/// Sessions in constant use, from changing addresses: none of this is indexed, except the sweep's key, which
/// moves every half of an idle timeout. There is room for each version of a row, because other work on the
/// server decides when it reuses the room.
#[tokio::test]
async fn postgres_touches_leave_the_indexes_alone() {
    const SESSIONS: i32 = 200;
    const TOUCHES: i32 = 10;
    let db = Db::postgres().await;
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    let room = "alter table sessile.sessions set (fillfactor = 10)";
    sqlx::query(room).execute(pool).await.unwrap();
    let store = PostgresStore::new(pool.clone());
    let data = format!(r#"{{"cart":"{}"}}"#, "x".repeat(200));
    let new: Vec<_> = (0..SESSIONS).map(|_| new_session(data.clone())).collect();
    let records = store.create(&new).await.unwrap();
    for touch in 1..=TOUCHES {
        let touch = |record: &Record| Touch {
            holder: Holder { id: record.id, secret_hash: record.secret_hash },
            lifetime: record.lifetime.seen(record.now + TimeDelta::seconds(180) * touch),
            ip: Some([192, 0, 2, u8::try_from(touch).unwrap()].into()),
            settles: false,
        };
        store.touch(&records.iter().map(touch).collect::<Vec<_>>()).await.unwrap();
    }
    let all = i64::from(SESSIONS * TOUCHES);
    let counted = async || -> (i64, i64) {
        // Each connection reports its counts about a second later, or when it closes.
        sqlx::query("select pg_stat_clear_snapshot()").execute(pool).await.unwrap();
        let counts =
            "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'sessions'";
        sqlx::query_as(counts).fetch_one(pool).await.unwrap()
    };
    let told = async {
        loop {
            let (updated, hot) = counted().await;
            if updated >= all {
                return (updated, hot);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (updated, hot) =
        tokio::time::timeout(Duration::from_secs(30), told).await.expect("the touches are counted");
    assert_eq!(updated, all);
    assert!(hot * 10 >= updated * 8, "{hot} of {updated} were heap-only");
    db.drop().await;
}

/// Both for a new row and for an existing one.
#[tokio::test]
async fn postgres_logs_in_within_four_round_trips() {
    let db = Db::postgres().await;
    let trips = RoundTrips::to(&db.url).await;
    let store: Arc<dyn Store> = Arc::new(PostgresStore::dedicated(trips.pool().await));
    for is_prepared in [false, true] {
        let visitor = store.create(&[new_session("{}".to_owned())]).await.unwrap().remove(0);
        for to in [None, Some(&visitor)] {
            trips.begin();
            let outcome = store.log_in(&log_in(to)).await.unwrap();
            assert!(matches!(outcome, LogInOutcome::LoggedIn(..)), "{outcome:?}");
            let made = trips.made();
            assert!(!is_prepared || made <= 4, "{made} round trips, binds: {}", to.is_some());
            assert!(made >= 3, "{made} cannot be all");
        }
        // The limit takes one more round trip to count, and another one if sessions must end.
        for limit in [100, 1] {
            trips.begin();
            let limited = LogIn { limit: Some((limit, OnLimit::EndOldest)), ..log_in(None) };
            let outcome = store.log_in(&limited).await.unwrap();
            let LogInOutcome::LoggedIn(_, ended) = outcome else { panic!("{outcome:?}") };
            assert_eq!(ended.is_empty(), limit == 100);
            let made = trips.made();
            let most = if ended.is_empty() { 5 } else { 6 };
            assert!(!is_prepared || made <= most, "{made} round trips, limit {limit}");
        }
    }
    db.drop().await;
}

/// The state of the table when the plans were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhenPlanned {
    NothingExpired,
    HalfExpired,
    Empty,
}

#[tokio::test]
async fn postgres_sweeps_in_proportion_to_the_limit() {
    sweeps_in_proportion_to_the_limit(WhenPlanned::NothingExpired).await;
}

#[tokio::test]
async fn postgres_sweeps_in_proportion_to_the_limit_after_a_wave() {
    sweeps_in_proportion_to_the_limit(WhenPlanned::HalfExpired).await;
}

#[tokio::test]
async fn postgres_sweeps_a_table_that_was_empty() {
    sweeps_in_proportion_to_the_limit(WhenPlanned::Empty).await;
}

/// Rows expire in waves, and a plan may be older than the last wave. With any plan, a statement must handle
/// rows in proportion to its limit. Buffer counts do not show rows that are compared in memory. So this also
/// counts every row that a step of the plan returns or drops.
async fn sweeps_in_proportion_to_the_limit(when: WhenPlanned) {
    const LIMIT: u32 = 200;
    const PAGES: u32 = 10;
    let (db, pool) = filled_postgres().await;
    let mut connection = pool.acquire().await.unwrap();
    let mut run = async |text: &str| {
        sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut *connection).await.unwrap();
    };
    // Each of these rows has an old cut-off.
    let expire = |every: u32| {
        format!(
            "update sessile.sessions set valid_until = now() - interval '2 hours', expires_at = now() - interval '1 hour'
             where substr(user_id, 6)::int % {every} = 0;
             update sessile.session_cutoffs set used_at = now() - interval '2 days'
             where substr(user_id, 6)::int % {every} = 0;
             insert into sessile.session_event_log (at, event, user_id)
             select now() - interval '2 days', 'logged_in', user_id from sessile.sessions where substr(user_id, 6)::int % {every} = 0;
             insert into sessile.session_event_inbox (at, event, user_id)
             select now(), 'logged_in', 'user ' || n from generate_series(1, {ROWS}) as n"
        )
    };
    run("insert into sessile.session_cutoffs (user_id, used_at) select user_id, now() from sessile.sessions;
         delete from sessile.session_cutoffs where user_id = ''").await;
    // New statistics would end a kept plan.
    run("alter table sessile.sessions set (autovacuum_enabled = off);
         alter table sessile.session_event_log set (autovacuum_enabled = off);
         alter table sessile.session_event_inbox set (autovacuum_enabled = off);
         alter table sessile.session_cutoffs set (autovacuum_enabled = off)")
    .await;
    match when {
        WhenPlanned::NothingExpired => {}
        WhenPlanned::HalfExpired => run(&expire(2)).await,
        WhenPlanned::Empty => {
            run("create temporary table filled as select * from sessile.sessions").await;
            run("truncate sessile.sessions, sessile.session_cutoffs").await;
        }
    }
    run("vacuum analyze sessile.sessions").await;
    run("vacuum analyze sessile.session_cutoffs").await;
    let is_of_the_sweep = |text: &String| {
        ["synchronous_commit", "pg_relation_size", "::tid"].iter().any(|part| text.contains(part))
    };
    let statements: Vec<_> = statements("PostgreSQL").into_iter().filter(is_of_the_sweep).collect();
    assert_eq!(statements.len(), 6, "{statements:#?}");
    let mut calls = Vec::new();
    for (n, statement) in statements.iter().enumerate() {
        let files = statement.contains("as place");
        let (by_pages, reads) =
            (statement.contains("::tid"), !files && statement.contains("pg_relation_size"));
        let arguments = match (by_pages, reads) {
            _ if files => format!("('(0,0)', '(3000,0)', {LIMIT}, 1)"),
            (true, _) if statement.contains("now(), $3") => format!("(0, {PAGES}, 'expired')"),
            (true, _) if statement.contains("$3") => format!("(0, {PAGES}, true)"),
            (true, _) => format!("(0, {PAGES})"),
            (_, true) => String::new(),
            _ => format!("({LIMIT}, 1, true, 86400)"),
        };
        // The statements for pages are planned each time, as a test of the cleanup checks.
        let mode = if by_pages { "force_custom_plan" } else { "force_generic_plan" };
        let call =
            (format!("set plan_cache_mode = {mode}"), format!("execute asked_{n}{arguments}"));
        run(&format!("prepare asked_{n} as {statement}")).await;
        run(&format!("{}; begin; {}; rollback", call.0, call.1)).await;
        let most = match (by_pages, reads) {
            // Each event is found, locked, deleted, sorted and inserted, with two entries of indexes.
            _ if files => 40 * LIMIT,
            // At most three times all rows, and the events.
            (true, _) => PAGES * 240,
            // A plan for an empty table reads the tables until the next autovacuum: once, not once for each
            // row.
            _ if when == WhenPlanned::Empty => ROWS * 10,
            (_, true) => 1_000,
            // As many rows as cut-offs and as old events. Each is found, locked and deleted, and adds an event.
            _ => 4 * LIMIT * 25,
        };
        calls.push((statement, call, most));
    }

    match when {
        WhenPlanned::NothingExpired => run(&expire(10)).await,
        // All but a tenth become live again. Their old versions stay in the index until a statement visits
        // them.
        WhenPlanned::HalfExpired => {
            run("update sessile.sessions set valid_until = now() + interval '1 hour', expires_at = now() + interval '2 hours'
                 where expires_at < now() and substr(user_id, 6)::int % 10 <> 0;
                 update sessile.session_cutoffs set used_at = now() where substr(user_id, 6)::int % 10 <> 0").await;
            run("set enable_seqscan = off; select from sessile.sessions where expires_at < now();
                 select from sessile.session_cutoffs where used_at < now() - interval '1 day'; reset enable_seqscan").await;
        }
        WhenPlanned::Empty => {
            run("insert into sessile.sessions select * from filled;
                 insert into sessile.session_cutoffs (user_id, used_at) select user_id, now() from filled").await;
            run(&expire(10)).await;
        }
    }
    for (statement, (mode, call), most) in calls {
        let begin = format!("{mode}; begin");
        sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *connection).await.unwrap();
        let explain = format!("explain (analyze, buffers, format json) {call}");
        let explained: serde_json::Value =
            query_scalar(AssertSqlSafe(explain)).fetch_one(&mut *connection).await.unwrap();
        sqlx::raw_sql("rollback").execute(&mut *connection).await.unwrap();
        let plan = &explained[0]["Plan"];
        let buffers = number(plan, "Shared Hit Blocks") + number(plan, "Shared Read Blocks");
        let work = handled(plan) + buffers;
        assert!(work <= f64::from(most), "{work} instead of {most}: {statement}\n{plan:#}");
    }
    drop(connection);
    db.drop().await;
}

fn number(step: &serde_json::Value, name: &str) -> f64 {
    step[name].as_f64().unwrap_or_default()
}

/// The rows in all steps of an executed plan.
fn handled(step: &serde_json::Value) -> f64 {
    let dropped = ["Filter", "Join Filter", "Index Recheck"];
    let dropped =
        dropped.map(|by| number(step, &format!("Rows Removed by {by}"))).iter().sum::<f64>();
    let here = (number(step, "Actual Rows") + dropped) * number(step, "Actual Loops");
    let below = step["Plans"].as_array().into_iter().flatten().map(handled);
    here + below.sum::<f64>()
}
