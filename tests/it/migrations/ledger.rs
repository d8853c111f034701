//! The migrations of a database, independent of the tool that ran them.

use serde_json::json;
use sessile::{
    ErrorKind,
    encryption::{Key, Pepper, Rollout},
};

use super::{FIRST, INBOX, REALMS, empty_cases, sqlx, works};
use crate::{
    capture::Capture,
    support::{Browser, Db},
};

empty_cases! {
    an_empty_database_is_migrated,
    a_database_that_is_not_migrated_says_what_to_do,
    a_newer_schema_that_is_good_for_this_release_is_used,
    a_newer_schema_that_needs_a_newer_release_is_refused,
    a_newer_schema_that_does_not_say_what_it_needs_is_refused,
    up_down_and_up_again,
    the_way_down_ends_the_sessions_of_other_realms_only,
    the_way_down_ends_the_sessions_with_keys_only,
    sqlx_cli_and_the_library_are_interchangeable,
    nodes_that_start_at_once_all_succeed,
    the_applications_own_ledger_is_not_touched,
}

async fn an_empty_database_is_migrated(db: Db) {
    let sessions = db.sessions().await;
    sessions.migrate().await.unwrap();
    works(&sessions).await;
    sessions.migrate().await.unwrap();
    works(&sessions).await;
}

async fn a_database_that_is_not_migrated_says_what_to_do(db: Db) {
    let sessions = db.sessions().await;
    let error = sessions.count().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("Sessions::migrate()"), "{error}");
}

/// As after a migration of the next release, which names the oldest release that can use the schema.
async fn migrated_by_a_later_release(db: &Db, needs_migration: &str, needs_release: &str) {
    db.sessions().await.migrate().await.unwrap();
    db.run(
        "insert into sessile._sqlx_migrations (version, description, success, checksum, execution_time)
         values (99990101000000, 'later', true, '\\x00', 0)",
        "insert into _sessile_migrations (version, description, success, checksum, execution_time)
         values (99990101000000, 'later', true, x'00', 0)",
    )
    .await;
    let needs =
        format!("set needs_migration = {needs_migration}, needs_release = '{needs_release}'");
    db.run(
        &format!("update sessile.session_schema {needs}"),
        &format!("update session_schema {needs}"),
    )
    .await;
}

async fn a_newer_schema_that_is_good_for_this_release_is_used(db: Db) {
    // Different releases, so that this test's log lines can be distinguished from other tests' lines.
    let backend = if db.is_postgres() { "postgres" } else { "sqlite" };
    for needs_migration in [FIRST, REALMS] {
        let logs = Capture::begin();
        let release = format!("0.{needs_migration}.0-{backend}");
        migrated_by_a_later_release(&db, needs_migration, &release).await;
        let sessions = db.sessions().await;
        sessions.migrate().await.unwrap();
        works(&sessions).await;
        let message = "the schema is of a newer release, and good for this one";
        let told = logs.events(message, &release);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["message"], "INFO");
        assert_eq!(told[0]["release"], env!("CARGO_PKG_VERSION"));
        assert_eq!(told[0]["needs_release"], release);
        let later = "version = 99990101000000";
        db.run(
            &format!("delete from sessile._sqlx_migrations where {later}"),
            &format!("delete from _sessile_migrations where {later}"),
        )
        .await;
    }
}

async fn a_newer_schema_that_needs_a_newer_release_is_refused(db: Db) {
    migrated_by_a_later_release(&db, "99990101000000", "47.11.0").await;
    let sessions = db.sessions().await;
    let error = sessions.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("needs sessile 47.11.0 or newer"), "{error}");
    let this = format!("this is {}", env!("CARGO_PKG_VERSION"));
    assert!(error.to_string().contains(&this), "{error}");
    // A refusal leaves no lock behind.
    assert!(sessions.migrate().await.is_err());
}

async fn a_newer_schema_that_does_not_say_what_it_needs_is_refused(db: Db) {
    migrated_by_a_later_release(&db, FIRST, "0.1.0").await;
    db.run("delete from sessile.session_schema", "delete from session_schema").await;
    let error = db.sessions().await.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("newer than this version of sessile"), "{error}");
    assert!(error.to_string().contains("session_schema"), "{error}");
}

async fn up_down_and_up_again(db: Db) {
    for _ in 0..2 {
        sqlx(&db, &["run"]);
        let sessions = db.sessions().await;
        works(&sessions).await;
        sqlx(&db, &["revert", "--target-version", "0"]);
        assert_eq!(sessions.count().await.unwrap_err().kind(), ErrorKind::Schema);
    }
    db.sessions().await.migrate().await.unwrap();
    works(&db.sessions().await).await;
}

