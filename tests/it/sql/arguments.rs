//! What is refused, with its text. Nothing was done then.

use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

use super::rights::refused;
use crate::support::{Browser, Db, Pool};

/// A call of a function, and a part of the text of its error. `ID` is a session's.
const OF_POSTGRES: [(&str, &str); 26] = [
    ("revoke(null, 'x')", "the session_id must not be null"),
    ("revoke('ID', null)", "the reason of a revocation must not be null"),
    ("revoke('ID', 'x', null)", "the realm must not be null"),
    ("revoke('ID', 'x', 'Office')", "'Office' is not a realm: 1 to 32 lower-case letters"),
    ("revoke('no id', 'x')", "invalid input syntax for type uuid"),
    ("revoke_user(null, 'x')", "the user_id must not be null"),
    ("revoke_user('ada', null)", "the reason of a revocation must not be null"),
    ("revoke_user('ada', 'x', null)", "the realm must not be null"),
    ("revoke_user('', 'x')", "a user_id has 1 to 255 bytes, and this one has 0"),
    ("revoke_user(repeat('é', 128), 'x')", "a user_id has 1 to 255 bytes, and this one has 256"),
    ("revoke_user('ada', 'x', '-office')", "is not a realm"),
    ("revoke_user('ada', 'x', 'back office')", "is not a realm"),
    ("revoke_user('ada', 'x', E'office\\n')", "is not a realm"),
    ("revoke_user('ada', 'x', repeat('x', 33))", "is not a realm"),
    // No application may have this name.
    ("revoke_user('ada', 'x', 'id')", "is not a realm"),
    ("revoke_user('ada', repeat('é', 251))", "the reason of a revocation has at most 500 bytes"),
    ("revoke_user('ada', E'two\\nlines')", "and no control characters"),
    ("revoke_user('ada', E'\\u0085')", "and no control characters"),
    ("revoke_others(null, 'ID', 'x')", "the user_id must not be null"),
    ("revoke_others('ada', null, 'x')", "the session to keep must not be null"),
    ("revoke_others('ada', 'ID', null)", "the reason of a revocation must not be null"),
    ("revoke_others('ada', 'ID', 'x', null)", "the realm must not be null"),
    ("revoke_others('', 'ID', 'x')", "a user_id has 1 to 255 bytes"),
    ("revoke_all(null)", "the reason of a revocation must not be null"),
    ("revoke_all('x', null)", "the realm must not be null"),
    ("revoke_all('x', 'Ä')", "is not a realm"),
];

/// Columns and values of an insertion, and a part of the text of its error.
const OF_SQLITE: [(&str, &str, &str); 35] = [
    ("reason", "'x'", EITHER),
    ("reason, realm", "'x', 'office'", EITHER),
    ("session_id, user_id, reason", "'ID', 'ada', 'x'", EITHER),
    ("session_id, reason", "null, 'x'", EITHER),
    ("user_id, reason", "null, 'x'", EITHER),
    ("session_id, user_id, scope, realm, reason", "null, null, null, null, 'x'", EITHER),
    ("user_id", "'ada'", "a revocation needs a reason"),
    ("scope", "'all'", "a revocation needs a reason"),
    ("scope, reason", "'everybody', 'x'", "the scope is 'all' or 'others', or left out"),
    ("scope, reason", "'ALL', 'x'", "the scope is 'all' or 'others', or left out"),
    ("scope, reason", "'', 'x'", "the scope is 'all' or 'others', or left out"),
    ("scope, user_id, reason", "'all', 'ada', 'x'", "leave session_id and user_id out"),
    ("scope, session_id, reason", "'all', 'ID', 'x'", "leave session_id and user_id out"),
    ("scope, reason", "'others', 'x'", "scope 'others' needs a user_id, and the session_id"),
    ("scope, user_id, reason", "'others', 'ada', 'x'", "needs a user_id, and the session_id"),
    ("scope, session_id, reason", "'others', 'ID', 'x'", "needs a user_id, and the session_id"),
    ("user_id, reason", "'', 'x'", USER),
    ("user_id, reason", "printf('%.*c', 256, 'x'), 'x'", USER),
    ("user_id, reason", "x'616461', 'x'", USER),
    ("user_id, reason", "7.0, 'x'", USER),
    ("user_id, reason", "'ada' || char(0), 'x'", USER),
    ("user_id, realm, reason", "'ada', 'Office', 'x'", REALM),
    ("user_id, realm, reason", "'ada', '-office', 'x'", REALM),
    ("user_id, realm, reason", "'ada', 'back office', 'x'", REALM),
    ("user_id, realm, reason", "'ada', 'office' || char(10), 'x'", REALM),
    ("user_id, realm, reason", "'ada', printf('%.*c', 33, 'x'), 'x'", REALM),
    ("user_id, realm, reason", "'ada', 'id', 'x'", REALM),
    ("user_id, realm, reason", "'ada', x'6f6666696365', 'x'", REALM),
    ("user_id, reason", "'ada', printf('%.*c', 501, 'x')", REASON),
    ("user_id, reason", "'ada', 'two' || char(10) || 'lines'", REASON),
    ("user_id, reason", "'ada', char(133)", REASON),
    ("session_id, reason", "'garbage', 'x'", ID),
    ("session_id, reason", "'IDf', 'x'", ID),
    ("session_id, reason", "'gggggggg-gggg-gggg-gggg-gggggggggggg', 'x'", ID),
    ("session_id, reason", "x'00', 'x'", ID),
];

