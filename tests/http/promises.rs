//! The promises that a visitor notices, through the whole stack.

use std::time::Duration;

use axum::{Router, extract::Path, routing::get};
use sessile::{Error, Session, hours, minutes};
use tokio::task::JoinSet;

use crate::{
    pause::Pause,
    site::{Library, Site, routes},
    support::{Db, cases},
};

cases! {
    a_revoked_session_stays_dead_whatever_was_in_flight,
    two_requests_never_lose_each_others_writes,
    an_update_counts_every_request,
    a_log_in_ends_the_cookie_from_before_it,
    a_request_from_before_the_log_in_does_not_become_the_users,
    a_request_from_before_a_renewal_gets_no_new_cookie,
    a_log_out_everywhere_refuses_the_log_in_that_began_before_it,
    an_expired_session_is_unusable_without_a_sweep,
    a_stolen_database_makes_no_cookie,
}

/// With shared statements, as by default, and without.
fn libraries(db: &Db) -> [Library; 2] {
    [true, false].map(|batching| Library::with(db, |builder| builder.batching(batching)))
}

/// `/paused/{what}`: loads the session, stops, and does it.
fn paused(pause: &Pause) -> Router {
    let pause = pause.clone();
    let handler = async move |session: Session, Path(what): Path<String>| {
        pause.here().await;
        match what.as_str() {
            "insert" => session.insert("late", "yes")?,
            "remove" => drop(session.remove("a")),
            "clear" => session.clear(),
            "update" => session.update("late", |late: &mut u32| *late += 1).await?,
            "save" => {
                session.insert("late", "yes")?;
                session.save().await?;
            }
            "renew" => session.renew().await?,
            "reauthenticate" => session.reauthenticate().await?,
            "refresh" => session.refresh().await?,
            "read" => {}
            key => session.insert(key, "by its own request")?,
        }
        Ok::<_, Error>("done")
    };
    Router::new().route("/paused/{what}", get(handler))
}

async fn a_revoked_session_stays_dead_whatever_was_in_flight(db: Db) {
    let pause = Pause::new();
    for library in libraries(&db) {
        let site = library.serve(routes().merge(paused(&pause))).await;
        let in_flight = [
            ("insert", 401),
            ("remove", 401),
            ("clear", 401),
            ("update", 401),
            ("save", 401),
            ("renew", 401),
            ("reauthenticate", 401),
            ("refresh", 401),
            ("read", 200),
        ];
        for (what, status) in in_flight {
            let mut ada = site.user("ada").await;
            ada.get("/put/a/1").await;
            // A touch is due then.
            db.pass(minutes(10)).await;
            let mut connection = ada.begin(&format!("/paused/{what}")).await;
            pause.reached().await;
            assert_eq!(site.sessions.revoke_user("ada").await.unwrap().ended, 1);
            pause.go_on();
            let response = connection.response().await.unwrap();
            assert_eq!(response.status, status, "{what}");
            assert!(response.sets_no_cookie(), "{what}");
            assert_eq!(ada.get("/").await.body, "nobody", "{what}");
            assert_eq!(db.rows().await, 0, "{what}");
        }
    }
}

async fn two_requests_never_lose_each_others_writes(db: Db) {
    let pause = Pause::new();
    for library in libraries(&db) {
        let site = library.serve(routes().merge(paused(&pause))).await;
        let guest = site.guest().await;
        let keys = ["theme", "language", "currency", "remove"];
        let mut tabs = Vec::new();
        for key in keys {
            tabs.push(guest.begin(&format!("/paused/{key}")).await);
        }
        for _ in keys {
            pause.reached().await;
        }
        for _ in keys {
            pause.go_on();
        }
        for tab in &mut tabs {
            assert_eq!(tab.response().await.unwrap().status, 200);
        }
        for key in &keys[..3] {
            let value = guest.clone().get(&format!("/get/{key}")).await.body;
            assert_eq!(value, "by its own request", "{key}");
        }
        assert_eq!(guest.clone().get("/get/a").await.body, "nothing");
    }
}

async fn an_update_counts_every_request(db: Db) {
    const REQUESTS: u32 = 30;
    let count = |session: Session| async move {
        let n = session.update("n", |n: &mut u32| {
            *n += 1;
            *n
        });
        n.await.map(|n| n.to_string())
    };
    for library in libraries(&db) {
        let site = library.serve(routes().route("/count", get(count))).await;
        let guest = site.guest().await;
        let mut tabs = JoinSet::new();
        for _ in 0..REQUESTS {
            let mut tab = guest.clone();
            tabs.spawn(async move { tab.get("/count").await.body.parse::<u32>().unwrap() });
        }
        let mut seen = tabs.join_all().await;
        seen.sort_unstable();
        assert_eq!(seen, (1..=REQUESTS).collect::<Vec<_>>());
    }
}

async fn a_log_in_ends_the_cookie_from_before_it(db: Db) {
    let site = Site::serve(&db, routes()).await;
    // An attacker begins a session, plants its cookie in the visitor's browser, and waits.
    let mut planted = site.guest().await;
    let mut visitor = planted.clone();
    assert_eq!(visitor.get("/log-in/ada").await.set_cookies().len(), 1);
    assert_eq!(planted.get("/").await.body, "nobody");
    assert_eq!(visitor.get("/").await.body, "ada");
    assert_eq!(visitor.get("/get/a").await.body, "1");

    // The same in a browser in which another user is logged in: none of that user's data remains.
    let mut before = visitor.clone();
    visitor.get("/log-in/bob").await;
    assert_eq!(visitor.get("/").await.body, "bob");
    assert_eq!(visitor.get("/get/a").await.body, "nothing");
    assert_eq!(before.get("/").await.body, "nobody");
}

