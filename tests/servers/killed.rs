//! All backends are killed between two requests.

use sessile::{Sessions, store::Backend};
use sqlx::PgPool;

use crate::{server::Server, support::Browser, visitors::at_once};

/// Opens most of ten connections: this many log-ins wait for a lock at once.
async fn open_most(server: &Server, sessions: &Sessions) {
    let mut tx = server.admin.begin().await.unwrap();
    let lock = "lock table sessile.session_cutoffs in exclusive mode";
    sqlx::raw_sql(lock).execute(&mut *tx).await.unwrap();
    let log_ins = tokio::spawn({
        let sessions = sessions.clone();
        at_once(10, move |i| {
            let sessions = sessions.clone();
            async move { Browser::logged_in(&sessions, &format!("user {i}")).await }
        })
    });
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    server.wait_for(waiting, 6).await;
    tx.rollback().await.unwrap();
    log_ins.await.unwrap();
}

async fn nobody_fails(server: &Server, sessions: &Sessions) {
    let kill = async || {
        open_most(server, sessions).await;
        // More than the number of tries of a request.
        assert!(server.kill_all().await > 3);
    };
    for round in 0..2 {
        kill().await;
        for i in 0..10 {
            let session = Browser::default().open(sessions).await;
            let result = session.log_in(format!("user {i}")).await;
            assert!(result.is_ok(), "log-in {i} of round {round}: {result:?}");
        }
        kill().await;
        for i in 0..10 {
            let session = Browser::default().open(sessions).await;
            session.insert("a", i).unwrap();
            let result = session.finish().await;
            assert!(result.is_ok(), "create {i} of round {round}: {result:?}");
        }
        let (browser, _) = Browser::logged_in(sessions, "ada").await;
        let session = browser.open(sessions).await;
        kill().await;
        for i in 0..10 {
            session.insert("a", i).unwrap();
            let result = session.save().await;
            assert!(result.is_ok(), "save {i} of round {round}: {result:?}");
        }
        kill().await;
        assert!(browser.is_in(sessions).await);
        kill().await;
        let revoked = sessions.revoke_user("ada").await;
        assert!(revoked.is_ok(), "round {round}: {revoked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_on_the_library_s_connections_fails() {
    let server = Server::start("").await;
    let backend = sessile::connect(&server.url).await.unwrap();
    nobody_fails(&server, &Sessions::builder(backend).build().unwrap()).await;
}

/// With sqlx's defaults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_on_an_application_s_pool_fails() {
    let server = Server::start("").await;
    let backend: Backend = PgPool::connect(&server.url).await.unwrap().into();
    nobody_fails(&server, &Sessions::builder(backend).build().unwrap()).await;
}

/// Both pools close the connections that they have opened: the backends die one by one, while requests
/// continue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_reads_goes_on_while_backends_die() {
    let server = Server::start("").await;
    let own = sessile::connect(&server.url).await.unwrap();
    let shared: Backend = PgPool::connect(&server.url).await.unwrap().into();
    for backend in [own, shared] {
        let sessions = Sessions::builder(backend).build().unwrap();
        let (browser, _) = Browser::logged_in(&sessions, "ada").await;
        let requests = tokio::spawn({
            let sessions = sessions.clone();
            async move {
                at_once(16, |_| {
                    let (browser, sessions) = (browser.clone(), sessions.clone());
                    async move {
                        for _ in 0..100 {
                            assert!(browser.is_in(&sessions).await);
                        }
                    }
                })
                .await
            }
        });
        let one = "select count(pg_terminate_backend(pid)) from (
            select pid from pg_stat_activity
            where backend_type = 'client backend' and application_name <> 'test'
            order by random() limit 1) as one";
        while !requests.is_finished() {
            server.number(one).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        requests.await.unwrap();
    }
}
