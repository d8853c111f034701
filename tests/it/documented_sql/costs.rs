//! The queries that the page calls cheap find their rows by an index, and those that it calls dear do not.

use sqlx::{AssertSqlSafe, query_as, query_scalar};

use super::{ID, blocks, dashboards, fill, postgres_pool, section, sqlite_pool};
use crate::support::Db;

const MANY: u32 = 20_000;

fn cheap(language: &str) -> Vec<String> {
    let sections = ["Find a user's sessions", "Prove who did it", "What each view costs"];
    let blocks = sections.iter().flat_map(|heading| blocks(section(heading), language));
    blocks.map(str::to_owned).collect()
}

async fn plan_of_postgres(db: &Db, query: &str) -> String {
    let explain = format!("explain {query}");
    let plan: Vec<String> =
        query_scalar(AssertSqlSafe(explain)).fetch_all(&postgres_pool(db)).await.unwrap();
    plan.join("\n")
}

#[tokio::test]
async fn cheap_queries_use_an_index_on_postgres() {
    let db = Db::postgres().await;
    fill(&db, MANY).await;
    db.run("analyze", "").await;
    let mut queries = cheap("sql");
    assert!(queries.len() >= 5);
    queries.push(blocks(section("Does the cleanup keep up?"), "sql")[0].to_owned());
    queries.push(format!("select * from sessile.active_sessions where id = '{ID}'"));
    // The first panel reads all sessions on purpose.
    queries.extend(dashboards::queries(&db).await.into_iter().skip(1));
    for query in queries {
        // The inbox has no index.
        let plan =
            plan_of_postgres(&db, &query).await.replace("Seq Scan on session_event_inbox", "");
        assert!(!plan.contains("Seq Scan"), "{query}\n{plan}");
        assert!(plan.contains("_idx") || plan.contains("_pkey"), "{query}\n{plan}");
    }
    for dear in [
        "select * from sessile.session_counts",
        "select * from sessile.sessions_by_hour where hour > now() - interval '1 hour'",
        &format!("select * from sessile.session_events where session_id = '{ID}'"),
        "select * from sessile.active_sessions where ip = '192.0.2.7'",
    ] {
        let plan = plan_of_postgres(&db, dear).await;
        assert!(plan.contains("Seq Scan"), "{dear}\n{plan}");
    }
    db.drop().await;
}

/// Whether SQLite reads all rows of a table, or of an index, except those of the inbox.
async fn scans_on_sqlite(db: &Db, query: &str) -> (bool, String) {
    const SCANS: [&str; 3] =
        ["SCAN sessions", "SCAN session_event_log", "SCAN session_cleanup_log"];
    let explain = format!("explain query plan {query}");
    let plan: Vec<(i64, i64, i64, String)> =
        query_as(AssertSqlSafe(explain)).fetch_all(&sqlite_pool(db)).await.unwrap();
    let steps: Vec<_> = plan.into_iter().map(|(_, _, _, step)| step).collect();
    let scans = steps.iter().any(|step| SCANS.iter().any(|scan| step.starts_with(scan)));
    (scans, steps.join("\n"))
}

#[tokio::test]
async fn cheap_queries_use_an_index_on_sqlite() {
    let db = Db::sqlite().await;
    fill(&db, MANY).await;
    // Also without statistics.
    for analyze in [None, Some("analyze")] {
        if let Some(analyze) = analyze {
            db.run("", analyze).await;
        }
        let queries = cheap("sqlite");
        assert!(queries.len() >= 5);
        for query in queries {
            let (scans, plan) = scans_on_sqlite(&db, &query).await;
            assert!(!scans && plan.contains("SEARCH session"), "{query}\n{plan}");
        }
        for dear in [
            "select * from session_counts",
            "select * from sessions_by_hour where hour > '2026'",
            "select * from session_events where at > '2026'",
            "select * from cleanup_runs where ended_at > '2026'",
            "select * from active_sessions where id = '0198c5ca'",
        ] {
            let (scans, plan) = scans_on_sqlite(&db, dear).await;
            assert!(scans, "{dear}\n{plan}");
        }
    }
    db.drop().await;
}
