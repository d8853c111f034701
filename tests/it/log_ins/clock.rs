//! The database's clock was set back by an hour: the cut-offs from before are in its future.

use sessile::{ErrorKind, Sessions, minutes, seconds};

use crate::support::{Browser, Db, cases};

cases! {
    and_wrapped:
    a_cut_off_in_the_future_refuses_once_and_not_again,
    a_cut_off_of_everybody_in_the_future_refuses_once_and_not_again,
    a_log_in_after_its_own_revocation_is_admitted,
    a_cut_off_in_the_future_refuses_nobody_else,
    what_was_begun_in_the_databases_future_is_refused,
}

/// Simulates that the clock was set back after the revocations.
async fn set_back(db: &Db) {
    let moved = db
        .run(
            "update sessile.session_cutoffs set revoked_at = revoked_at + interval '1 hour' where revoked_at is not null",
            "update session_cutoffs set revoked_at = revoked_at + 3600000 where revoked_at is not null",
        )
        .await;
    assert!(moved > 0);
}

/// The result of a log-in by ada, whose request comes to this node now.
async fn log_in(node: &Sessions) -> Option<ErrorKind> {
    let session = Browser::default().open(node).await;
    session.log_in("ada").await.err().map(|error| error.kind())
}

/// The first log-in may be from before the revocation, as far as the database knows, so it is refused. The
/// next ones are not.
async fn refuses_once(db: &Db, nodes: &[Sessions; 3], revoked: usize) {
    let before = nodes[2].count_of_user("ada").await.unwrap();
    set_back(db).await;
    for (first, second) in [(1, 2), (2, 1)] {
        if first == 2 {
            set_back(db).await;
        }
        assert_eq!(log_in(&nodes[first]).await, Some(ErrorKind::LogInRefused));
        // From then on the cut-off counts as of that moment, to the millisecond, and not as of an hour later.
        db.pass_for_cutoffs(seconds(1)).await;
        for node in [second, first, revoked, 0, 1, 2] {
            assert_eq!(log_in(&nodes[node]).await, None, "on node {node}");
        }
    }
    assert_eq!(nodes[2].count_of_user("ada").await.unwrap(), before + 12);
}

async fn a_cut_off_in_the_future_refuses_once_and_not_again(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await, db.sessions().await];
    nodes[0].revoke_user("ada").await.unwrap();
    refuses_once(&db, &nodes, 0).await;
}

async fn a_cut_off_of_everybody_in_the_future_refuses_once_and_not_again(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await, db.sessions().await];
    nodes[0].revoke_all().await.unwrap();
    refuses_once(&db, &nodes, 0).await;
}

/// "Reset the password, log out everywhere, log in here", while an old cut-off is in the future.
async fn a_log_in_after_its_own_revocation_is_admitted(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    for way in 0..3 {
        for n in 0..2 {
            nodes[0].revoke_user("ada").await.unwrap();
            set_back(&db).await;
            let reset = Browser::default().open(&nodes[n]).await;
            let another = Browser::default().open(&nodes[1 - n]).await;
            let revocation = match way {
                0 => nodes[n].revoke_user("ada").await.unwrap(),
                1 => nodes[n].revoke_others("ada", uuid::Uuid::now_v7().into()).await.unwrap(),
                _ => nodes[1 - n].revoke_user("ada").await.unwrap(),
            };
            reset.log_in("ada").after(&revocation).await.unwrap();
            let refused = another.log_in("ada").await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::LogInRefused, "way {way}");
            db.pass_for_cutoffs(minutes(1)).await;
        }
    }
    // The same for everybody in the realm.
    nodes[0].revoke_all().await.unwrap();
    set_back(&db).await;
    let reset = Browser::default().open(&nodes[0]).await;
    let revocation = nodes[0].revoke_all().await.unwrap();
    db.run(
        "update sessile.session_cutoffs set revoked_at = null where user_id <> ''",
        "update session_cutoffs set revoked_at = null where user_id <> ''",
    )
    .await;
    reset.log_in("ada").after(&revocation).await.unwrap();
}

async fn a_cut_off_in_the_future_refuses_nobody_else(db: Db) {
    let sessions = db.sessions().await;
    sessions.revoke_user("ada").await.unwrap();
    set_back(&db).await;
    Browser::logged_in(&sessions, "bob").await;
    // The cut-off still concerns her, and refuses her once.
    assert_eq!(log_in(&sessions).await, Some(ErrorKind::LogInRefused));
}

/// Nothing is known about revocations since then.
async fn what_was_begun_in_the_databases_future_is_refused(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    session.begin_log_in().user("ada").await.unwrap();
    browser.finish(&session).await;
    db.run(
        "update sessile.sessions set pending_since = pending_since + interval '1 hour', pending_until = pending_until + interval '1 hour'",
        "update sessions set pending_since = pending_since + 3600000, pending_until = pending_until + 3600000",
    )
    .await;
    let session = browser.open(&sessions).await;
    let refused = session.complete_log_in().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LogInRefused);
    // A new beginning succeeds.
    session.begin_log_in().user("ada").await.unwrap();
    session.complete_log_in().await.unwrap();
    assert_eq!(session.user_id().as_deref(), Some("ada"));
}
