//! A missing synchronous standby: commits wait for it.

use std::time::{Duration, Instant};

use serde_json::json;
use sessile::{ErrorKind, Sessions, connect};

use crate::{
    server::Server,
    support::Browser,
    visitors::{at_once, visit, whole},
};

const DEADLINE: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_and_writes_fail_in_time() {
    let server = Server::alone("").await;
    let builder = Sessions::builder(connect(&server.url).await.unwrap());
    let sessions = builder.deadline(DEADLINE).log_in_deadline(DEADLINE).build().unwrap();
    let (ada, id) = Browser::logged_in(&sessions, "ada").await;
    let (cart, _) = Browser::with(&sessions, "items", json!(0)).await;
    // A touch is then due with every request, and these wait too.
    server.pass("5 minutes", "true").await;
    server.alter("set synchronous_standby_names = 'nobody'").await;

    let writers = tokio::spawn({
        let (sessions, cart) = (sessions.clone(), cart.clone());
        async move {
            at_once(32, |i| {
                let (sessions, cart) = (sessions.clone(), cart.clone());
                async move {
                    let begun = Instant::now();
                    let error = match i % 4 {
                        0 => {
                            let session = Browser::default().open(&sessions).await;
                            session.log_in(format!("user {i}")).await.unwrap_err()
                        }
                        1 => {
                            let session = Browser::default().open(&sessions).await;
                            session.insert("a", i).unwrap();
                            session.save().await.unwrap_err()
                        }
                        2 => {
                            let session = cart.open(&sessions).await;
                            session.insert(&format!("item {i}"), i).unwrap();
                            session.save().await.unwrap_err()
                        }
                        _ => sessions.revoke_user(format!("user {i}")).await.unwrap_err(),
                    };
                    (i, error, begun.elapsed())
                }
            })
            .await
        }
    });
    let mut loads = Vec::new();
    while !writers.is_finished() {
        let begun = Instant::now();
        let session = ada.open(&sessions).await;
        assert_eq!(session.user_id().as_deref(), Some("ada"));
        session.finish().await.unwrap();
        assert_eq!(sessions.of_user("ada").await.unwrap().len(), 1);
        assert!(sessions.find(id).await.unwrap().is_some());
        loads.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    loads.sort_unstable();
    assert!(loads.len() >= 5, "{loads:?}");
    assert!(loads[loads.len() / 2] < Duration::from_millis(100), "{loads:?}");
    let mut unknown = 0;
    for (i, error, elapsed) in writers.await.unwrap() {
        // A request that never got a connection, or a turn, has certainly done nothing.
        assert!(
            error.is_transient() || error.kind() == ErrorKind::OutcomeUnknown,
            "{i}: {}",
            whole(&error)
        );
        assert!(elapsed < DEADLINE * 2, "{i}: {elapsed:?}");
        unknown += i32::from(error.kind() == ErrorKind::OutcomeUnknown);
    }
    assert!(unknown >= 8, "{unknown}");

    server.alter("reset synchronous_standby_names").await;
    let begun = Instant::now();
    visit(&sessions, "grace").await.unwrap();
    let session = cart.open(&sessions).await;
    session.update("items", |items: &mut i64| *items += 1).await.unwrap();
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    assert!(ada.is_in(&sessions).await);
}
