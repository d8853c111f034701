//! Each block of the page, on a database that has something to find.

use sqlx::{AssertSqlSafe, PgConnection, query_scalar, raw_sql};

use super::{PAGE, blocks, fill, live, postgres_pool, run_on_postgres, section, sqlite_pool};
use crate::support::{Db, postgres_url};

const MANY: u32 = 50;

/// Ada's sessions, and those of user 7 and of nobody.
const ALL: i64 = MANY as i64 + 5;

/// The roles of a block, with names that no other test uses: roles belong to the whole server.
fn renamed(block: &str, db: &Db) -> String {
    let suffix = db.url.rsplit_once('_').unwrap().1;
    ["sessile_support", "grace"]
        .iter()
        .fold(block.to_owned(), |text, role| text.replace(role, &format!("{role}_{suffix}")))
}

async fn drop_with_roles(db: Db) {
    let drop = renamed("drop role grace; drop role sessile_support", &db);
    db.drop().await;
    let admin = sqlx::PgPool::connect(&postgres_url()).await.unwrap();
    raw_sql(AssertSqlSafe(drop)).execute(&admin).await.unwrap();
    admin.close().await;
}

#[tokio::test]
async fn every_postgres_block_runs_and_finds_something() {
    let db = Db::postgres().await;
    db.run("create table users (id bigint primary key, password_hash text)", "").await;
    let mut connection = postgres_pool(&db).acquire().await.unwrap();
    let examples = blocks(PAGE, "sql");
    assert!(examples.len() >= 14, "{}", examples.len());
    for block in examples {
        fill(&db, MANY).await;
        let rows = run_on_postgres(&mut connection, &renamed(block, &db)).await;
        assert_eq!(rows.is_empty(), block.contains("create role"), "{block}");
    }
    drop(connection);
    drop_with_roles(db).await;
}

#[tokio::test]
async fn every_sqlite_block_runs_and_finds_something() {
    let db = Db::sqlite().await;
    let examples = blocks(PAGE, "sqlite");
    assert!(examples.len() >= 11, "{}", examples.len());
    for block in examples {
        fill(&db, MANY).await;
        let rows = raw_sql(AssertSqlSafe(block)).fetch_all(&sqlite_pool(&db)).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error}:\n{block}"));
        assert_eq!(rows.is_empty(), block.contains("insert into revocations"), "{block}");
    }
    db.drop().await;
}

/// How many sessions each block ends, and which ones are left.
#[tokio::test]
async fn revocations_end_what_the_page_says() {
    let left = [(0, ALL - 3), (2, ALL - 1), (1, ALL - 2), (0, 0)];
    let db = Db::postgres().await;
    db.run("create table users (id bigint primary key, password_hash text)", "").await;
    let mut connection = postgres_pool(&db).acquire().await.unwrap();
    let ends = blocks(section("End them"), "sql");
    for (block, left) in ends.iter().zip(left.iter().chain([&(3, ALL - 1)])) {
        fill(&db, MANY).await;
        let ended = run_on_postgres(&mut connection, block).await;
        assert_eq!(live(&db).await, *left, "{block}");
        assert_eq!(ended, [Some(ALL - left.1)], "{block}");
    }
    drop(connection);
    db.drop().await;

    let db = Db::sqlite().await;
    let ends = blocks(section("End them"), "sqlite");
    assert_eq!(ends.len(), left.len());
    for (block, left) in ends.iter().zip(left) {
        fill(&db, MANY).await;
        raw_sql(AssertSqlSafe(*block)).execute(&sqlite_pool(&db)).await.unwrap();
        assert_eq!(live(&db).await, left, "{block}");
    }
    db.drop().await;
}

#[tokio::test]
async fn support_can_do_what_the_page_says_and_no_more() {
    let db = Db::postgres().await;
    fill(&db, MANY).await;
    let mut connection = postgres_pool(&db).acquire().await.unwrap();
    let block = blocks(section("End them"), "sql").into_iter().find(|b| b.contains("create role"));
    run_on_postgres(&mut connection, &renamed(block.unwrap(), &db)).await;
    run_on_postgres(&mut connection, &renamed("set session authorization grace", &db)).await;

    for closed in [
        "select sessile.revoke_all('all of them')",
        "select sessile.revoke_scope(null, null, 'all of them', '')",
        "select id from sessile.sessions",
        "select secret_hash from sessile.sessions",
        "delete from sessile.session_event_log",
        "select from sessile.session_event_inbox",
    ] {
        let refused = raw_sql(closed).execute(&mut *connection).await.unwrap_err().to_string();
        assert!(refused.contains("permission denied"), "{closed}: {refused}");
    }
    let found = blocks(section("Find a user's sessions"), "sql")[0];
    let events = blocks(section("Prove who did it"), "sql")[0];
    assert_eq!(run_on_postgres(&mut connection, found).await.len(), 3);
    let revoke = "select sessile.revoke_user('ada', 'the laptop was stolen')";
    assert_eq!(run_on_postgres(&mut connection, revoke).await, [Some(3)]);
    assert!(run_on_postgres(&mut connection, found).await.is_empty());
    // The seven that were there, one for each session, and one.
    assert_eq!(run_on_postgres(&mut connection, events).await.len(), 7 + 3 + 1);
    assert_eq!(actors(&mut connection).await, [renamed("role:grace", &db)]);
    drop(connection);
    drop_with_roles(db).await;
}

async fn actors(connection: &mut PgConnection) -> Vec<String> {
    query_scalar(
        "select distinct actor from sessile.session_events where reason = 'the laptop was stolen'",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

/// A person who reads only the comment of the view learns how to end sessions.
#[tokio::test]
async fn the_view_itself_says_how_to_end_sessions() {
    let db = Db::postgres().await;
    let comment = "select obj_description('sessile.active_sessions'::regclass)";
    let comment = db.texts(comment, "").await.remove(0);
    assert!(comment.contains("sessile.revoke_user(user_id, 'reason')"), "{comment}");
    db.drop().await;
    let db = Db::sqlite().await;
    let text = "select sql from sqlite_schema where name in ('active_sessions', 'revocations')";
    for text in db.texts("", text).await {
        assert!(text.contains("insert into revocations (user_id, reason) values"), "{text}");
    }
    db.drop().await;
}
