//! The client's address and user agent: sealed, left out, or looking as if they were.

use std::net::IpAddr;

use sessile::{Client, ErrorKind, SessionInfo, Sessions, encryption::Encryption, minutes};

use super::{key, sealed};
use crate::support::{Browser, Db, cases};

cases! {
    and_wrapped:
    they_are_sealed_in_sessions_and_events,
    they_are_left_out,
    a_user_agent_that_looks_sealed_hides_no_address,
}

/// What the application does with a client: a visit, log-ins, a renewal, a request later on, a stolen cookie, an end.
async fn life(db: &Db, sessions: &Sessions) {
    let client =
        |agent: &str| Client::new().ip("203.0.113.7".parse::<IpAddr>().unwrap()).user_agent(agent);
    let mut browser = Browser::default();
    let session = sessions.open([] as [&[u8]; 0], client("Agent one")).await.unwrap();
    session.insert("a", 1).unwrap();
    browser.finish(&session).await;
    let cookie = browser.cookie.clone().unwrap();
    let session = sessions.open([cookie.as_bytes()], client("Agent two")).await.unwrap();
    session.begin_log_in().user("ada").await.unwrap();
    session.complete_log_in().await.unwrap();
    browser.finish(&session).await;
    // Somebody comes with the replaced secret, and the session is seen again.
    sessions.open([cookie.as_bytes()], client("Agent three")).await.unwrap();
    db.pass(minutes(30)).await;
    let cookie = browser.cookie.clone().unwrap();
    let session = sessions.open([cookie.as_bytes()], client("Agent four")).await.unwrap();
    session.update("a", |a: &mut u32| *a += 1).await.unwrap();
    session.reauthenticate().await.unwrap();
    session.renew().await.unwrap();
    browser.finish(&session).await;
    let (gone, _) = Browser::logged_in(sessions, "bob").await;
    let cookie = gone.cookie.clone().unwrap();
    let session = sessions.open([cookie.as_bytes()], client("Agent five")).await.unwrap();
    session.log_in("bob").await.unwrap();
    session.log_out().await.unwrap();
    sessions.flush().await.unwrap();
    let dump = db.dump().await;
    assert!(!dump.contains("203.0.113.7") && !dump.contains("Agent"), "{dump}");
}

async fn they_are_sealed_in_sessions_and_events(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1")).seal_clients(true)).await;
    life(&db, &sessions).await;
    let is_ada = |info: &SessionInfo| {
        (info.ip, info.user_agent.as_deref()) == (Some([203, 0, 113, 7].into()), Some("Agent four"))
    };
    let of_ada = sessions.of_user("ada").await.unwrap();
    assert!(is_ada(&of_ada[0]), "{of_ada:?}");
    assert!(is_ada(&sessions.of_user("ada").all().await.unwrap()[0]));
    assert!(is_ada(&sessions.find(of_ada[0].id).await.unwrap().unwrap()));
    // Events have it as well, and the application can open it.
    let events = "select user_agent from {} where event = 'logged_out'";
    let sealed_client = db
        .texts(
            &events.replace("{}", "sessile.session_events"),
            &events.replace("{}", "session_events_raw"),
        )
        .await
        .remove(0);
    assert!(sealed_client.starts_with("sealed1.x.k1."), "{sealed_client}");
    let client = sessions.unsealed_client(&sealed_client).unwrap();
    assert_eq!(client.user_agent.as_deref(), Some("Agent five"));
    let other = sealed(&db, Encryption::new(key("k2"))).await;
    assert_eq!(other.unsealed_client(&sealed_client).unwrap_err().kind(), ErrorKind::Encryption);
    assert_eq!(sessions.unsealed_client("curl").unwrap_err().kind(), ErrorKind::Encryption);
    let cut = &sealed_client[..sealed_client.len() - 4];
    assert_eq!(sessions.unsealed_client(cut).unwrap_err().kind(), ErrorKind::WrongType);
    // Without its key a client is unknown, and the list is there.
    let of_ada = other.of_user("ada").await.unwrap();
    assert_eq!((of_ada[0].ip, of_ada[0].user_agent.as_deref()), (None, None));
}

async fn a_user_agent_that_looks_sealed_hides_no_address(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let client =
        Client::new().ip("203.0.113.7".parse::<IpAddr>().unwrap()).user_agent("sealed1.x.k1.AAAA");
    let session = sessions.open([] as [&[u8]; 0], client).await.unwrap();
    session.log_in("ada").await.unwrap();
    assert_eq!(session.devices().await.unwrap()[0].ip, Some([203, 0, 113, 7].into()));
    assert_eq!(
        sessions.of_user("ada").await.unwrap()[0].user_agent.as_deref(),
        Some("sealed1.x.k1.AAAA")
    );
}

async fn they_are_left_out(db: Db) {
    let sessions = db.builder().await.record_clients(false).build().unwrap();
    life(&db, &sessions).await;
    let of_ada = sessions.of_user("ada").await.unwrap();
    assert_eq!((of_ada[0].ip, of_ada[0].user_agent.as_deref()), (None, None));
}
