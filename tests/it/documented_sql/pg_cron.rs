//! The statement of docs/pg-cron.sql, without the extension: as the role of the application, beside `Sessions::sweep`.

use sqlx::{AssertSqlSafe, PgConnection, query, query_as, query_scalar, raw_sql};

use super::postgres_pool;
use crate::support::{Db, postgres_url};

const FILE: &str = include_str!("../../../docs/pg-cron.sql");

/// The lock of the library's sweep.
const SWEEP_LOCK: i64 = 0x7365_7373_696c_6501;

/// The job.
fn job() -> &'static str {
    let parts: Vec<_> = FILE.split("$job$").collect();
    assert!(parts[0].contains("\nselect cron.schedule('sessile cleanup', '*/5 * * * *', "));
    assert!(parts.len() == 3 && parts[2].starts_with(");\n"));
    parts[1]
}

/// 10 live sessions; 4,500 expired ones, two of three with a user; 100 new events and 2,500 old ones; as many cut-offs; 2,500
/// events in the inbox.
async fn fill(db: &Db) {
    for statement in [
        "insert into sessile.sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at,
            valid_until, expires_at, idle_timeout, secret_hash, user_id, data, ip)
         select md5(n::text)::uuid, 0, at, case when n % 3 > 0 then at end, at, at + case when n % 2 > 0 then interval '1 day' else idle end,
            at + idle, at + idle * 1.5, 7200, sha256(n::text::bytea), case when n % 3 > 0 then 'user ' || n end, '{}', '192.0.2.7'
         from generate_series(1, 4510) as n,
            lateral (select case when n <= 10 then interval '2 hours' else interval '10 minutes' end as idle) as i,
            (select now() - interval '1 hour' as at) as moment",
        "insert into sessile.session_event_log (at, event, user_id, reason)
         select now() - case when n <= 100 then interval '89 days' else interval '91 days' end, 'refused', 'user ' || n, n
         from generate_series(1, 2600) as n",
        "insert into sessile.session_event_inbox (at, event, user_id) select now(), 'logged_in', 'user ' || n from generate_series(1, 2500) as n",
        "insert into sessile.session_cutoffs (user_id, used_at)
         select 'user ' || n, now() - case when n <= 100 then interval '23 hours' else interval '25 hours' end
         from generate_series(1, 2600) as n",
        "insert into sessile.session_cleanup_log (started_at, ended_at, sessions, statements)
         values (now() - interval '91 days', now() - interval '91 days', 1, 1)",
    ] {
        db.run(statement, "").await;
    }
}

/// Locks an expired session until the connection is closed.
async fn lock_one(db: &Db) -> PgConnection {
    let mut other = postgres_pool(db).acquire().await.unwrap().detach();
    let lock = "begin; select from sessile.sessions where id = md5('20')::uuid for update";
    raw_sql(lock).execute(&mut other).await.unwrap();
    other
}

/// All that a cleanup changes, except moments.
async fn left(db: &Db) -> Vec<String> {
    db.texts(
        "select row(id, user_id)::text from sessile.sessions
         union all select row(event, realm, session_id, user_id, ip, user_agent, reason, actor)::text from sessile.session_event_log
         union all select row('inbox', event, realm, session_id, user_id, ip, user_agent, reason, actor)::text from sessile.session_event_inbox
         union all select row(user_id)::text from sessile.session_cutoffs
         union all select row(sessions, error)::text from sessile.session_cleanup_log
         order by 1",
        "",
    )
    .await
}

/// A connection of a role that has the application's rights, as docs/operations.md grants them.
async fn application(db: &Db) -> (PgConnection, String) {
    let role = format!("sessile_app_{}", db.url.rsplit_once('_').unwrap().1);
    let mut connection = postgres_pool(db).acquire().await.unwrap().detach();
    let grants = format!(
        "create role {role};
         grant usage on schema sessile to {role};
         grant select, insert, update, delete on sessile.sessions, sessile.session_cutoffs to {role};
         grant select, insert, update, delete on sessile.session_event_log, sessile.session_event_inbox, sessile.session_cleanup_log to {role};
         set role {role}"
    );
    raw_sql(AssertSqlSafe(grants)).execute(&mut connection).await.unwrap();
    (connection, role)
}

#[tokio::test]
async fn the_job_does_what_a_sweep_does() {
    let [swept, by_job] = [Db::postgres().await, Db::postgres().await];
    for db in [&swept, &by_job] {
        fill(db).await;
    }
    let locked = [lock_one(&swept).await, lock_one(&by_job).await];
    swept.sessions().await.sweep().await.unwrap();
    let (mut connection, role) = application(&by_job).await;
    raw_sql(job()).execute(&mut connection).await.unwrap();
    assert_eq!(left(&swept).await, left(&by_job).await);

    // Ten are live, and one was locked, which had a user.
    assert_eq!(by_job.rows().await, 11);
    let expired = "select count(*) from sessile.session_event_inbox where event = 'expired'";
    assert_eq!(by_job.number(expired, "").await, 2999);
    let filed = "select count(*) from sessile.session_event_log where event = 'logged_in'";
    assert_eq!(by_job.number(filed, "").await, 2500);
    let (rows, statements): (i64, i64) =
        query_as("select sessions, statements from sessile.cleanup_runs")
            .fetch_one(&postgres_pool(&by_job))
            .await
            .unwrap();
    assert_eq!((rows, statements), (4499, 5));
    // Events of one transaction.
    let most: i64 = query_scalar(
        "select max(n) from (
             select count(*) as n from sessile.session_event_log where event = 'logged_in' group by xmin::text
             union all select count(*) from sessile.session_event_inbox group by xmin::text) as t",
    )
    .fetch_one(&postgres_pool(&by_job))
    .await
    .unwrap();
    assert!((1..=2000).contains(&most), "{most}");

    // The next run finds the row that was locked, and files the events of the run before.
    drop(locked);
    while by_job.rows().await > 10 {
        raw_sql(job()).execute(&mut connection).await.unwrap();
    }
    raw_sql(job()).execute(&mut connection).await.unwrap();
    let unfiled = "select count(*) from sessile.session_event_inbox";
    assert_eq!(by_job.number(unfiled, "").await, 0);
    drop(connection);
    swept.drop().await;
    by_job.drop().await;
    drop_role(&role).await;
}

#[tokio::test]
async fn the_job_leaves_the_work_to_a_node_that_sweeps() {
    let db = Db::postgres().await;
    fill(&db).await;
    let before = left(&db).await;
    let mut node = postgres_pool(&db).begin().await.unwrap();
    query("select pg_advisory_xact_lock($1)").bind(SWEEP_LOCK).execute(&mut *node).await.unwrap();
    raw_sql(job()).execute(&postgres_pool(&db)).await.unwrap();
    assert_eq!(left(&db).await, before);
    node.rollback().await.unwrap();
    db.drop().await;
}

async fn drop_role(role: &str) {
    let admin = sqlx::PgPool::connect(&postgres_url()).await.unwrap();
    raw_sql(AssertSqlSafe(format!("drop role {role}"))).execute(&admin).await.unwrap();
    admin.close().await;
}
