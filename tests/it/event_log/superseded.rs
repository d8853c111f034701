use std::time::Duration;

use serde_json::json;
use sessile::{Client, Realm, SessionId, minutes, store::SupersededUse};
use uuid::Uuid;

use super::{events, lynx, new_events, sessions_of};
use crate::support::{Browser, Db, cases};

cases! {
    a_replaced_secret_that_is_used_is_an_event_once_a_minute,
    a_forged_secret_is_none,
    the_database_keeps_one_event_a_minute_whichever_node_asks,
}

/// A background task writes the event.
async fn until_there_are(db: &Db, count: usize) {
    for _ in 0..500 {
        if events(db).await.len() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", events(db).await);
}

async fn a_replaced_secret_that_is_used_is_an_event_once_a_minute(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    let (mut browser, id) = Browser::with(&nodes[0], "n", json!(1)).await;
    let stolen = browser.clone();
    let session = browser.open(&nodes[0]).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    new_events(&db).await;
    let cookie = stolen.cookie.as_deref().map(str::as_bytes);
    for sessions in [&nodes[0], &nodes[0], &nodes[1]] {
        assert!(sessions.open(cookie, lynx()).await.unwrap().is_superseded());
    }
    until_there_are(&db, 1).await;
    let found = events(&db).await;
    let expected =
        "superseded |  | session | ada | 192.0.2.7 | Lynx | replaced within the last minute | -";
    // A minute may have ended between the two nodes.
    assert!(found.len() <= 2 && found.iter().all(|event| event == expected), "{found:?}");
    assert_eq!(sessions_of(&db, "superseded").await[0], id.to_string());

    // After a minute, nobody is in a hurry any more.
    db.pass(minutes(5)).await;
    new_events(&db).await;
    let third = db.sessions().await;
    assert!(third.open(cookie, lynx()).await.unwrap().id().is_none());
    until_there_are(&db, 1).await;
    assert_eq!(
        events(&db).await,
        ["superseded |  | session | ada | 192.0.2.7 | Lynx | replaced more than a minute ago | -"]
    );
    assert!(browser.is_in(&third).await);
}

async fn a_forged_secret_is_none(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    session.renew().await.unwrap();
    new_events(&db).await;
    let cookie = browser.cookie.unwrap();
    // In the middle of the secret.
    let (before, after) = cookie.split_at(cookie.len() - 20);
    for other in ["A", "B", "C"].into_iter().filter(|other| !after.starts_with(other)) {
        let forged = format!("{before}{other}{}", &after[1..]);
        let forger = Client::new().user_agent("Forger");
        let opened = sessions.open([forged.as_bytes()], forger).await.unwrap();
        assert!(opened.id().is_none() && !opened.is_superseded());
    }
    // The node asks for one event a minute of a session, so that of a forger would be the only one.
    let opened = sessions.open([cookie.as_bytes()], lynx()).await.unwrap();
    assert!(opened.is_superseded());
    until_there_are(&db, 1).await;
    assert_eq!(
        events(&db).await,
        ["superseded |  | session | ada | 192.0.2.7 | Lynx | replaced within the last minute | -"]
    );
}

async fn the_database_keeps_one_event_a_minute_whichever_node_asks(db: Db) {
    let use_of = |id: SessionId| SupersededUse {
        id,
        realm: Realm::default(),
        user_id: None,
        client: lynx(),
        reason: "for a test",
    };
    let ids: [SessionId; 2] = [Uuid::now_v7().into(), Uuid::now_v7().into()];
    for id in [ids[0], ids[1], ids[0], ids[1], ids[0]] {
        db.store().log_superseded(&use_of(id)).await.unwrap();
    }
    let minutes = db
        .number(
            "select count(distinct (session_id, date_bin('1 minute', at, timestamptz 'epoch'))) from sessile.session_event_log",
            "select count(distinct hex(session_id) || (at / 60000)) from session_event_log",
        )
        .await;
    assert_eq!(events(&db).await.len(), usize::try_from(minutes).unwrap());
}
