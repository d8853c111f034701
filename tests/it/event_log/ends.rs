use serde_json::json;
use sessile::{ErrorKind, days};
use sqlx::AssertSqlSafe;

use super::{events, log_in, new_events, sessions_of};
use crate::{
    support::{Browser, Db, Pool, cases},
    tx::Tx,
};

cases! { and_wrapped:
    what_users_end_themselves_has_their_name,
    what_the_application_ends_has_its_reason_and_actor,
    a_visitors_session_that_is_revoked_is_an_event,
    log_outs_in_one_statement_are_one_event_each,
    what_had_expired_is_not_revoked,
    a_rolled_back_revocation_is_no_event,
    a_reason_that_no_log_can_show_changes_nothing,
    an_event_is_never_changed,
    a_forgotten_user_leaves_nothing,
}

async fn what_users_end_themselves_has_their_name(db: Db) {
    let sessions = db.sessions().await;
    let (ada, mut other) = (Browser::logged_in(&sessions, "ada").await.0, Browser::default());
    log_in(&mut other, &sessions, "ada").await;
    let id = other.open(&sessions).await.id().unwrap();
    new_events(&db).await;
    assert!(ada.open(&sessions).await.log_out_device(id).await.unwrap());
    assert_eq!(
        new_events(&db).await,
        ["revoked |  | session | ada | 192.0.2.7 | Lynx | logged out from another device | user"]
    );
    // One's own device is an ordinary log-out, and another user's is nothing.
    let (bob, bobs) = Browser::logged_in(&sessions, "bob").await;
    new_events(&db).await;
    assert!(!ada.open(&sessions).await.log_out_device(bobs).await.unwrap());
    assert!(bob.open(&sessions).await.log_out_device(bobs).await.unwrap());
    assert_eq!(new_events(&db).await, ["logged_out |  | session | bob | - | - | - | user"]);

    log_in(&mut other, &sessions, "ada").await;
    new_events(&db).await;
    ada.open(&sessions).await.log_out_others().await.unwrap();
    let mut found = new_events(&db).await;
    found.sort();
    assert_eq!(
        found,
        [
            "revoked |  | - | ada | - | - | logged out others | user",
            "revoked |  | session | ada | 192.0.2.7 | Lynx | logged out others | user",
        ]
    );
    ada.open(&sessions).await.log_out_everywhere().await.unwrap();
    let mut found = new_events(&db).await;
    found.sort();
    assert_eq!(
        found,
        [
            "revoked |  | - | ada | - | - | logged out everywhere | user",
            "revoked |  | session | ada | - | - | logged out everywhere | user",
        ]
    );
}

async fn what_the_application_ends_has_its_reason_and_actor(db: Db) {
    let sessions = db.sessions().await;
    let (_, id) = Browser::logged_in(&sessions, "ada").await;
    let (_, kept) = Browser::logged_in(&sessions, "ada").await;
    Browser::logged_in(&sessions, "ada").await;
    new_events(&db).await;
    assert!(sessions.revoke(id).reason("a lost phone").actor("support:grace").await.unwrap());
    assert_eq!(
        new_events(&db).await,
        ["revoked |  | session | ada | - | - | a lost phone | support:grace"]
    );
    assert_eq!(sessions.revoke_others("ada", kept).await.unwrap().ended, 1);
    let mut found = new_events(&db).await;
    found.sort();
    assert_eq!(
        found,
        [
            "revoked |  | - | ada | - | - | - | application",
            "revoked |  | session | ada | - | - | - | application",
        ]
    );
    // The visitor without a user ends without an event.
    Browser::with(&sessions, "n", json!(1)).await;
    assert_eq!(sessions.revoke_all().reason("a leaked backup").await.unwrap().ended, 2);
    let mut found = new_events(&db).await;
    found.sort();
    assert_eq!(
        found,
        [
            "revoked |  | - | - | - | - | a leaked backup | application",
            "revoked |  | session | ada | - | - | a leaked backup | application",
        ]
    );
    // Nobody is logged in, and yet it was done.
    sessions.revoke_user("ada").await.unwrap();
    assert_eq!(new_events(&db).await, ["revoked |  | - | ada | - | - | - | application"]);
    assert!(!sessions.revoke(id).await.unwrap());
    assert_eq!(new_events(&db).await, [""; 0]);
}

async fn a_visitors_session_that_is_revoked_is_an_event(db: Db) {
    let sessions = db.sessions().await;
    let (_, id) = Browser::with(&sessions, "n", json!(1)).await;
    assert!(sessions.revoke(id).await.unwrap());
    assert_eq!(events(&db).await, ["revoked |  | session | - | - | - | - | application"]);
    assert_eq!(sessions_of(&db, "revoked").await, [id.to_string()]);
}

async fn log_outs_in_one_statement_are_one_event_each(db: Db) {
    let sessions = db.sessions().await;
    let mut ids = Vec::new();
    let mut handles = Vec::new();
    for n in 0..40 {
        let (browser, id) = Browser::logged_in(&sessions, &format!("user-{n}")).await;
        ids.push(id.to_string());
        handles.push(browser.open(&sessions).await);
    }
    ids.sort();
    let mut all = tokio::task::JoinSet::new();
    for session in handles {
        all.spawn(async move { session.log_out().await.unwrap() });
    }
    assert_eq!(all.join_all().await.iter().map(|done| done.ended).sum::<u64>(), 40);
    assert_eq!(sessions_of(&db, "logged_out").await, ids);
}

