//! An attacker plants a cookie in a visitor's browser, waits for the log-in, and comes with the same cookie.

use sessile::hours;

use super::{bytes, made_up, with};
use crate::{
    site::{SetCookie, Site, Visitor, routes},
    support::{Db, cases},
};

cases! {
    a_planted_random_cookie_does_not_become_the_users,
    a_planted_anonymous_session_does_not_become_the_users,
    a_planted_expired_session_does_not_become_the_users,
    a_planted_session_of_another_user_does_not_become_the_users,
}

/// A browser with the attacker's cookie.
fn visitor_with(site: &Site, planted: &str) -> Visitor {
    let mut visitor = site.visitor();
    visitor.keep(&SetCookie::read(&format!("__Host-id={planted}; Path=/; Secure")));
    visitor
}

/// The visitor logs in. Then nothing that the attacker knows is of use.
async fn log_in_gains_nothing(db: &Db, site: &Site, planted: &str, attacker: &str) {
    let mut victim = visitor_with(site, planted);
    assert_eq!(victim.get("/log-in/ada").await.status, 200);
    assert_eq!(
        (victim.get("/").await.body.as_str(), victim.get("/put/pin/1").await.status),
        ("ada", 200)
    );
    let (old, new) = (bytes(planted), bytes(victim.token()));
    assert_ne!(old[16..], new[16..], "the secret is new");
    // At once, when the attacker's secret has just been replaced, and later.
    for _ in 0..2 {
        for (path, is_write) in
            [("/", false), ("/get/pin", false), ("/untouched", false), ("/put/pin/2", true)]
        {
            let response = with(site, path, planted).await;
            assert!(
                !response.body.contains("ada") && response.body != "1",
                "{path}: {}",
                response.body
            );
            if is_write && response.status == 200 {
                assert_ne!(bytes(&response.set_cookie().value)[..16], new[..16], "{path}");
            }
        }
        let who = with(site, "/", planted).await;
        assert_eq!((who.body.as_str(), who.sets_no_cookie()), (attacker, true));
        db.pass(sessile::minutes(2)).await;
    }
    with(site, "/log-out", planted).await;
    assert_eq!(victim.get("/").await.body, "ada");
    assert_eq!(victim.get("/get/pin").await.body, "1");
}

async fn a_planted_random_cookie_does_not_become_the_users(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let planted = made_up();
    // The server does not adopt the id either, at a write or at a log-in.
    let mut visitor = visitor_with(&site, &planted);
    assert_eq!(visitor.get("/put/a/1").await.status, 200);
    assert_ne!(bytes(visitor.token())[..16], bytes(&planted)[..16]);
    log_in_gains_nothing(&db, &site, &planted, "nobody").await;
}

async fn a_planted_anonymous_session_does_not_become_the_users(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let planted = site.guest().await.token().to_owned();
    log_in_gains_nothing(&db, &site, &planted, "nobody").await;
}

async fn a_planted_expired_session_does_not_become_the_users(db: Db) {
    let site = Site::serve(&db, routes()).await;
    for path in ["/put/a/1", "/log-in/mallory"] {
        let mut attacker = site.visitor();
        attacker.get(path).await;
        db.pass(hours(25)).await;
        log_in_gains_nothing(&db, &site, attacker.token(), "nobody").await;
    }
}

/// The attacker is logged in, and plants that session: the visitor's log-in ends it, or leaves it the attacker's.
async fn a_planted_session_of_another_user_does_not_become_the_users(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let mut mallory = site.user("mallory").await;
    mallory.get("/put/role/admin").await;
    let planted = mallory.token().to_owned();
    log_in_gains_nothing(&db, &site, &planted, "nobody").await;
    // Nor do the attacker's values become the user's.
    let mut mallory = site.user("mallory").await;
    mallory.get("/put/role/admin").await;
    let mut victim = visitor_with(&site, mallory.token());
    victim.get("/log-in/ada").await;
    assert_eq!(victim.get("/get/role").await.body, "nothing");
}