const EITHER: &str = "a revocation needs either a session_id or a user_id; scope 'all' ends every session of the realm";
const USER: &str = "a user_id is a text of 1 to 255 bytes";
const REALM: &str =
    "a realm has 1 to 32 lower-case letters, digits, - or _, and begins with a letter or a digit";
const REASON: &str = "a reason is a text of at most 500 bytes without control characters";
const ID: &str = "a session_id is a UUID";

/// The text of the error.
pub(super) async fn sqlite_says(db: &Db, statement: &str) -> String {
    let Pool::Sqlite(pool) = &db.pool else { unreachable!() };
    match sqlx::query(AssertSqlSafe(statement)).execute(pool).await {
        Err(sqlx::Error::Database(error)) => error.message().to_owned(),
        other => panic!("{statement}: {other:?}"),
    }
}

/// Everything that a revocation changes.
pub(super) async fn contents(db: &Db) -> Vec<String> {
    db.texts(
        "select s::text from sessile.sessions as s union all select c::text from sessile.session_cutoffs as c
            union all select e::text from sessile.session_events as e order by 1",
        "select hex(id) || valid_until from sessions union all select user_id || coalesce(revoked_at, '') || used_at from session_cutoffs
            union all select event from session_events order by 1",
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_refuses_wrong_arguments() {
    let db = Db::postgres().await;
    let (_, id) = Browser::logged_in(&db.sessions().await, "ada").await;
    let before = contents(&db).await;
    let mut connection: PgConnection = PgConnection::connect(&db.url).await.unwrap();
    for (call, expected) in OF_POSTGRES {
        let call = format!("select sessile.{}", call.replace("ID", &id.to_string()));
        let (_, text) = refused(&mut connection, &call).await;
        assert!(text.contains(expected), "{call}: {text}");
    }
    assert_eq!(contents(&db).await, before);
    drop(connection);
    db.drop().await;
}

/// A snapshot from the transaction's beginning does not see all sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_refuses_a_transaction_with_an_old_snapshot() {
    let db = Db::postgres().await;
    let (_, id) = Browser::logged_in(&db.sessions().await, "ada").await;
    let before = contents(&db).await;
    let mut connection: PgConnection = PgConnection::connect(&db.url).await.unwrap();
    for level in ["repeatable read", "serializable"] {
        for call in [
            &format!("revoke('{id}', 'x')"),
            "revoke_user('ada', 'x')",
            "revoke_others('ada', gen_random_uuid(), 'x')",
            "revoke_all('x')",
        ] {
            let begin = format!("begin isolation level {level}");
            raw_sql(AssertSqlSafe(begin)).execute(&mut connection).await.unwrap();
            let (_, text) = refused(&mut connection, &format!("select sessile.{call}")).await;
            let expected = format!(
                "a revocation needs a transaction at read committed, and this one is at {level}"
            );
            assert_eq!(text, expected, "{call}");
            raw_sql("rollback").execute(&mut connection).await.unwrap();
        }
    }
    assert_eq!(contents(&db).await, before);
    drop(connection);
    db.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_refuses_wrong_columns() {
    let db = Db::sqlite().await;
    let (_, id) = Browser::logged_in(&db.sessions().await, "ada").await;
    let before = contents(&db).await;
    for or in ["", " or ignore", " or replace"] {
        for (columns, values, expected) in OF_SQLITE {
            let values = values.replace("ID", &id.to_string());
            let insert = format!("insert{or} into revocations ({columns}) values ({values})");
            let text = sqlite_says(&db, &insert).await;
            assert!(text.contains(expected), "{insert}: {text}");
        }
    }
    assert_eq!(contents(&db).await, before);
    db.drop().await;
}
