//! A silent server: its packets are dropped.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use sessile::{ErrorKind, Session, Sessions};
use tokio::task::JoinSet;

use crate::{
    patience::{DEADLINE, LOG_IN_DEADLINE, SLACK, soon, within},
    proxy::Proxy,
    support::{Browser, Db, cases},
};

cases! {
    @postgres [
        every_call_is_answered_in_time_and_its_connection_closed
        many_at_once_are_answered_in_time
        touches_wait_for_nobody
    ]
}

const AT_ONCE: Duration = Duration::from_millis(1_400);

async fn over(proxy: &Proxy) -> Sessions {
    Sessions::builder(sessile::connect(&proxy.url).await.unwrap()).build().unwrap()
}

/// An open session of a separate user.
async fn of_user(sessions: &Sessions, name: &str) -> (Browser, Session) {
    let (browser, _) = Browser::logged_in(sessions, name).await;
    let session = browser.open(sessions).await;
    (browser, session)
}

async fn every_call_is_answered_in_time_and_its_connection_closed(db: Db) {
    let proxy = Proxy::before(&db).await;
    let sessions = over(&proxy).await;
    let (browser, session) = of_user(&sessions, "ada").await;
    let (browser, id) = (Arc::new(browser), session.id().unwrap());
    let page = |name: &'static str| {
        let sessions = sessions.clone();
        async move { of_user(&sessions, name).await.1 }
    };
    let (a, b, c, d, e) =
        (page("a").await, page("b").await, page("c").await, page("d").await, page("e").await);
    let (f, g, h) = (page("f").await, page("g").await, page("h").await);
    let nobody = Browser::default().open(&sessions).await;
    let stranger = Browser::default().open(&sessions).await;
    let begins = Browser::default().open(&sessions).await;

    proxy.is_silent(true);
    type Answers = JoinSet<(&'static str, bool, sessile::Result<()>)>;
    let mut answers = Answers::new();
    let writes = true;
    macro_rules! ask {
        ($name:literal, $writes:expr, $limit:expr, $call:expr) => {
            answers.spawn(async move {
                ($name, $writes, within($limit + SLACK, $call).await.map(|_| ()))
            })
        };
    }
    // In two waves, because a third wave would only wait for a connection.
    let (one, of) = (sessions.clone(), browser.clone());
    ask!("open", !writes, DEADLINE, of.try_open(&one));
    let one = sessions.clone();
    ask!("find", !writes, DEADLINE, one.find(id));
    let one = sessions.clone();
    ask!("list", !writes, DEADLINE, one.of_user("ada"));
    ask!("devices", !writes, DEADLINE, a.devices());
    ask!("update", writes, DEADLINE, b.update("n", |n: &mut i64| *n += 1));
    ask!("renew", writes, DEADLINE, c.renew());
    ask!("reauthenticate", writes, DEADLINE, d.reauthenticate());
    ask!("log out", writes, DEADLINE, e.log_out());
    first_ones(&mut answers, &proxy).await;

    ask!("log in", writes, LOG_IN_DEADLINE, f.log_in("f"));
    ask!("log out everywhere", writes, LOG_IN_DEADLINE, g.log_out_everywhere());
    ask!("log out others", writes, LOG_IN_DEADLINE, h.log_out_others());
    ask!("log in of nobody", writes, LOG_IN_DEADLINE, nobody.log_in("new"));
    ask!("create", writes, DEADLINE, stranger.update("n", |n: &mut i64| *n += 1));
    ask!("begin", writes, DEADLINE, begins.begin_log_in());
    let one = sessions.clone();
    ask!("revoke", writes, DEADLINE, async move { one.revoke(id).await });
    first_ones(&mut answers, &proxy).await;

    proxy.is_silent(false);
    within(AT_ONCE, async {
        assert!(browser.is_in(&sessions).await || sessions.find(id).await.unwrap().is_none());
    })
    .await;
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "new"] {
        within(AT_ONCE, async {
            // This includes users whose log-in may have happened.
            let (_, session) = of_user(&sessions, name).await;
            session.update("n", |n: &mut i64| *n += 1).await.unwrap();
        })
        .await;
    }

    async fn first_ones(answers: &mut Answers, proxy: &Proxy) {
        while let Some(answer) = answers.join_next().await {
            let (name, writes, answer) = answer.unwrap();
            let error = answer.unwrap_err();
            match writes {
                true if error.kind() == ErrorKind::OutcomeUnknown => assert!(!error.is_transient()),
                // The call waited for a connection until its time was over, and has sent nothing.
                _ => assert!(
                    error.is_transient() && error.kind() == ErrorKind::Database,
                    "{name}: {error:?}"
                ),
            }
        }
        // Every connection that was used is closed; there are no others.
        soon(AT_ONCE, async || proxy.open() == 0).await;
    }
}

async fn many_at_once_are_answered_in_time(db: Db) {
    let proxy = Proxy::before(&db).await;
    let sessions = over(&proxy).await;
    let (browser, _) = of_user(&sessions, "ada").await;
    let mut open = Vec::new();
    for _ in 0..40 {
        let (guest, _) = Browser::with(&sessions, "n", json!(0)).await;
        open.push(guest.open(&sessions).await);
    }
    proxy.is_silent(true);
    let mut answers = JoinSet::new();
    for session in &open {
        let (sessions, browser, session) = (sessions.clone(), browser.clone(), session.clone());
        answers.spawn(async move {
            let read = within(DEADLINE + SLACK, browser.try_open(&sessions)).await.unwrap_err();
            assert!(read.is_transient(), "{read:?}");
        });
        answers.spawn(async move {
            let write = session.update("n", |n: &mut i64| *n += 1);
            let error = within(DEADLINE + SLACK, write).await.unwrap_err();
            assert!(error.is_transient() || error.kind() == ErrorKind::OutcomeUnknown, "{error:?}");
        });
    }
    while let Some(answer) = answers.join_next().await {
        answer.unwrap();
    }
    proxy.is_silent(false);
    for session in &open {
        within(AT_ONCE, session.update("n", |n: &mut i64| *n += 1)).await.unwrap();
    }
    // Each update happened once or twice: a statement may have arrived late, but was not sent again.
    let twice = "select count(*) from sessile.sessions where user_id is null and (revision > 2 or (data ->> 'n')::int > 2)";
    assert_eq!(db.number(twice, "").await, 0);
}

async fn touches_wait_for_nobody(db: Db) {
    let proxy = Proxy::before(&db).await;
    let sessions = over(&proxy).await;
    let (mut browser, session) = of_user(&sessions, "ada").await;
    drop(session);
    db.pass(sessile::minutes(20)).await;
    let session = browser.open(&sessions).await;
    proxy.is_silent(true);
    within(AT_ONCE, browser.finish(&session)).await;
    within(DEADLINE + SLACK, sessions.flush()).await.unwrap_err();
    proxy.is_silent(false);
    let session = browser.open(&sessions).await;
    browser.finish(&session).await;
    within(AT_ONCE, sessions.flush()).await.unwrap();
    let seen =
        "select count(*) from sessile.sessions where last_seen_at > now() - interval '1 minute'";
    assert_eq!(db.number(seen, "").await, 1);
}
