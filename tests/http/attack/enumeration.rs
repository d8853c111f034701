//! An attacker wants to learn from an answer which sessions there are, or were.

use axum::routing::get;
use sessile::{LoggedIn, Session, hours, minutes};

use super::{answer, bytes, made_up, token};
use crate::{
    site::{Site, cookies, routes},
    support::{Db, cases},
};

cases! { unknown_expired_revoked_replaced_and_malformed_cookies_read_alike }

/// Byte for byte, `Set-Cookie` included.
async fn unknown_expired_revoked_replaced_and_malformed_cookies_read_alike(db: Db) {
    let renew = async |session: Session| session.renew().await;
    let private = async |LoggedIn(user): LoggedIn<String>| user;
    let site =
        Site::serve(&db, routes().route("/renew", get(renew)).route("/private", get(private)))
            .await;
    let expired = site.user("ada").await.token().to_owned();
    let expired_guest = site.guest().await.token().to_owned();
    db.pass(hours(25)).await;
    let mut long_ago = site.user("ada").await;
    let replaced_long_ago = long_ago.token().to_owned();
    long_ago.get("/renew").await;
    db.pass(minutes(2)).await;
    let revoked = site.user("eve").await.token().to_owned();
    site.sessions.revoke_user("eve").await.unwrap();
    let mut logged_out = site.user("bob").await;
    let gone = logged_out.token().to_owned();
    logged_out.get("/log-out").await;
    let mut renewed = site.user("ada").await;
    let replaced = renewed.token().to_owned();
    renewed.get("/renew").await;
    let live = bytes(renewed.token());
    let cookies_of = [
        ("unknown", made_up()),
        ("expired", expired),
        ("expired, without a user", expired_guest),
        ("revoked", revoked),
        ("logged out", gone),
        ("replaced now", replaced.clone()),
        ("replaced a while ago", replaced_long_ago),
        ("of a live id, with a wrong secret", token(&live[..16], &[0x5a; 32])),
        ("malformed", format!("{}=", renewed.token())),
        ("empty", String::new()),
        ("oversized", "A".repeat(5_000)),
        ("of another version", token(&[0xff; 16], &live[16..])),
    ];
    for path in ["/", "/get/a", "/untouched", "/nothing/here", "/private"] {
        for method in ["GET", "HEAD"] {
            let without = answer(&site, method, path, &[]).await;
            assert!(!without.contains("set-cookie"), "{without}");
            for (what, cookie) in &cookies_of {
                // A guard tells a browser whose cookie has just been replaced to reload. Only somebody who had the
                // secret until then learns this.
                if path == "/private" && *what == "replaced now" {
                    continue;
                }
                let with = answer(&site, method, path, &[cookies(&[cookie])]).await;
                assert_eq!(with, without, "{method} {path}: {what}");
            }
        }
    }
    let good = answer(&site, "GET", "/", &[cookies(&[renewed.token()])]).await;
    assert!(good.ends_with("ada"), "{good}");
}
