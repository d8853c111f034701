//! The log that the database's server keeps: an operator may turn on all of it.

use serde_json::json;
use sessile::{Client, Sessions};
use sqlx::query_scalar;

use crate::{leak::Leak, server::Server, support::Browser};

/// Every statement with all its parameters, twice: before it runs, and with the time that it took.
const ALL: &str = "-c log_statement=all -c log_min_duration_statement=0 -c log_duration=on \
    -c log_parameter_max_length=-1 -c log_parameter_max_length_on_error=-1 -c log_min_messages=debug1 \
    -c log_error_verbosity=verbose";

#[tokio::test]
async fn the_servers_own_log_has_hashes_and_no_secret() {
    let server = Server::start(ALL).await;
    let backend = sessile::connect(&server.url).await.unwrap();
    let sessions = Sessions::builder(backend).build().unwrap();
    let mut browsers = Vec::new();
    let (mut ada, id) = Browser::with(&sessions, "cart", json!("tea")).await;
    browsers.push(ada.clone());
    for step in 0..4 {
        let session = ada.open(&sessions).await;
        match step {
            0 => session.log_in("ada").remember_me(true).await.unwrap(),
            1 => session.renew().await.unwrap(),
            2 => session.reauthenticate().await.unwrap(),
            _ => session
                .update("cart", |cart: &mut String| cart.push_str(" and milk"))
                .await
                .unwrap(),
        }
        ada.finish(&session).await;
        browsers.push(ada.clone());
    }
    let (bob, _) = Browser::logged_in(&sessions, "bob").await;
    browsers.push(bob.clone());
    // Old cookies, and one that is malformed.
    for browser in &browsers {
        browser.open(&sessions).await.finish().await.unwrap();
    }
    let malformed = format!("{}=", bob.cookie.as_deref().unwrap());
    sessions.open(Some(malformed.as_bytes()), Client::new()).await.unwrap();
    // A statement that fails is logged with its parameters too.
    server.run_all(&["alter table sessile.sessions add check (user_id <> 'eve')"]).await;
    let session = bob.open(&sessions).await;
    assert!(session.log_in("eve").await.is_err());
    let (eve, _) = Browser::logged_in(&sessions, "mallory").await;
    eve.open(&sessions).await.log_out().await.unwrap();
    browsers.push(eve);
    sessions.revoke_all().await.unwrap();

    let read = "select pg_read_binary_file(current_setting('data_directory') || '/../server.log')";
    let log: Vec<u8> = query_scalar(read).fetch_one(&server.admin).await.unwrap();
    // This is the whole log: it has the statements, the parameters, the data and the hashes.
    let text = String::from_utf8_lossy(&log);
    for part in ["insert into sessile.sessions", "parameters: $1 =", "and milk", "eve"] {
        assert!(text.contains(part), "{part}");
    }
    assert!(text.contains(&id.to_string()));
    for browser in &browsers {
        let leak = Leak::of(browser);
        assert!(leak.hash_is_in(&log));
        assert!(!leak.is_in(&log), "the log has the secret of {:?}", browser.cookie);
    }
}
