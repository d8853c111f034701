//! The data of somebody else's session, for jobs and admin pages.

use serde_json::{Value, json};
use sessile::{ErrorKind, SessionId, minutes};

use crate::support::{
    Browser, Db, cases,
    tap::{Gate, Verb},
};

cases! {
    a_job_reads_and_writes_a_session_by_its_id,
    no_other_realm_and_no_ended_session_is_found,
    a_job_does_not_prolong_the_session,
    a_job_goes_on_where_the_session_gets_a_new_secret,
    a_job_brings_no_ended_session_back,
    a_job_does_not_write_to_the_next_users_session,
    a_write_that_failed_leaves_nothing_for_the_next_one,
    a_role_is_granted_in_all_sessions_of_a_user,
    sessions_that_begin_and_end_meanwhile,
    jobs_and_requests_lose_nothing_to_each_other,
}

fn id_of_nobody() -> SessionId {
    uuid::Uuid::now_v7().into()
}

/// The data as the browser's next request finds it.
async fn seen(db: &Db, browser: &Browser) -> Value {
    browser.open(&db.sessions().await).await.data().unwrap()
}

async fn a_job_reads_and_writes_a_session_by_its_id(db: Db) {
    let sessions = db.sessions().await;
    let (browser, id) = Browser::with(&sessions, "cart", json!(["tea"])).await;
    let mut data = sessions.data(id).await.unwrap().unwrap();
    assert_eq!((data.id(), data.user_id()), (id, None));
    assert_eq!(data.get::<Vec<String>>("cart").unwrap().unwrap(), ["tea"]);
    assert_eq!(data.get::<u32>("cart").unwrap_err().kind(), ErrorKind::WrongType);
    assert!(data.contains("cart") && !data.contains("notice"));

    data.set("notice", "sent").await.unwrap();
    let length = data.update("cart", |cart: &mut Vec<String>| {
        cart.push("milk".to_owned());
        cart.len()
    });
    assert_eq!(length.await.unwrap(), 2);
    assert_eq!(data.keys(), ["cart", "notice"]);
    assert_eq!(seen(&db, &browser).await, json!({"cart": ["tea", "milk"], "notice": "sent"}));

    assert!(data.remove("cart").await.unwrap());
    assert!(!data.remove("cart").await.unwrap());
    assert_eq!(data.data::<Value>().unwrap(), json!({"notice": "sent"}));
    assert_eq!(seen(&db, &browser).await, json!({"notice": "sent"}));
}

async fn no_other_realm_and_no_ended_session_is_found(db: Db) {
    let sessions = db.sessions().await;
    let office = db.builder().await.realm("office").build().unwrap();
    let (browser, id) = Browser::with(&sessions, "a", json!(1)).await;
    assert!(office.data(id).await.unwrap().is_none());
    assert!(sessions.data(id_of_nobody()).await.unwrap().is_none());
    browser.open(&sessions).await.log_out().await.unwrap();
    assert!(sessions.data(id).await.unwrap().is_none());
}

async fn a_job_does_not_prolong_the_session(db: Db) {
    let sessions = db.builder().await.idle_timeout(minutes(30)).build().unwrap();
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    db.pass(minutes(20)).await;
    let before = sessions.find(id).await.unwrap();
    sessions.data(id).await.unwrap().unwrap().set("a", 1).await.unwrap();
    assert_eq!(sessions.update_of_user("ada", "b", |b: &mut u32| *b = 2).await.unwrap(), 1);
    sessions.flush().await.unwrap();
    assert_eq!(sessions.find(id).await.unwrap(), before);
    assert_eq!(seen(&db, &browser).await, json!({"a": 1, "b": 2}));
}

async fn a_job_goes_on_where_the_session_gets_a_new_secret(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let mut data = sessions.data(id).await.unwrap().unwrap();
    for round in 0..3 {
        let session = browser.open(&sessions).await;
        session.insert(&format!("request {round}"), round).unwrap();
        session.renew().await.unwrap();
        browser.finish(&session).await;
        match round {
            0 => data.set("job", 1).await.unwrap(),
            1 => data.update("job", |job: &mut u32| *job += 1).await.unwrap(),
            _ => assert!(data.remove("job").await.unwrap()),
        }
    }
    assert_eq!(seen(&db, &browser).await, json!({"request 0": 0, "request 1": 1, "request 2": 2}));
}

async fn a_job_brings_no_ended_session_back(db: Db) {
    let sessions = db.sessions().await;
    let (_, id) = Browser::logged_in(&sessions, "ada").await;
    let mut data = sessions.data(id).await.unwrap().unwrap();
    sessions.revoke(id).await.unwrap();
    assert_eq!(data.set("a", 1).await.unwrap_err().kind(), ErrorKind::SessionEnded);
    let update = data.update("a", |a: &mut u32| *a += 1).await;
    assert_eq!(update.unwrap_err().kind(), ErrorKind::SessionEnded);
    assert_eq!(db.rows().await, 0);
}

