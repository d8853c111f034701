//! The log of events, and that of cleanup runs.

mod cleanup;
mod ends;
mod inbox;
mod log_ins;
mod superseded;

use sessile::{Client, Sessions};

use crate::support::{Browser, Db};

/// All events in the order in which they were written, without their moments: event, realm, whether there is a session,
/// user, address, user agent, reason, actor. A dash stands for null.
async fn events(db: &Db) -> Vec<String> {
    db.texts(
        "select concat_ws(' | ', event, realm, case when session_id is null then '-' else 'session' end, coalesce(user_id, '-'),
            coalesce(host(ip), '-'), coalesce(user_agent, '-'), coalesce(reason, '-'), coalesce(actor, '-'))
         from sessile.session_events order by at, event, user_id nulls first",
        "select event || ' | ' || realm || ' | ' || iif(session_id is null, '-', 'session') || ' | ' || coalesce(user_id, '-')
            || ' | ' || coalesce(ip, '-') || ' | ' || coalesce(user_agent, '-') || ' | ' || coalesce(reason, '-') || ' | ' || coalesce(actor, '-')
         from session_events order by at, event, user_id",
    )
    .await
}

/// The events since the last call.
async fn new_events(db: &Db) -> Vec<String> {
    let events = events(db).await;
    db.delete_events().await;
    events
}

/// The names of the sessions in the log, in order.
async fn sessions_of(db: &Db, event: &str) -> Vec<String> {
    db.texts(
        &format!(
            "select session_id::text from sessile.session_events where event = '{event}' order by 1"
        ),
        &format!("select session_id from session_events where event = '{event}' order by 1"),
    )
    .await
}

fn lynx() -> Client {
    Client::new().ip(Some([192, 0, 2, 7].into())).user_agent("Lynx")
}

/// Logs a user in from a known client.
async fn log_in(browser: &mut Browser, sessions: &Sessions, user_id: &str) {
    let cookie = browser.cookie.clone();
    let session = sessions.open(cookie.as_deref().map(str::as_bytes), lynx()).await.unwrap();
    session.log_in(user_id).await.unwrap();
    browser.finish(&session).await;
}
