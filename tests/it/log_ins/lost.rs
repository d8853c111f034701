//! The log-in succeeded, its answer was lost, and the user tries again.

use sessile::{Client, ErrorKind, OnLimit};

use crate::support::{Browser, Db, cases};

cases! {
    and_wrapped:
    at_the_limit_the_user_can_end_the_session_of_the_lost_answer,
    at_the_limit_that_ends_the_oldest_nobody_is_refused,
    after_log_out_everywhere_the_password_is_asked_for_once_more,
}

async fn at_the_limit_the_user_can_end_the_session_of_the_lost_answer(db: Db) {
    let builder = db.builder().await.sessions_per_user(2, OnLimit::Refuse);
    let sessions = builder.build().unwrap();
    let (desktop, desktops_id) = Browser::logged_in(&sessions, "ada").await;
    let client = || Client::new().user_agent("the phone");
    let lost = sessions.open(None, client()).await.unwrap();
    lost.log_in("ada").await.unwrap();
    lost.finish().await.unwrap();

    let mut phone = Browser::default();
    let again = sessions.open(None, client()).await.unwrap();
    assert_eq!(again.log_in("ada").await.unwrap_err().kind(), ErrorKind::TooManySessions);
    // The same request lists the sessions, the newest first, and ends one of them.
    let listed = sessions.of_user("ada").await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].user_agent.as_deref(), Some("the phone"));
    assert_eq!((Some(listed[0].id), listed[1].id), (lost.id(), desktops_id));
    assert!(sessions.revoke(listed[0].id).await.unwrap());
    again.log_in("ada").await.unwrap();
    phone.finish(&again).await;
    assert!(phone.is_in(&sessions).await && desktop.is_in(&sessions).await);
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 2);
}

async fn at_the_limit_that_ends_the_oldest_nobody_is_refused(db: Db) {
    let builder = db.builder().await.sessions_per_user(1, OnLimit::EndOldest);
    let sessions = builder.build().unwrap();
    for _ in 0..3 {
        let (browser, _) = Browser::logged_in(&sessions, "ada").await;
        assert!(browser.is_in(&sessions).await);
        assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
    }
}

async fn after_log_out_everywhere_the_password_is_asked_for_once_more(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    let (device, _) = Browser::logged_in(&nodes[1], "ada").await;
    let lost = Browser::default().open(&nodes[0]).await;
    lost.log_in("ada").await.unwrap();
    lost.finish().await.unwrap();
    // The second try is in flight when she presses "log out everywhere" at the desk.
    let again = Browser::default().open(&nodes[0]).await;
    device.open(&nodes[1]).await.log_out_everywhere().await.unwrap();
    assert_eq!(again.log_in("ada").await.unwrap_err().kind(), ErrorKind::LogInRefused);
    assert_eq!(nodes[0].count_of_user("ada").await.unwrap(), 0);
    assert_eq!(again.finish().await.unwrap(), sessile::CookieChange::Keep);
    // On SQLite a cut-off is rounded up to the millisecond.
    db.pass_for_cutoffs(sessile::seconds(1)).await;
    let (phone, _) = Browser::logged_in(&nodes[0], "ada").await;
    assert!(phone.is_in(&nodes[0]).await);
}
