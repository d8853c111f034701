//! Calls in flight when a session is revoked.

use std::{future::Future, pin::Pin, sync::Arc};

use serde_json::json;
use sessile::{ErrorKind, Result, Session, Sessions, minutes};

use crate::{
    support::{
        Browser, Db, cases,
        tap::{Gate, Verb},
    },
    tx::{Tx, until_waiting},
};

cases! {
    what_is_on_its_way_when_the_session_is_revoked_brings_nothing_back,
    what_was_written_before_the_revocation_goes_with_the_session,
    a_log_in_on_its_way_does_not_survive_log_out_others,
    a_log_in_on_its_way_does_not_survive_a_revocation_of_all,
    a_log_in_that_has_its_lock_does_not_survive_the_revocation_that_waits,
    a_log_in_of_one_user_does_not_wait_for_the_revocation_of_another,
}

type Act = for<'a> fn(&'a Session) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

const ACTS: [(Verb, Act); 5] = [
    (Verb::Save, |session| {
        Box::pin(async {
            session.insert("late", true)?;
            session.save().await
        })
    }),
    (Verb::Save, |session| Box::pin(session.update("late", |n: &mut u64| *n += 1))),
    (Verb::Renew, |session| Box::pin(session.renew())),
    (Verb::Reauthenticate, |session| Box::pin(session.reauthenticate())),
    (Verb::LogIn, |session| Box::pin(async { session.log_in("ada").await })),
];

/// A node whose first call of that verb is held, a request of ada's on it, and the request's action.
async fn held(db: &Db, gate: &Arc<Gate>, act: Act) -> (Browser, tokio::task::JoinHandle<Outcome>) {
    let (browser, _) = Browser::logged_in(&db.sessions().await, "ada").await;
    let node = db.tapped(gate).build().unwrap();
    let session = browser.open(&node).await;
    let mut its_browser = browser.clone();
    let task = tokio::spawn(async move {
        let result = act(&session).await;
        // As the layer does: the recorded changes may not be written any more.
        let finished = session.finish().await;
        if let Err(error) = &finished {
            assert_eq!(error.kind(), ErrorKind::SessionEnded);
        }
        its_browser.keep(finished.unwrap_or_else(|_| session.abandon()));
        (result, its_browser)
    });
    gate.reached().await;
    (browser, task)
}

type Outcome = (Result<()>, Browser);

async fn what_is_on_its_way_when_the_session_is_revoked_brings_nothing_back(db: Db) {
    let sessions = db.sessions().await;
    for (verb, act) in ACTS {
        for all in [false, true] {
            db.pass_for_cutoffs(minutes(1)).await;
            let gate = Gate::before(verb);
            let (old, task) = held(&db, &gate, act).await;
            let revocation = match all {
                true => sessions.revoke_all().await,
                false => sessions.revoke_user("ada").await,
            };
            assert_eq!(revocation.unwrap().ended, 1);
            gate.open();
            let (result, browser) = task.await.unwrap();

            let refused = match verb {
                Verb::LogIn => ErrorKind::LogInRefused,
                _ => ErrorKind::SessionEnded,
            };
            assert_eq!(result.unwrap_err().kind(), refused, "{verb:?}");
            assert!(!old.is_in(&sessions).await && !browser.is_in(&sessions).await, "{verb:?}");
            assert_eq!(db.rows().await, 0, "{verb:?}");
        }
    }
}

async fn what_was_written_before_the_revocation_goes_with_the_session(db: Db) {
    let sessions = db.sessions().await;
    for (verb, act) in ACTS {
        let gate = Gate::after(verb);
        let (old, task) = held(&db, &gate, act).await;
        // The database has answered, and the request does not know yet.
        assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 1, "{verb:?}");
        gate.open();
        let (result, browser) = task.await.unwrap();
        result.unwrap();
        assert!(!old.is_in(&sessions).await && !browser.is_in(&sessions).await, "{verb:?}");
        assert_eq!(db.rows().await, 0, "{verb:?}");
        db.pass_for_cutoffs(minutes(1)).await;
    }
}

