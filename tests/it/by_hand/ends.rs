//! Whatever a person has made of a row, it can be ended, and it is swept when it has expired.

use std::time::Duration;

use sessile::{SessionId, Sessions};

use super::damage::{Damage, row, update};
use crate::{
    leak::token,
    support::{Browser, Db, cases},
    tx::Tx,
};

cases! {
    and_wrapped:
    a_row_is_revoked_by_its_id,
    a_row_is_revoked_with_its_user,
    a_row_is_revoked_with_all,
    a_row_is_revoked_in_a_transaction_of_the_application,
    another_device_ends_a_row,
    a_limit_ends_a_row,
    an_expired_row_is_swept,
    a_row_that_a_person_has_inserted_ends_with_all,
}

/// Ada's row, damaged.
async fn damaged(db: &Db, sessions: &Sessions, damage: Damage) -> SessionId {
    let (_, id) = Browser::logged_in(sessions, "ada").await;
    damage.to(db, id).await;
    id
}

/// The live ones of ada's strange rows, and their number. What is not live is ended too, and not counted.
async fn live(db: &Db) -> u64 {
    db.number(
        "select count(*) from sessile.sessions where now() < valid_until and user_id = 'ada'",
        "select count(*) from sessions where unixepoch() * 1000 < valid_until and user_id = 'ada'",
    )
    .await as u64
}

async fn a_row_is_revoked_by_its_id(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::all(&db) {
        let id = damaged(&db, &sessions, damage).await;
        assert!(sessions.revoke(id).await.unwrap(), "{damage:?}");
        assert_eq!(db.rows().await, 0, "{damage:?}");
    }
}

async fn a_row_is_revoked_with_its_user(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::of_its_user(&db) {
        damaged(&db, &sessions, damage).await;
    }
    let rows = live(&db).await;
    assert!(rows > 40, "{rows}");
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), rows);
    assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, rows);
    assert_eq!(db.rows().await, 0);
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    assert!(browser.is_in(&sessions).await);
}

async fn a_row_is_revoked_with_all(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::all(&db) {
        damaged(&db, &sessions, damage).await;
    }
    let rows = db.rows().await as u64;
    assert_eq!(sessions.count().await.unwrap(), rows);
    assert_eq!(sessions.revoke_all().await.unwrap().ended, rows);
    assert_eq!(db.rows().await, 0);
}

async fn a_row_is_revoked_in_a_transaction_of_the_application(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::of_its_user(&db) {
        let id = damaged(&db, &sessions, damage).await;
        damaged(&db, &sessions, damage).await;
        let mut tx = Tx::begin(&db).await;
        assert_eq!(tx.revoke(id).await.unwrap().ended, 1, "{damage:?}");
        assert_eq!(tx.revoke_user("ada").await.unwrap().ended, 1, "{damage:?}");
        tx.commit().await;
        assert_eq!(db.rows().await, 0);
        // The next log-in begins after this cut-off, not in the same millisecond.
        db.pass_for_cutoffs(Duration::from_secs(1)).await;
    }
}

async fn another_device_ends_a_row(db: Db) {
    let sessions = db.sessions().await;
    let (browser, own) = Browser::logged_in(&sessions, "ada").await;
    for damage in Damage::of_its_user(&db) {
        let id = damaged(&db, &sessions, damage).await;
        let session = browser.open(&sessions).await;
        let devices = session.devices().await.unwrap();
        let shown: Vec<_> = devices.iter().map(|device| (device.id, device.current)).collect();
        assert!(shown.contains(&(own, true)) && shown.contains(&(id, false)), "{damage:?}");
        assert!(session.log_out_device(id).await.unwrap(), "{damage:?}");

        damaged(&db, &sessions, damage).await;
        assert_eq!(session.log_out_others().await.unwrap().ended, 1, "{damage:?}");
        assert_eq!(db.rows().await, 1);
    }
}

async fn a_limit_ends_a_row(db: Db) {
    let limited = db.builder().await.sessions_per_user(1, sessile::OnLimit::EndOldest);
    let limited = limited.build().unwrap();
    for damage in Damage::of_its_user(&db) {
        damaged(&db, &limited, damage).await;
        let (browser, id) = Browser::logged_in(&limited, "ada").await;
        assert!(browser.is_in(&limited).await, "{damage:?}");
        assert_eq!(limited.of_user("ada").await.unwrap().len(), 1, "{damage:?}");
        limited.revoke(id).await.unwrap();
    }
    assert_eq!(db.rows().await, 0);
}

/// Whoever may write to the table can make a session as any user, with a secret of their own. It works, and
/// `revoke_all` ends it with the others.
async fn a_row_that_a_person_has_inserted_ends_with_all(db: Db) {
    let sessions = db.sessions().await;
    let (ada, _) = Browser::logged_in(&sessions, "ada").await;
    let (id, secret) = (uuid::Uuid::now_v7(), [7; 32]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let hash = hex(&<sha2::Sha256 as sha2::Digest>::digest(secret));
    db.run(
        &format!(
            "insert into sessile.sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at,
                valid_until, expires_at, idle_timeout, secret_hash, user_id, data)
            values ('{id}', 0, now(), now(), now(), now() + interval '1 day', now() + interval '1 hour',
                now() + interval '1 hour', 3600, '\\x{hash}', 'root', '{{}}')"
        ),
        &format!(
            "insert into sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at,
                valid_until, expires_at, idle_timeout, secret_hash, user_id, data)
            select x'{}', 0, now, now, now, now + 86400000, now + 3600000, now + 3600000, 3600, x'{hash}', 'root', '{{}}'
            from (select unixepoch() * 1000 as now)",
            id.simple()
        ),
    )
    .await;
    let thief = Browser { cookie: Some(token(id.as_bytes(), &secret)) };
    assert_eq!(thief.open(&sessions).await.user_id().as_deref(), Some("root"));
    assert_eq!(sessions.revoke_all().await.unwrap().ended, 2);
    for browser in [&thief, &ada] {
        assert!(!browser.is_in(&sessions).await && !browser.is_in(&db.sessions().await).await);
    }
    assert_eq!(db.rows().await, 0);
}

/// By the index, and on Postgres by the pages of the table.
async fn an_expired_row_is_swept(db: Db) {
    let (sessions, store) = (db.sessions().await, db.store());
    for by_pages in [false, true] {
        for damage in Damage::all(&db) {
            let id = damaged(&db, &sessions, damage).await;
            // Whatever it says of its end: it was yesterday.
            let [postgres, sqlite] = ["now() - interval '1 day'", "unixepoch() * 1000 - 86400000"]
                .map(|then| format!("valid_until = {then}, expires_at = {then}"));
            update(&db, "sessions", Some(&postgres), Some(&sqlite), &row(&db, id)).await;
        }
        let rows = db.rows().await;
        if by_pages && let Some(survey) = store.survey().await.unwrap() {
            store.sweep_pages(0..survey.pages + 1, true).await.unwrap();
        } else {
            assert_eq!(sessions.sweep().await.unwrap().rows, rows as u64);
        }
        assert_eq!(db.rows().await, 0);
    }
    // Nothing of it stays behind.
    db.pass_for_cutoffs(Duration::from_secs(90_000)).await;
    assert_eq!(sessions.sweep().await.unwrap().rows, 0);
}
