//! A user loses a privilege while nodes keep copies of the session.

use std::{future::Future, time::Duration};

use sessile::{hours, store::CacheOptions};

use crate::{
    site::{Library, Site, Visitor, routes},
    support::{Db, cases},
};

cases! {
    a_privilege_that_this_node_takes_away_is_gone_at_once,
    a_privilege_that_another_node_takes_away_is_gone_with_the_copy,
}

async fn node(db: &Db, bound: Duration) -> Site {
    Library::with(db, |builder| builder.cache(CacheOptions::default().bound(bound)))
        .serve(routes())
        .await
}

/// A user with the role, whose session is in the node's memory, if it keeps copies.
async fn admin(site: &Site) -> Visitor {
    let mut grace = site.user("grace").await;
    grace.get("/put/role/admin").await;
    for _ in 0..3 {
        assert_eq!(grace.get("/get/role").await.body, "admin");
    }
    grace
}

/// The ways to take it away: each makes the role something else for this visitor's cookie.
async fn take_away(by: &Site, grace: &mut Visitor, how: &str) {
    let sessions = &by.sessions;
    match how {
        "the role is changed" => {
            let to_reader = |role: &mut String| "reader".clone_into(role);
            sessions.update_of_user("grace", "role", to_reader).await.unwrap();
        }
        "the user is revoked" => drop(sessions.revoke_user("grace").await.unwrap()),
        "all are revoked" => drop(sessions.revoke_all().await.unwrap()),
        "the user is forgotten" => drop(sessions.forget_user("grace").await.unwrap()),
        "she logs out" => drop(grace.clone().at(by).get("/log-out").await),
        "she logs in as somebody else" => drop(grace.clone().at(by).get("/log-in/alan").await),
        _ => unreachable!("{how}"),
    }
}

const WAYS: [&str; 6] = [
    "the role is changed",
    "the user is revoked",
    "all are revoked",
    "the user is forgotten",
    "she logs out",
    "she logs in as somebody else",
];

/// Although the bound is an hour here.
async fn a_privilege_that_this_node_takes_away_is_gone_at_once(db: Db) {
    let site = node(&db, hours(1)).await;
    for how in WAYS {
        let mut grace = admin(&site).await;
        let stale = grace.clone();
        take_away(&site, &mut grace, how).await;
        assert_ne!(stale.clone().get("/get/role").await.body, "admin", "{how}");
        // Nor does a write with the old cookie bring it back.
        stale.clone().get("/put/a/1").await;
        assert_ne!(stale.clone().get("/get/role").await.body, "admin", "{how}");
    }
}

/// With the default bound of a second. How soon is tested with the cache, in `it: cache::elsewhere`.
async fn a_privilege_that_another_node_takes_away_is_gone_with_the_copy(db: Db) {
    let bound = CacheOptions::default();
    let here = Library::with(&db, |builder| builder.cache(bound)).serve(routes()).await;
    let there = node(&db, hours(1)).await;
    for how in WAYS {
        let mut grace = admin(&here).await;
        let stale = grace.clone();
        take_away(&there, &mut grace, how).await;
        eventually(how, async || stale.clone().get("/get/role").await.body != "admin").await;
        assert_ne!(stale.clone().get("/get/role").await.body, "admin", "{how}");
    }
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let wait = async { while !holds().await {} };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{what}"));
}