/// The release before would take their cookies for wrong ones.
async fn the_way_down_ends_the_sessions_with_keys_only(db: Db) {
    let plain = db.sessions().await;
    plain.migrate().await.unwrap();
    let pepper = Pepper::new(Key::new("p1", [1; 32]).unwrap()).rollout(Rollout::Migrate);
    let peppered = db.builder().await.pepper(pepper).build().unwrap();
    let (ada, _) = Browser::logged_in(&plain, "ada").await;
    let (bob, _) = Browser::logged_in(&peppered, "bob").await;
    sqlx(&db, &["revert", "--target-version", INBOX]);
    assert_eq!(db.rows().await, 1);
    sqlx(&db, &["run"]);
    let plain = db.sessions().await;
    assert!(ada.is_in(&plain).await && !bob.is_in(&plain).await);
}

async fn the_way_down_ends_the_sessions_of_other_realms_only(db: Db) {
    let shop = db.sessions().await;
    shop.migrate().await.unwrap();
    let office = db.builder().await.realm("office").build().unwrap();
    let (guest, _) = Browser::with(&shop, "a", json!(1)).await;
    let (ada, _) = Browser::logged_in(&shop, "ada").await;
    let (guest_of_office, _) = Browser::with(&office, "a", json!(1)).await;
    let (ada_of_office, _) = Browser::logged_in(&office, "ada").await;
    shop.revoke_user("bob").await.unwrap();
    office.revoke_user("bob").await.unwrap();
    let cutoffs = async || {
        db.texts(
            "select user_id from sessile.session_cutoffs where revoked_at is not null",
            "select user_id from session_cutoffs where revoked_at is not null",
        )
        .await
    };
    assert_eq!(cutoffs().await.len(), 2);

    sqlx(&db, &["revert", "--target-version", FIRST]);
    assert_eq!((db.rows().await, cutoffs().await), (2, vec!["bob".to_owned()]));
    sqlx(&db, &["run"]);
    // Connections from before have prepared statements of the other schema.
    let shop = db.sessions().await;
    let office = db.builder().await.realm("office").build().unwrap();
    for browser in [&guest, &ada] {
        assert!(browser.is_in(&shop).await);
        assert!(!browser.is_in(&office).await);
    }
    for browser in [&guest_of_office, &ada_of_office] {
        assert!(!browser.is_in(&office).await && !browser.is_in(&shop).await);
    }
    assert_eq!(ada.open(&shop).await.user_id().as_deref(), Some("ada"));
}

async fn sqlx_cli_and_the_library_are_interchangeable(db: Db) {
    sqlx(&db, &["run"]);
    let sessions = db.sessions().await;
    sessions.migrate().await.unwrap();
    works(&sessions).await;
    sqlx(&db, &["revert", "--target-version", "0"]);
    sessions.migrate().await.unwrap();
    sqlx(&db, &["run"]);
    works(&sessions).await;
}

async fn nodes_that_start_at_once_all_succeed(db: Db) {
    for _ in 0..5 {
        let mut nodes = Vec::new();
        for _ in 0..8 {
            nodes.push(db.sessions().await);
        }
        let starts: Vec<_> = nodes
            .iter()
            .cloned()
            .map(|node| tokio::spawn(async move { node.migrate().await }))
            .collect();
        for start in starts {
            start.await.unwrap().unwrap();
        }
        works(&nodes[0]).await;
        sqlx(&db, &["revert", "--target-version", "0"]);
        db.run("drop schema sessile cascade", "drop table _sessile_migrations").await;
    }
}

async fn the_applications_own_ledger_is_not_touched(db: Db) {
    let create = "create table _sqlx_migrations (mine text)";
    db.run(create, create).await;
    let insert = "insert into _sqlx_migrations values ('as it was')";
    db.run(insert, insert).await;
    db.sessions().await.migrate().await.unwrap();
    let select = "select mine from _sqlx_migrations";
    assert_eq!(db.texts(select, select).await, ["as it was"]);
}

#[tokio::test]
async fn every_table_and_column_says_what_it_is() {
    let db = Db::postgres().await;
    let silent = db
        .texts(
            "select c.relname || coalesce('.' || a.attname, '') from pg_class c
             left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and c.relkind = 'r'
             where c.relnamespace = 'sessile'::regnamespace and c.relkind in ('r', 'v')
                and c.relname <> '_sqlx_migrations'
                and (col_description(c.oid, a.attnum) is null and c.relkind = 'r' or obj_description(c.oid) is null)",
            "",
        )
        .await;
    assert_eq!(silent, [] as [&str; 0]);
    db.drop().await;
}