/// `/late/{what}`: loads the session, stops, does the action, and then asks for a new secret. Returns the
/// session's user.
fn late(pause: &Pause) -> Router {
    let pause = pause.clone();
    let handler = async move |session: Session, Path(what): Path<String>| {
        pause.here().await;
        session.insert("late", "yes").unwrap();
        match what.as_str() {
            "save" => session.save().await.ok(),
            "update" => session.update("late", |late: &mut String| late.push('!')).await.ok(),
            "refresh" => session.refresh().await.ok(),
            "renew" => session.renew().await.ok(),
            _ => None,
        };
        let user = session.user_id().unwrap_or_else(|| "nobody".to_owned());
        session.renew().await.ok();
        user
    };
    Router::new().route("/late/{what}", get(handler))
}

/// An attacker who has planted or stolen the visitor's anonymous cookie may have requests in flight with it.
async fn a_request_from_before_the_log_in_does_not_become_the_users(db: Db) {
    let pause = Pause::new();
    let site = Site::serve(&db, routes().merge(late(&pause))).await;
    for what in ["save", "update", "refresh", "renew", "nothing"] {
        let mut thief = site.guest().await;
        let mut victim = thief.clone();
        let mut connection = thief.begin(&format!("/late/{what}")).await;
        pause.reached().await;
        victim.get("/log-in/ada").await;
        pause.go_on();
        let response = connection.response().await.unwrap();
        // The handler would now renew the session, if it got that far.
        assert_eq!(response.status, 409, "{what}");
        assert!(!response.body.contains("ada"), "{what}");
        assert!(response.sets_no_cookie(), "{what}");
        thief.keep_cookies_of(&response);
        assert_ne!(thief.get("/").await.body, "ada", "{what}");
        assert_eq!(victim.get("/").await.body, "ada", "{what}");
    }
}

/// The same applies to a thief with the cookie of a user who then authenticates again.
async fn a_request_from_before_a_renewal_gets_no_new_cookie(db: Db) {
    let pause = Pause::new();
    let again = |session: Session| async move { session.reauthenticate().await };
    let renew = |session: Session| async move { session.renew().await };
    let app = routes().merge(late(&pause)).route("/again", get(again)).route("/renew", get(renew));
    let site = Site::serve(&db, app).await;
    for elsewhere in ["/again", "/renew"] {
        for what in ["save", "update", "refresh", "renew", "nothing"] {
            let thief = site.user("ada").await;
            let mut victim = thief.clone();
            let mut connection = thief.begin(&format!("/late/{what}")).await;
            pause.reached().await;
            assert_eq!(victim.get(elsewhere).await.status, 200);
            pause.go_on();
            let response = connection.response().await.unwrap();
            assert_eq!(response.status, 409, "{elsewhere}, {what}");
            assert!(response.sets_no_cookie(), "{elsewhere}, {what}");
            assert_eq!(victim.get("/").await.body, "ada", "{elsewhere}, {what}");
        }
    }
}

async fn a_log_out_everywhere_refuses_the_log_in_that_began_before_it(db: Db) {
    let pause = Pause::new();
    let checks_password = pause.clone();
    let log_in = async move |session: Session| {
        checks_password.here().await;
        session.log_in("ada").await?;
        Ok::<_, Error>("in")
    };
    let everywhere = |session: Session| async move { session.log_out_everywhere().await.map(drop) };
    let app = routes().route("/slow-log-in", get(log_in)).route("/everywhere", get(everywhere));
    let site = Site::serve(&db, app).await;
    let mut ada = site.user("ada").await;
    let thief = site.guest().await;
    let mut connection = thief.begin("/slow-log-in").await;
    pause.reached().await;
    assert!(ada.get("/everywhere").await.removes_the_cookie());
    pause.go_on();
    let response = connection.response().await.unwrap();
    assert_eq!((response.status, response.sets_no_cookie()), (401, true));
    assert_eq!(site.sessions.count_of_user("ada").await.unwrap(), 0);
    assert_eq!(thief.clone().get("/").await.body, "a guest");
    // The next one, with the new password, is not refused.
    assert_eq!(ada.get("/log-in/ada").await.status, 200);
}

async fn an_expired_session_is_unusable_without_a_sweep(db: Db) {
    let site = Site::serve(&db, routes()).await;
    for (idle, steps) in [(hours(1), 1), (minutes(59), 25)] {
        let mut ada = site.user("ada").await;
        for step in 1..=steps {
            db.pass(idle + Duration::from_secs(1)).await;
            if step < steps {
                assert_eq!(ada.get("/").await.body, "ada");
                site.sessions.flush().await.unwrap();
            }
        }
        let response = ada.get("/").await;
        assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("nobody", true));
    }
    assert_eq!(db.rows().await, 2);
}

async fn a_stolen_database_makes_no_cookie(db: Db) {
    use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE};

    let site = Site::serve(&db, routes()).await;
    let ada = site.user("ada").await;
    let dump = db.dump().await.to_lowercase();
    let token = URL_SAFE.decode(ada.token()).unwrap();
    let secret = &token[16..];
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let spellings = [ada.token()[22..].to_owned(), STANDARD.encode(secret), hex];
    assert!(dump.contains("ada"));
    for spelling in spellings {
        assert!(!dump.contains(&spelling.to_lowercase()), "{spelling}");
    }

    // The dump contains the hash, which is useless as a secret.
    let hash = <sha2::Sha256 as sha2::Digest>::digest(secret);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(dump.contains(&hex));
    let from_dump = URL_SAFE.encode([&token[..16], &hash].concat());
    let line = format!("Cookie: __Host-id={from_dump}").into_bytes();
    assert_eq!(site.get("/", &[line]).await.body, "nobody");
}
