//! docs/sql.md and the files that it names: each example runs as it is written, and costs as much as the page says.

mod columns;
mod costs;
mod dashboards;
mod examples;
mod pg_cron;

use sqlx::{AssertSqlSafe, PgPool, Row, SqlitePool, raw_sql};

use crate::support::{Db, Pool};

const PAGE: &str = include_str!("../../../docs/sql.md");

/// The id that the page uses.
const ID: &str = "0198c5ca-7b1e-7c3a-9f53-2f4de0c7a911";

/// The text of a section of the page.
fn section(heading: &str) -> &'static str {
    let (_, text) = PAGE.split_once(&format!("\n## {heading}\n")).expect(heading);
    text.split("\n## ").next().unwrap()
}

/// The fenced blocks of a language, in order.
fn blocks(text: &'static str, language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    text.split(&*opening).skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

fn postgres_pool(db: &Db) -> PgPool {
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    pool.clone()
}

fn sqlite_pool(db: &Db) -> SqlitePool {
    let Pool::Sqlite(pool) = &db.pool else { unreachable!() };
    pool.clone()
}

/// An hour old: three live sessions of ada, one of user 7, an anonymous one, and `many` of as many users. A tenth as
/// many have expired. The same numbers of events in 60 days, and of runs of the cleanup, one in five minutes. Each kind
/// of event happened to ada ten minutes ago.
async fn fill(db: &Db, many: u32) {
    let statements = match db.is_postgres() {
        true => fill_postgres(many),
        false => fill_sqlite(many),
    };
    for statement in statements.split(";\n") {
        db.run(statement, statement).await;
    }
}

fn fill_postgres(many: u32) -> String {
    format!(
        "truncate sessile.sessions, sessile.session_event_log, sessile.session_event_inbox, sessile.session_cleanup_log;
         insert into sessile.sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at,
            valid_until, expires_at, idle_timeout, secret_hash, user_id, data, ip, user_agent, remembered)
         select case n when 1 then '{ID}' else md5(n::text)::uuid end, 0, at, case when n <> 5 then at end, at,
            at + interval '1 day', at + idle, at + idle * 1.5, 7200, sha256(n::text::bytea),
            case when n <= 3 then 'ada' when n = 4 then '7' when n > 5 then 'user ' || n end, '{{}}', '192.0.2.7', 'Lynx', n = 1
         from generate_series(1, 5 + {many} + {many} / 10) as n,
            lateral (select case when n <= 5 + {many} then interval '2 hours' else interval '10 minutes' end as idle) as i,
            (select now() - interval '1 hour' as at) as moment;
         insert into sessile.session_event_log (at, event, session_id, user_id, ip, user_agent, actor)
         select now() - n * interval '60 days' / {many}, 'logged_in', md5(n::text)::uuid, 'user ' || n, '192.0.2.7', 'Lynx', 'user'
         from generate_series(1, {many}) as n;
         insert into sessile.session_event_log (at, event, session_id, user_id, ip, user_agent, reason, actor)
         select now() - interval '10 minutes', event, '{ID}', 'ada', '192.0.2.7', 'Lynx', 'a reason', 'role:grace'
         from unnest('{{logged_in,logged_out,revoked,expired,reauthenticated,refused,superseded}}'::text[]) as event;
         insert into sessile.session_cleanup_log (started_at, ended_at, sessions, statements, error)
         select at, at + interval '1 second', n, 1, case when n % 10 = 1 then 'the server went away' end
         from generate_series(1, {many}) as n, lateral (select now() - n * interval '5 minutes' as at) as moment"
    )
}

fn fill_sqlite(many: u32) -> String {
    let now = "(cast(strftime('%s', 'now') as integer) * 1000)";
    let series = |length: &str| {
        format!(
            "with recursive series(n) as (select 1 union all select n + 1 from series where n < {length})"
        )
    };
    let id = ID.replace('-', "");
    format!(
        "delete from sessions;
         delete from session_event_log;
         delete from session_event_inbox;
         delete from session_cleanup_log;
         {} insert into sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at, valid_until,
            expires_at, idle_timeout, secret_hash, user_id, data, ip, user_agent, remembered)
         select iif(n = 1, x'{id}', randomblob(16)), 0, at, iif(n = 5, null, at), at, at + 86400000, at + idle,
            at + idle * 3 / 2, 7200, randomblob(32),
            case when n <= 3 then 'ada' when n = 4 then '7' when n > 5 then 'user ' || n end, '{{}}', '192.0.2.7', 'Lynx', n = 1
         from (select n, iif(n <= 5 + {many}, 7200000, 600000) as idle, {now} - 3600000 as at from series);
         {} insert into session_event_log (at, event, session_id, user_id, ip, user_agent, actor)
         select {now} - n * (5184000000 / {many}), 'logged_in', randomblob(16), 'user ' || n, '192.0.2.7', 'Lynx', 'user' from series;
         insert into session_event_log (at, event, session_id, user_id, ip, user_agent, reason, actor)
         select {now} - 600000, value, x'{id}', 'ada', '192.0.2.7', 'Lynx', 'a reason', 'sqlite'
         from json_each('[\"logged_in\", \"logged_out\", \"revoked\", \"expired\", \"reauthenticated\", \"refused\", \"superseded\"]');
         {} insert into session_cleanup_log (started_at, ended_at, sessions, statements, error)
         select {now} - n * 300000, {now} - n * 300000 + 1000, n, 1, iif(n % 10 = 1, 'the file was locked', null) from series",
        series(&format!("5 + {many} + {many} / 10")),
        series(&many.to_string()),
        series(&many.to_string()),
    )
}

/// The live sessions of ada, and of everybody.
async fn live(db: &Db) -> (i64, i64) {
    let of_ada = "select count(*) from active_sessions where user_id = 'ada'";
    let of_all = "select count(*) from active_sessions";
    let mut numbers = [0, 0];
    for (number, text) in numbers.iter_mut().zip([of_ada, of_all]) {
        *number = db.number(&text.replace("active", "sessile.active"), text).await;
    }
    (numbers[0], numbers[1])
}

/// Runs statements together, as a person does, and returns the rows of all of them: the first columns that are numbers.
async fn run_on_postgres(connection: &mut sqlx::PgConnection, text: &str) -> Vec<Option<i64>> {
    let rows = raw_sql(AssertSqlSafe(text)).fetch_all(connection).await;
    let rows = rows.unwrap_or_else(|error| panic!("{error}:\n{text}"));
    rows.iter().map(|row| row.try_get::<i64, _>(0).ok()).collect()
}
