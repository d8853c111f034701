//! A revocation by SQL happens as a whole or not at all.

use super::{
    Path, What,
    arguments::{contents, sqlite_says},
    rights::refused,
};
use crate::support::{Browser, Db, Pool, cases};

cases! { an_error_in_the_middle_leaves_nothing, a_transaction_goes_on_after_a_refused_revocation }

/// The text of the statement's error.
async fn error_of(db: &Db, postgres: &str, sqlite: &str) -> String {
    match &db.pool {
        Pool::Postgres(pool) => refused(&mut pool.acquire().await.unwrap(), postgres).await.1,
        Pool::Sqlite(_) => sqlite_says(db, sqlite).await,
    }
}

async fn an_error_in_the_middle_leaves_nothing(db: Db) {
    let sessions = db.sessions().await;
    for user_id in ["ada", "bob", "ada"] {
        Browser::logged_in(&sessions, user_id).await;
    }
    // The last thing that a revocation writes.
    if let Pool::Postgres(pool) = &db.pool {
        sqlx::raw_sql(
            "create function refuse() returns trigger language plpgsql as $$ begin raise 'not this one'; end $$;
             create trigger refuse before insert on sessile.session_event_log for each row when (new.session_id is null) execute function refuse()",
        )
        .execute(pool)
        .await
        .unwrap();
    } else {
        db.run("", "create trigger refuse before insert on session_event_log when new.session_id is null begin select raise(abort, 'not this one'); end").await;
    }
    let before = contents(&db).await;
    for (postgres, columns, values) in [
        ("revoke_user('ada', 'x')", "user_id, reason", "'ada', 'x'"),
        (
            "revoke_others('ada', gen_random_uuid(), 'x')",
            "scope, user_id, session_id, reason",
            "'others', 'ada', randomblob(16), 'x'",
        ),
        ("revoke_all('x')", "scope, reason", "'all', 'x'"),
    ] {
        let insert = format!("insert into revocations ({columns}) values ({values})");
        let error = error_of(&db, &format!("select sessile.{postgres}"), &insert).await;
        assert!(error.contains("not this one"), "{error}");
        assert_eq!(contents(&db).await, before, "{postgres}");
    }
}

/// On SQLite and, with a savepoint, on Postgres.
async fn a_transaction_goes_on_after_a_refused_revocation(db: Db) {
    let sessions = db.sessions().await;
    let (ada, _) = Browser::logged_in(&sessions, "ada").await;
    let (bob, _) = Browser::logged_in(&sessions, "bob").await;
    let mut tx = crate::tx::Tx::begin(&db).await;
    Path::Sql.revoke_in(&mut tx, "", What::User("ada")).await;
    tx.execute("savepoint s").await;
    Path::Sql.revoke_in(&mut tx, "", What::User("bob")).await;
    match &mut tx {
        crate::tx::Tx::Postgres(tx) => {
            refused(tx, "select sessile.revoke_user('', 'x')").await;
        }
        crate::tx::Tx::Sqlite(tx) => {
            sqlx::query("insert into revocations (user_id, reason) values ('', 'x')")
                .execute(&mut **tx)
                .await
                .unwrap_err();
        }
    }
    tx.execute("rollback to savepoint s").await;
    tx.commit().await;
    assert!(!ada.is_in(&sessions).await && bob.is_in(&sessions).await);
    let events = db
        .texts(
            "select distinct user_id from sessile.session_events where event = 'revoked'",
            "select distinct user_id from session_events where event = 'revoked'",
        )
        .await;
    assert_eq!(events, ["ada"]);
    Browser::logged_in(&sessions, "bob").await;
}
