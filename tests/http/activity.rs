//! Which requests keep a session alive.

use axum::routing::get;
use sessile::{Session, minutes};

use crate::{
    site::{Library, routes},
    support::{Db, cases},
};

cases! {
    a_poll_does_not_keep_a_session_alive,
    a_handler_may_know_better,
}

/// Whether the session lives two idle timeouts long where a request of this path comes at half of each.
async fn lives_on(db: &Db, path: &str) -> bool {
    let library = Library::with(db, |builder| builder.idle_timeout(minutes(40)));
    let layer = library.layer().activity(|request| {
        let is_prefetch = request.headers.contains_key("sec-purpose");
        !is_prefetch && !request.uri.path().starts_with("/poll")
    });
    let seen = async |session: Session| {
        session.set_activity(true);
        "seen"
    };
    let routes =
        routes().route("/poll", get(async |_: Session| "polled")).route("/poll/seen", get(seen));
    let site = library.serve_as_is(routes.layer(layer)).await;
    let user = site.user("ada").await;
    let mut lines = user.lines();
    for _ in 0..4 {
        db.pass(minutes(20)).await;
        if path == "prefetch" {
            lines.push(b"Sec-Purpose: prefetch".to_vec());
            site.get("/", &lines).await;
            lines.pop();
        } else {
            site.get(path, &lines).await;
        }
        site.sessions.flush().await.unwrap();
    }
    site.get("/", &lines).await.body == "ada"
}

async fn a_poll_does_not_keep_a_session_alive(db: Db) {
    assert!(!lives_on(&db, "/poll").await);
    assert!(!lives_on(&db, "prefetch").await);
    assert!(lives_on(&db, "/").await);
}

async fn a_handler_may_know_better(db: Db) {
    assert!(lives_on(&db, "/poll/seen").await);
}
