//! The cached store: when it answers from memory, and how it learns of changes.

mod elsewhere;
mod here;

use std::{sync::Arc, time::Duration};

use serde_json::json;
use sessile::{SessionId, Sessions, SessionsBuilder, hours, seconds, store::CacheOptions};
use tokio::time::{Instant, sleep};

use crate::support::{Browser, Db, tap::Spy};

/// Long enough that the bound ends no copy in these tests.
pub(crate) const NEVER: Duration = hours(1);

fn cached(builder: SessionsBuilder, bound: Duration) -> Sessions {
    builder.cache(CacheOptions::default().bound(bound)).build().unwrap()
}

/// A node with a cache that listens, and the spy beneath it.
pub(crate) async fn node(db: &Db, bound: Duration) -> (Sessions, Arc<Spy>) {
    let spy = Spy::new();
    let sessions = cached(db.tapped(&spy), bound);
    listen(&sessions, &spy).await;
    (sessions, spy)
}

/// Waits until loads are answered from memory.
async fn listen(sessions: &Sessions, spy: &Spy) {
    let (browser, id) = Browser::with(sessions, "probe", json!(1)).await;
    eventually(async || {
        browser.open(sessions).await;
        spy.calls();
        browser.open(sessions).await;
        spy.calls().is_empty()
    })
    .await;
    sessions.revoke(id).await.unwrap();
    spy.calls();
}

pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + seconds(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "it did not come true in 10 seconds");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A browser whose session is in memory.
pub(crate) async fn warm(sessions: &Sessions, user_id: &str) -> (Browser, SessionId) {
    let (browser, id) = Browser::logged_in(sessions, user_id).await;
    assert!(browser.is_in(sessions).await);
    (browser, id)
}
