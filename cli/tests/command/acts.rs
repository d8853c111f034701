//! `revoke`.

use serde_json::json;

use crate::{
    program::{done, failed, on, on_terminal, rows},
    support::{self, Db, log_in, visit},
};

support::cases! {
    a_users_sessions_end_with_reason_and_operator,
    all_but_one_end,
    sessions_end_by_id_in_their_realm,
    everybodys_sessions_end,
    without_an_answer_nothing_changes,
    a_person_is_asked_on_a_terminal,
    the_wrong_arguments_change_nothing,
    log_ins_in_flight_are_refused,
}

async fn live(db: &Db) -> usize {
    rows(db, &["list"]).len()
}

async fn a_users_sessions_end_with_reason_and_operator(db: Db) {
    let sessions = db.sessions().await;
    for _ in 0..3 {
        log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    }
    let bob = log_in(&sessions, "bob", "203.0.113.8", "curl").await;
    let out = done(
        &db,
        &["revoke", "--user", "ada", "--yes", "--reason", "a lost laptop", "--operator", "grace"],
    );
    assert_eq!(out, "Ended 3 sessions.\n");
    assert_eq!(live(&db).await, 1);
    assert!(sessions.find(bob.into()).await.unwrap().is_some());
    let events = rows(&db, &["events", "--user", "ada", "--event", "revoked"]);
    assert_eq!(events.len(), 4, "one for each session, and one for the user");
    for event in events {
        assert_eq!(
            (&event["reason"], &event["actor"]),
            (&json!("a lost laptop"), &json!("command:grace"))
        );
    }
}

async fn all_but_one_end(db: Db) {
    let sessions = db.sessions().await;
    let keep = log_in(&sessions, "ada", "203.0.113.7", "curl").await.to_string();
    log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    assert_eq!(
        done(&db, &["revoke", "--user", "ada", "--all-but", &keep, "-y"]),
        "Ended 1 session.\n"
    );
    let left = rows(&db, &["list"]);
    assert_eq!((left.len(), &left[0]["id"]), (1, &json!(keep)));
}

async fn sessions_end_by_id_in_their_realm(db: Db) {
    let sessions = db.sessions().await;
    let anonymous = visit(&sessions).await.to_string();
    let office =
        log_in(&db.sessions_of("office").await, "ada", "203.0.113.7", "curl").await.to_string();
    let stays = log_in(&sessions, "ada", "203.0.113.7", "curl").await.to_string();
    let absent = uuid::Uuid::now_v7().to_string();
    let out = done(&db, &["revoke", &anonymous, &absent, &office, "--yes"]);
    assert_eq!(out, "Ended 2 sessions.\n");
    let left = rows(&db, &["list"]);
    assert_eq!((left.len(), &left[0]["id"]), (1, &json!(stays)));
    let events = rows(&db, &["events", "--realm", "office", "--event", "revoked"]);
    assert_eq!((events.len(), &events[0]["session_id"]), (1, &json!(office)));

    let none = failed_at_last(&db, &["revoke", &absent, "--yes"]);
    assert!(none.contains("none of these sessions is live; nothing was changed"), "{none}");
}

/// The last line of a failure that first says something else.
fn failed_at_last(db: &Db, args: &[&str]) -> String {
    let ran = crate::program::run(on(db, args));
    assert_eq!(ran.code, 4, "{ran:?}");
    ran.err.lines().last().unwrap().to_owned()
}

async fn everybodys_sessions_end(db: Db) {
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    visit(&sessions).await;
    log_in(&db.sessions_of("office").await, "ada", "203.0.113.7", "curl").await;
    assert_eq!(
        done(&db, &["revoke", "--all", "--yes"]),
        "Ended 2 sessions.\n",
        "of the default realm"
    );
    assert_eq!(done(&db, &["revoke", "--all", "--realm", "office", "--yes"]), "Ended 1 session.\n");
    assert_eq!(live(&db).await, 0);
}

async fn without_an_answer_nothing_changes(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", "curl").await.to_string();
    for args in [
        &["revoke", "--user", "ada"][..],
        &["revoke", "--all"],
        &["revoke", &id],
        &["migrate", "revert"],
    ] {
        let ran = crate::program::run(on(&db, args));
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(
            ran.err.lines().last().unwrap().contains("nothing was changed. Remedy: "),
            "{ran:?}"
        );
        assert_eq!(live(&db).await, 1);
    }
    assert_eq!(rows(&db, &["events", "--event", "revoked"]).len(), 0);
}

async fn a_person_is_asked_on_a_terminal(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", "curl").await.to_string();
    for answer in ["\n", "no\n", "y\n", "yes please\n", "YES\n"] {
        let (code, seen) = on_terminal(&db, &["revoke", "--user", "ada"], answer);
        assert_eq!(code, 3, "{answer:?}: {seen}");
        assert!(seen.contains(&id) && seen.contains("This ends all sessions of ada"), "{seen}");
        assert_eq!(live(&db).await, 1, "{answer:?}");
    }
    let (code, seen) = on_terminal(&db, &["revoke", "--all"], "yes\n");
    assert_eq!((code, live(&db).await), (3, 1), "all needs another word: {seen}");
    let (code, seen) = on_terminal(&db, &["revoke", "--user", "ada"], "yes\n");
    assert_eq!((code, live(&db).await), (0, 0), "{seen}");
    assert!(seen.contains("Ended 1 session."), "{seen}");
    let (code, _) = on_terminal(&db, &["revoke", "--all"], "everybody\n");
    assert_eq!(code, 0);
}

async fn the_wrong_arguments_change_nothing(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", "curl").await.to_string();
    for args in [
        &["revoke", "--yes"][..],
        &["revoke", "--yes", "--user", "ada", "--all"],
        &["revoke", "--yes", "--user", "ada", &id],
        &["revoke", "--yes", "--all-but", &id],
        &["revoke", "--yes", "ada"],
    ] {
        let ran = crate::program::run(on(&db, args));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
    }
    for args in [
        &["revoke", "--yes", "--user", "ada", "--reason", &"x".repeat(501)][..],
        &["revoke", "--yes", "--user", "ada", "--reason", "two\nlines"],
        &["revoke", "--yes", "--user", ""],
        &["revoke", "--yes", "--all", "--realm", "Back Office"],
    ] {
        assert_eq!(failed(on(&db, args)).code, 2, "{args:?}");
    }
    assert_eq!(live(&db).await, 1);
}

/// The command has the library's own cut-off.
async fn log_ins_in_flight_are_refused(db: Db) {
    let sessions = db.sessions().await;
    let begun = sessions.open([], sessile::Client::default()).await.unwrap();
    done(&db, &["revoke", "--user", "ada", "--yes"]);
    let error = begun.log_in("ada").await.unwrap_err();
    assert_eq!(error.kind(), sessile::ErrorKind::LogInRefused);
}
