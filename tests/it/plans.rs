//! What the statements cost the database: by an index, whatever the size of the table.

use sqlx::{AssertSqlSafe, PgPool, SqlitePool, query_scalar};

use crate::support::{Db, Pool};

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

/// The library's own statements for that backend, as its offline data holds them.
fn statements(backend: &str) -> Vec<String> {
    let folder = std::fs::read_dir(".sqlx").unwrap();
    let files = folder.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let described = files.map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
    let ours = described.filter(|statement| statement["db_name"] == backend);
    ours.map(|statement| statement["query"].as_str().unwrap().to_owned()).collect()
}

/// Those that are meant to read everything, or to be measured by pages.
fn reads_all(statement: &str) -> bool {
    let text = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    // Counting, ending everybody's, sweeping by pages, and ledgers of migrations.
    text.contains("is null or user_id = $1) and now()")
        || text.contains("is null or user_id = ?1) and cast")
        || text.contains("delete from sessile.sessions returning now()")
        || text.starts_with("delete from sessions returning cast")
        || text.contains("ctid")
        || text.contains("_migrations")
}

/// With parameters that the planner does not know, as in a statement that was prepared.
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
