//! `Sessions::open` with the cookies of a request, as an adapter to another framework calls it.

use sessile::{Client, CookieChange, ErrorKind, Session};

use crate::{
    site::Library,
    support::{
        Browser, Db, cases,
        tap::Verb::{Create, End, Load, Save},
    },
};

cases! {
    it_takes_the_values_in_whatever_holds_them,
    one_live_one_is_the_session,
    two_live_ones_are_none_and_a_log_out_ends_both,
    more_than_four_are_none,
    a_superseded_one_is_told_by_its_handle,
}

async fn open(library: &Library, values: &[&str]) -> Session {
    let values = values.iter().map(|value| value.as_bytes());
    library.sessions.open(values, Client::new()).await.unwrap()
}

/// The cookies of an anonymous session that contains `{"a": 1}`, and of one that has ended.
async fn live_and_ended(library: &Library) -> (String, String) {
    let (live, _) = Browser::with(&library.sessions, "a", 1.into()).await;
    let (ended, id) = Browser::with(&library.sessions, "a", 2.into()).await;
    assert!(library.sessions.revoke(id).await.unwrap());
    library.spy.take();
    (live.cookie.unwrap(), ended.cookie.unwrap())
}

async fn it_takes_the_values_in_whatever_holds_them(db: Db) {
    let library = Library::over(&db);
    let (live, ended) = live_and_ended(&library).await;
    let (sessions, live, ended) = (&library.sessions, live.as_bytes(), ended.as_bytes());
    let header = [b"a=1; id=".as_slice(), ended, b"; id=", live].concat();
    let of_header = header
        .split(|&byte| byte == b';')
        .filter_map(|pair| pair.trim_ascii().strip_prefix(b"id="));
    let opened = [
        sessions.open(Some(live), Client::new()).await,
        sessions.open([live], Client::new()).await,
        sessions.open([ended, live], Client::new()).await,
        sessions.open(vec![live, ended], Client::new()).await,
        sessions.open(of_header, Client::new()).await,
    ];
    for session in opened {
        assert_eq!(session.unwrap().get::<u32>("a").unwrap(), Some(1));
    }
    assert_eq!(library.spy.take(), [Load; 5]);
    let opened = [
        sessions.open(None, Client::new()).await,
        sessions.open([], Client::new()).await,
        sessions.open([&b"malformed"[..], b""], Client::new()).await,
    ];
    for session in opened {
        assert_eq!(session.unwrap().id(), None);
    }
    assert!(library.spy.take().is_empty());
}

async fn one_live_one_is_the_session(db: Db) {
    let library = Library::over(&db);
    let (live, ended) = live_and_ended(&library).await;
    for values in [
        &[&*live, &*ended][..],
        &[&ended, &live],
        &[&live, &live],
        &["x", &live, "", &ended, &live],
    ] {
        let session = open(&library, values).await;
        assert_eq!(library.spy.take(), [Load]);
        session.insert("b", values.len()).unwrap();
        assert_eq!(session.finish().await.unwrap(), CookieChange::Keep);
        assert_eq!(library.spy.take(), [Save]);
        assert_eq!(open(&library, &[&live]).await.get("b").unwrap(), Some(values.len()));
        library.spy.take();
    }
    // Dead cookies alone stay, until the session is written.
    let session = open(&library, &[&ended, "x"]).await;
    assert_eq!((session.id(), session.is_superseded()), (None, false));
    assert_eq!(session.finish().await.unwrap(), CookieChange::Keep);
    session.insert("a", 3).unwrap();
    assert!(matches!(session.finish().await.unwrap(), CookieChange::Set { .. }));
    assert_eq!(library.spy.take(), [Load, Create]);
    // A log-out removes them.
    let session = open(&library, &[&ended, "x"]).await;
    assert_eq!(session.log_out().await.unwrap().ended, 0);
    assert_eq!(session.finish().await.unwrap(), CookieChange::Remove);
    let session = open(&library, &["x"]).await;
    session.log_out().await.unwrap();
    assert_eq!(session.finish().await.unwrap(), CookieChange::Remove);
    let session = open(&library, &[]).await;
    session.log_out().await.unwrap();
    assert_eq!(session.finish().await.unwrap(), CookieChange::Keep);
}

async fn two_live_ones_are_none_and_a_log_out_ends_both(db: Db) {
    let library = Library::over(&db);
    let (guest, ended) = live_and_ended(&library).await;
    let (ada, _) = Browser::logged_in(&library.sessions, "ada").await;
    let ada = ada.cookie.unwrap();
    library.spy.take();
    let session = open(&library, &[&guest, &ended, &ada]).await;
    assert_eq!((session.id(), session.user_id()), (None, None));
    assert!(!session.is_superseded());
    assert_eq!(session.devices().await.unwrap_err().kind(), ErrorKind::NotLoggedIn);
    assert_eq!(session.log_out().await.unwrap().ended, 2);
    assert_eq!(session.finish().await.unwrap(), CookieChange::Remove);
    assert_eq!(library.spy.take(), [Load, End, End]);
    for cookie in [&guest, &ada] {
        assert_eq!(open(&library, &[cookie]).await.id(), None);
    }
}

async fn more_than_four_are_none(db: Db) {
    let library = Library::over(&db);
    let (live, ended) = live_and_ended(&library).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(live_and_ended(&library).await.1);
    }
    let [one, two, three] = &others[..] else { unreachable!() };
    let session = open(&library, &[one, two, &live, three, &live, one]).await;
    assert_eq!(session.get::<u32>("a").unwrap(), Some(1));
    assert_eq!(library.spy.take(), [Load]);
    let session = open(&library, &[one, two, &live, three, &ended]).await;
    assert_eq!(session.id(), None);
    assert!(library.spy.take().is_empty());
}

async fn a_superseded_one_is_told_by_its_handle(db: Db) {
    let library = Library::over(&db);
    let (mut browser, id) = Browser::logged_in(&library.sessions, "ada").await;
    let old = browser.cookie.clone().unwrap();
    let session = browser.open(&library.sessions).await;
    session.reauthenticate().await.unwrap();
    browser.finish(&session).await;
    let new = browser.cookie.unwrap();

    for values in [&[&*old][..], &[&old, "x"], &[&old, &old]] {
        let session = open(&library, values).await;
        assert!(session.is_superseded());
        assert_eq!((session.id(), session.user_id()), (None, None));
        session.insert("a", 1).unwrap();
        assert_eq!(session.finish().await.unwrap_err().kind(), ErrorKind::Superseded);
        assert_eq!(session.log_out().await.unwrap_err().kind(), ErrorKind::Superseded);
        assert_eq!(session.abandon(), CookieChange::Keep);
    }
    for values in [&[&*old, &*new][..], &[&new, &old]] {
        let session = open(&library, values).await;
        assert_eq!((session.id(), session.is_superseded()), (Some(id), false));
        session.insert("a", values.len()).unwrap();
        assert_eq!(session.finish().await.unwrap(), CookieChange::Keep);
    }
}