async fn a_log_in_on_its_way_does_not_survive_log_out_others(db: Db) {
    let sessions = db.sessions().await;
    let (kept, _) = Browser::logged_in(&sessions, "ada").await;
    let gate = Gate::before(Verb::LogIn);
    let node = db.tapped(&gate).build().unwrap();
    let task = tokio::spawn(async move {
        let session = Browser::default().open(&node).await;
        session.log_in("ada").await
    });
    gate.reached().await;
    kept.open(&sessions).await.log_out_others().await.unwrap();
    gate.open();
    assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::LogInRefused);
    assert!(kept.is_in(&sessions).await);
    assert_eq!(db.rows().await, 1);
}

async fn a_log_in_on_its_way_does_not_survive_a_revocation_of_all(db: Db) {
    let sessions = db.sessions().await;
    let gate = Gate::before(Verb::LogIn);
    let node = db.tapped(&gate).build().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    let mut others = Vec::new();
    for n in 0..6 {
        others.push(Browser::default().open(&sessions).await);
        let node = node.clone();
        if n == 0 {
            tasks.spawn(async move {
                let session = Browser::default().open(&node).await;
                session.log_in("ada").await
            });
        }
    }
    gate.reached().await;
    sessions.revoke_all().await.unwrap();
    gate.open();
    for (n, session) in others.iter().enumerate() {
        let error = session.log_in(format!("user {n}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LogInRefused);
    }
    for result in tasks.join_all().await {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::LogInRefused);
    }
    assert_eq!(db.rows().await, 0);
}

/// The log-in is admitted and about to write. The revocation waits for it, and must then see its row. The
/// test holds the log-in by a lock on its row. (On SQLite by a lock on the whole database: either may come
/// first.)
async fn a_log_in_that_has_its_lock_does_not_survive_the_revocation_that_waits(db: Db) {
    let sessions = db.sessions().await;
    for all in [false, true] {
        let (browser, _) = Browser::with(&sessions, "cart", json!(1)).await;
        let mut lock = Tx::begin(&db).await;
        lock.run("select 1 from sessile.sessions for update", "select 1").await;

        let (node, mut its_browser) = (db.sessions().await, browser.clone());
        let log_in = tokio::spawn(async move {
            let session = its_browser.open(&node).await;
            let result = session.log_in("ada").await;
            its_browser.finish(&session).await;
            (result, its_browser)
        });
        until_waiting(&db, 1).await;
        let node = db.sessions().await;
        let revocation = tokio::spawn(async move { revoke(&node, all).await });
        until_waiting(&db, 2).await;
        lock.roll_back().await;

        let (result, its_browser) = log_in.await.unwrap();
        let ended = revocation.await.unwrap();
        if db.is_postgres() {
            result.unwrap();
            assert_eq!(ended, 1);
        }
        assert_eq!(sessions.count_of_user("ada").await.unwrap(), 0);
        assert_eq!(its_browser.open(&sessions).await.user_id(), None);
        sessions.revoke_all().await.unwrap();
        db.pass_for_cutoffs(minutes(1)).await;
    }
}

async fn revoke(sessions: &Sessions, all: bool) -> u64 {
    match all {
        true => sessions.revoke_all().await.unwrap().ended,
        false => sessions.revoke_user("ada").await.unwrap().ended,
    }
}

async fn a_log_in_of_one_user_does_not_wait_for_the_revocation_of_another(db: Db) {
    if !db.is_postgres() {
        // SQLite has one writer at a time, so the test can only check that both finish.
        let sessions = db.sessions().await;
        let revocation = sessions.revoke_user("bob");
        let (_, revoked) = tokio::join!(Browser::logged_in(&sessions, "ada"), revocation);
        revoked.unwrap();
        return;
    }
    let sessions = db.sessions().await;
    let mut open = Tx::begin(&db).await;
    open.revoke_user("bob").await.unwrap();
    Browser::logged_in(&sessions, "ada").await;
    open.commit().await;
    assert_eq!(sessions.count_of_user("ada").await.unwrap(), 1);
}