async fn what_had_expired_is_not_revoked(db: Db) {
    let sessions = db.sessions().await;
    let mut ids = Vec::new();
    for user in ["ada", "bob", "eve"] {
        ids.push(Browser::logged_in(&sessions, user).await.1);
    }
    Browser::with(&sessions, "n", json!(1)).await;
    db.pass(days(60)).await;
    new_events(&db).await;
    assert!(!sessions.revoke(ids[0]).await.unwrap());
    assert_eq!(new_events(&db).await, ["expired |  | session | ada | - | - | idle timeout | -"]);
    assert_eq!(sessions.revoke_user("bob").reason("left").await.unwrap().ended, 0);
    assert_eq!(
        new_events(&db).await,
        [
            "expired |  | session | bob | - | - | idle timeout | -",
            "revoked |  | - | bob | - | - | left | application",
        ]
    );
    assert_eq!(sessions.revoke_all().await.unwrap().ended, 0);
    assert_eq!(
        new_events(&db).await,
        [
            "expired |  | session | eve | - | - | idle timeout | -",
            "revoked |  | - | - | - | - | - | application",
        ]
    );
    assert_eq!(db.rows().await, 0);
}

async fn a_rolled_back_revocation_is_no_event(db: Db) {
    let sessions = db.sessions().await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    new_events(&db).await;
    let mut tx = Tx::begin(&db).await;
    assert_eq!(tx.revoke_user("ada").await.unwrap().ended, 1);
    tx.roll_back().await;
    assert!(browser.is_in(&sessions).await);
    assert_eq!(events(&db).await, [""; 0]);
    let mut tx = Tx::begin(&db).await;
    assert_eq!(tx.revoke(id).await.unwrap().ended, 1);
    assert_eq!(tx.revoke_user("ada").await.unwrap().ended, 0);
    tx.commit().await;
    let mut found = events(&db).await;
    found.sort();
    assert_eq!(
        found,
        [
            "revoked |  | - | ada | - | - | - | application",
            "revoked |  | session | ada | - | - | - | application",
        ]
    );
}

async fn a_reason_that_no_log_can_show_changes_nothing(db: Db) {
    let sessions = db.sessions().await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    let long = "x".repeat(501);
    for text in ["a\nb", "a\0b", &long] {
        for result in [
            sessions.revoke_user("ada").reason(text).await.map(drop),
            sessions.revoke_all().actor(text).await.map(drop),
            sessions.revoke(id).reason(text).await.map(drop),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            let says = error.to_string();
            assert!(says.contains("reason") || says.contains("actor"), "{says}");
        }
    }
    assert!(browser.is_in(&sessions).await);
    assert_eq!(sessions.revoke_user("ada").reason("x".repeat(500)).await.unwrap().ended, 1);
}

async fn an_event_is_never_changed(db: Db) {
    let sessions = db.sessions().await;
    Browser::logged_in(&sessions, "ada").await;
    for is_filed in [false, true] {
        for table in ["session_event_inbox", "session_event_log"] {
            let update = format!("update {table} set user_id = 'bob'");
            let error = match &db.pool {
                Pool::Postgres(pool) => {
                    // Refused even if there is no row.
                    let update = update.replace(table, &format!("sessile.{table}"));
                    sqlx::query(AssertSqlSafe(update)).execute(pool).await.map(drop)
                }
                Pool::Sqlite(_) if is_filed == (table == "session_event_inbox") => continue,
                Pool::Sqlite(pool) => {
                    sqlx::query(AssertSqlSafe(update)).execute(pool).await.map(drop)
                }
            };
            let says = error.unwrap_err().to_string();
            assert!(says.contains(&format!("{table} is append-only")), "{says}");
        }
        assert_eq!(events(&db).await.len(), 1);
        sessions.sweep().await.unwrap();
    }
}

async fn a_forgotten_user_leaves_nothing(db: Db) {
    let sessions = db.sessions().await;
    let office = db.builder().await.realm("office").build().unwrap();
    let (ada, _) = Browser::logged_in(&sessions, "ada-lovelace").await;
    Browser::logged_in(&sessions, "ada-lovelace").await;
    sessions.revoke_others("ada-lovelace", ada.open(&sessions).await.id().unwrap()).await.unwrap();
    let (bob, _) = Browser::logged_in(&sessions, "bob").await;
    let (elsewhere, _) = Browser::logged_in(&office, "ada-lovelace").await;
    assert_eq!(sessions.forget_user("ada-lovelace").await.unwrap().ended, 1);
    assert!(!ada.is_in(&sessions).await);
    assert!(bob.is_in(&sessions).await && elsewhere.is_in(&office).await);
    assert_eq!(office.forget_user("ada-lovelace").await.unwrap().ended, 1);
    assert!(!elsewhere.is_in(&office).await);
    let left = db.dump().await;
    assert!(left.contains("bob") && !left.contains("lovelace"), "{left}");
    // The user may come back.
    let (ada, _) = Browser::logged_in(&sessions, "ada-lovelace").await;
    assert!(ada.is_in(&sessions).await);
    assert_eq!(sessions.forget_user("").await.unwrap_err().kind(), ErrorKind::InvalidUserId);
}
