use std::time::Instant;

use serde_json::json;
use sessile::{ErrorKind, Revocation, Sessions, hours, minutes};

use crate::support::{Browser, Db, cases};

cases! {
    and_wrapped:
    promise_05_log_out_everywhere_ends_every_session_of_the_user,
    promise_05_a_log_in_that_began_before_is_refused,
    promise_05_a_log_in_is_judged_by_when_its_authentication_began,
    promise_05_a_log_in_that_follows_in_the_same_request_is_admitted,
    promise_05_the_session_that_logged_the_others_out_stays,
}

async fn promise_05_log_out_everywhere_ends_every_session_of_the_user(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    let mut adas = Vec::new();
    for n in 0..6 {
        adas.push(Browser::logged_in(&nodes[n % 2], "ada").await.0);
    }
    let (bobs, _) = Browser::logged_in(&nodes[0], "bob").await;
    let (nobodys, _) = Browser::with(&nodes[0], "n", json!(0)).await;

    let session = adas[0].open(&nodes[0]).await;
    assert_eq!(session.log_out_everywhere().await.unwrap().ended, 6);
    assert!(!adas[2].is_in(&nodes[0]).await);
    db.heard().await;

    for node in &nodes {
        for browser in &adas {
            assert!(!browser.is_in(node).await);
        }
        assert!(bobs.is_in(node).await);
        assert!(nobodys.is_in(node).await);
    }
    assert_eq!(nodes[0].count_of_user("ada").await.unwrap(), 0);
}

/// Each way to end all sessions of a user, or all but one that is not theirs.
async fn revoked(way: u32, sessions: &Sessions) -> Revocation {
    match way {
        0 => sessions.revoke_user("ada").await,
        1 => sessions.revoke_all().await,
        2 => sessions.revoke_others("ada", uuid::Uuid::now_v7().into()).await,
        3 => device(sessions).await.log_out_everywhere().await,
        _ => device(sessions).await.log_out_others().await,
    }
    .unwrap()
}

async fn device(sessions: &Sessions) -> sessile::Session {
    let (browser, _) = Browser::logged_in(sessions, "ada").await;
    browser.open(sessions).await
}

async fn promise_05_a_log_in_that_began_before_is_refused(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    for way in 0..5 {
        db.pass_for_cutoffs(minutes(1)).await;
        let (anonymous, _) = Browser::with(&nodes[0], "cart", json!(1)).await;
        let with_a_row = anonymous.open(&nodes[0]).await;
        let without = Browser::default().open(&nodes[1]).await;
        revoked(way, &nodes[1]).await;
        let left = nodes[0].count_of_user("ada").await.unwrap();
        for session in [with_a_row, without] {
            let error = session.log_in("ada").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LogInRefused, "way {way}");
            assert_eq!(session.user_id(), None);
        }
        assert_eq!(nodes[0].count_of_user("ada").await.unwrap(), left);
    }
}

/// A password in one request, a code in the next: the authentication began with the first one. On a socket it
/// is the other way round.
async fn promise_05_a_log_in_is_judged_by_when_its_authentication_began(db: Db) {
    let sessions = db.sessions().await;
    let an_hour_ago = Instant::now().checked_sub(hours(1)).unwrap();
    for way in 0..5 {
        revoked(way, &sessions).await;
        db.pass_for_cutoffs(minutes(1)).await;
        let session = Browser::default().open(&sessions).await;
        let early = session.log_in("ada").authentication_began(an_hour_ago).await;
        assert_eq!(early.unwrap_err().kind(), ErrorKind::LogInRefused, "way {way}");
        session.log_in("ada").authentication_began(Instant::now()).await.unwrap();
        Browser::logged_in(&sessions, "ada").await;
    }
}

async fn promise_05_a_log_in_that_follows_in_the_same_request_is_admitted(db: Db) {
    let sessions = db.sessions().await;
    for way in 0..5 {
        let mut browser = Browser::default();
        let reset = browser.open(&sessions).await;
        let another = browser.open(&sessions).await;
        let revocation = revoked(way, &sessions).await;
        reset.log_in("ada").after(&revocation).await.unwrap();
        browser.finish(&reset).await;
        assert!(browser.is_in(&sessions).await, "way {way}");
        // The revocation admits only the log-in that follows it.
        assert_eq!(another.log_in("ada").await.unwrap_err().kind(), ErrorKind::LogInRefused);
        db.pass_for_cutoffs(minutes(1)).await;
    }
}

async fn promise_05_the_session_that_logged_the_others_out_stays(db: Db) {
    let sessions = db.sessions().await;
    let (other, _) = Browser::logged_in(&sessions, "ada").await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.log_out_others().await.unwrap().ended, 1);
    session.insert("n", 1).unwrap();
    browser.finish(&session).await;
    assert!(!other.is_in(&sessions).await);
    assert_eq!(browser.open(&sessions).await.id(), Some(id));
    // The session's user may authenticate again in it.
    session.reauthenticate().await.unwrap();
}
