//! Questions about events use the indexes of the log, although they read the inbox too.

use chrono::TimeDelta;
use sqlx::{AssertSqlSafe, PgPool, SqlitePool, raw_sql};

use crate::{Bucket, Database, EventFilter, EventKey, Kind, database::Pool};

/// Events of a month, and some that are not filed yet.
async fn postgres(url: &str) {
    let pool = PgPool::connect(url).await.unwrap();
    raw_sql(
        "insert into sessile.session_event_log (at, event, user_id)
         select now() - n * interval '2 minutes', 'logged_in', 'user ' || n % 500 from generate_series(1, 20000) as n;
         insert into sessile.session_event_inbox (at, event, user_id)
         select now(), 'logged_in', 'user ' || n from generate_series(1, 50) as n;
         analyze",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
}

async fn sqlite(url: &str) {
    let pool = SqlitePool::connect(url).await.unwrap();
    raw_sql(
        "with recursive series(n) as (select 1 union all select n + 1 from series where n < 20000)
         insert into session_event_log (at, event, user_id)
         select unixepoch() * 1000 - n * 120000, 'logged_in', 'user ' || n % 500 from series;
         insert into session_event_inbox (at, event, user_id)
         select at, event, user_id from session_event_log limit 50;",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
}

async fn check(database: &Database) {
    let now = database.now().await.unwrap();
    let hour_ago = Some(now - TimeDelta::hours(1));
    let key: EventKey = format!("{}~1", now.timestamp_micros()).parse().unwrap();
    let any = EventFilter::default();
    let logged_in = vec!["logged_in".to_owned()];
    let newest = [
        any.clone(),
        EventFilter { after: Some(key), ..any.clone() },
        EventFilter { since: hour_ago, ..any.clone() },
        EventFilter { scan: 200, events: logged_in.clone(), ..any.clone() },
        EventFilter { scan: 200, events: logged_in, after: Some(key), ..any },
    ];
    let mut asked = Vec::new();
    for filter in &newest {
        asked.push(("session_event_log_at_idx", database.page_of_events(filter)));
        if filter.scans() {
            asked.push(("session_event_log_at_idx", database.last_event_of_window(filter)));
        }
    }
    let of_user = database.page_of_events(&EventFilter::of_user("user 7"));
    asked.push(("session_event_log_user_id_idx", of_user));
    // In the order of the index, so that the limit ends the reading, unless the condition has few events.
    for (index, ask) in asked {
        let (text, plan) = (ask.text.clone(), database.plan(ask).await);
        assert!(plan.contains(index), "{text}\n{plan}");
        let is_merged = plan.contains("Merge Append") || plan.contains("MERGE (UNION ALL)");
        let has_few = text.contains("user_id = ") || text.contains("at >= ");
        assert!(is_merged || has_few, "{text}\n{plan}");
        assert!(!scans_the_log(&plan), "{text}\n{plan}");
    }
    for bucket in [Bucket::Hour, Bucket::Day] {
        let plan = database.plan(database.events_by(now - TimeDelta::hours(1), bucket)).await;
        assert!(plan.contains("session_event_log_at_idx") && !scans_the_log(&plan), "{plan}");
    }
}

fn scans_the_log(plan: &str) -> bool {
    plan.contains("Seq Scan on session_event_log")
        || plan.lines().any(|step| step.starts_with("SCAN session_event_log"))
}

#[tokio::test]
async fn events_are_found_by_the_indexes_of_the_log() {
    let server =
        std::env::var("TEST_POSTGRES_URL").expect("the tests need a Postgres: run scripts/test");
    let name = format!("sessile_test_{}", uuid::Uuid::now_v7().simple());
    let admin = PgPool::connect(&server).await.unwrap();
    raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&admin).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    std::fs::write(&file, "").unwrap();
    let urls = [
        format!("{}/{name}", server.rsplit_once('/').unwrap().0),
        format!("sqlite://{}", file.display()),
    ];
    for url in &urls {
        let database = Database::open(url).await.unwrap();
        database.sessions_of("").await.unwrap().migrate().await.unwrap();
        match database.kind() {
            Kind::Postgres => postgres(url).await,
            Kind::Sqlite => sqlite(url).await,
        }
        check(&database).await;
        if let Pool::Postgres(pool) = &database.reads {
            // As docs/roles.sql makes it.
            raw_sql("alter view sessile.session_events set (security_barrier)")
                .execute(pool)
                .await
                .unwrap();
            check(&database).await;
        }
    }
    raw_sql(AssertSqlSafe(format!("drop database {name} with (force)")))
        .execute(&admin)
        .await
        .unwrap();
}