async fn a_job_does_not_write_to_the_next_users_session(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let mut data = sessions.data(id).await.unwrap().unwrap();
    let session = browser.open(&sessions).await;
    session.log_in("bob").await.unwrap();
    browser.finish(&session).await;
    assert_eq!(session.id(), Some(id), "it is the same row");
    assert_eq!(data.set("role", "admin").await.unwrap_err().kind(), ErrorKind::SessionEnded);
    assert_eq!(seen(&db, &browser).await, json!({}));
}

async fn a_write_that_failed_leaves_nothing_for_the_next_one(db: Db) {
    let sessions = db.builder().await.data_limit(47).build().unwrap();
    let (browser, id) = Browser::with(&sessions, "a", json!("x".repeat(20))).await;
    let mut data = sessions.data(id).await.unwrap().unwrap();
    assert_eq!(data.set("b", "y".repeat(20)).await.unwrap_err().kind(), ErrorKind::InvalidData);
    // Recorded while it fits, and refused at the write, since a request was faster.
    let session = browser.open(&sessions).await;
    session.insert("c", "z".repeat(5)).unwrap();
    session.finish().await.unwrap();
    assert_eq!(data.set("b", 123_456_789).await.unwrap_err().kind(), ErrorKind::InvalidData);
    assert!(!data.contains("b"));
    data.set("d", 1).await.unwrap();
    assert_eq!(data.keys(), ["a", "c", "d"]);
}

async fn a_role_is_granted_in_all_sessions_of_a_user(db: Db) {
    let sessions = db.sessions().await;
    let office = db.builder().await.realm("office").build().unwrap();
    let mut browsers = Vec::new();
    for _ in 0..3 {
        browsers.push(Browser::logged_in(&sessions, "7").await.0);
    }
    let others = [
        Browser::logged_in(&sessions, "8").await.0,
        Browser::with(&sessions, "a", json!(1)).await.0,
        Browser::logged_in(&office, "7").await.0,
    ];
    let grant = |roles: &mut Vec<String>| roles.push("editor".to_owned());
    assert_eq!(sessions.update_of_user(7, "roles", grant).await.unwrap(), 3);
    for browser in &browsers {
        assert_eq!(seen(&db, browser).await, json!({"roles": ["editor"]}));
    }
    for other in &others[..2] {
        assert_eq!(seen(&db, other).await.get("roles"), None);
    }
    assert!(!others[2].open(&office).await.contains("roles"));
    assert_eq!(sessions.update_of_user("nobody", "roles", grant).await.unwrap(), 0);

    // One that cannot be changed keeps none of the others from it.
    let session = browsers[1].open(&sessions).await;
    session.insert("roles", "all").unwrap();
    session.finish().await.unwrap();
    let error = sessions.update_of_user(7, "roles", grant).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
    for browser in [&browsers[0], &browsers[2]] {
        assert_eq!(seen(&db, browser).await, json!({"roles": ["editor", "editor"]}));
    }
}

async fn sessions_that_begin_and_end_meanwhile(db: Db) {
    let sessions = db.sessions().await;
    let mut browsers = Vec::new();
    for _ in 0..3 {
        browsers.push(Browser::logged_in(&sessions, "ada").await);
    }
    let gate = Gate::before(Verb::Save);
    let job = db.tapped(&gate).build().unwrap();
    let job = tokio::spawn(async move {
        job.update_of_user("ada", "seen", |seen: &mut u32| *seen += 1).await.unwrap()
    });
    gate.reached().await;
    // The job has read them all, and has written none.
    sessions.revoke(browsers.pop().unwrap().1).await.unwrap();
    sessions.revoke(browsers.remove(0).1).await.unwrap();
    browsers.push(Browser::logged_in(&sessions, "ada").await);
    gate.open();
    assert_eq!(job.await.unwrap(), 2);
    for (browser, _) in &browsers {
        assert_eq!(seen(&db, browser).await, json!({"seen": 1}));
    }
    assert_eq!(db.rows().await, 2);
}

async fn jobs_and_requests_lose_nothing_to_each_other(db: Db) {
    const ROUNDS: u64 = 25;
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let requests = async {
        for round in 0..ROUNDS {
            let session = browser.open(&sessions).await;
            session.update("shared", |n: &mut u64| *n += 1).await.unwrap();
            session.insert("request", round).unwrap();
            if round % 3 == 0 {
                session.renew().await.unwrap();
            }
            browser.finish(&session).await;
        }
    };
    let node = db.sessions().await;
    let by_id = async {
        for _ in 0..ROUNDS {
            let mut data = node.data(id).await.unwrap().unwrap();
            data.update("shared", |n: &mut u64| *n += 1).await.unwrap();
        }
    };
    let by_user = async {
        for round in 0..ROUNDS {
            let changed = node.update_of_user("ada", "shared", |n: &mut u64| *n += 1);
            assert_eq!(changed.await.unwrap(), 1, "round {round}");
        }
    };
    tokio::join!(requests, by_id, by_user);
    assert_eq!(seen(&db, &browser).await, json!({"shared": 3 * ROUNDS, "request": ROUNDS - 1}));
}
