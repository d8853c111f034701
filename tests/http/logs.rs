//! The contents of the log: enough for an operator, and never a credential.

use std::collections::BTreeSet;

use axum::routing::get;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sessile::{Error, Session, SessionId, Sessions, minutes};

use crate::{
    log::Log,
    site::{Library, Site, cookies, routes},
    spy::INTERNAL,
    support::{
        Db,
        tap::Verb::{Load, Save, Touch},
    },
};

fn id_of(token: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    let id: [u8; 16] = bytes[..16].try_into().unwrap();
    SessionId::from(uuid::Uuid::from_bytes(id)).to_string()
}

#[tokio::test]
async fn no_line_holds_a_token() {
    let log = Log::begin();
    let db = Db::sqlite().await;
    let renew = |session: Session| async move { session.renew().await };
    let again = |session: Session| async move { session.reauthenticate().await };
    let app = routes().route("/renew", get(renew)).route("/again", get(again));
    let site = Site::serve(&db, app).await;
    let mut visitor = site.visitor();
    let mut tokens = Vec::new();
    let paths = [
        "/put/a/1",
        "/log-in/ada",
        "/get/a",
        "/put/a/2",
        "/renew",
        "/again",
        "/no-such-route",
        "/log-in/bob",
    ];
    for path in paths {
        visitor.get(path).await;
        tokens.push(visitor.token().to_owned());
        db.pass(minutes(5)).await;
    }
    // Old cookies, broken ones, two at once, and a failing database.
    for token in tokens.clone() {
        for value in [token.clone(), format!("{token}="), format!("{token}; __Host-id={token}")] {
            let line = format!("Cookie: __Host-id={value}").into_bytes();
            site.get("/put/a/1", &[line]).await;
        }
    }
    site.spy.fail(Load);
    visitor.get("/").await;
    site.spy.let_all_pass();
    visitor.get("/log-out").await;

    let lines = log.take();
    assert!(lines.contains("logged in") && lines.contains("sessions revoked"));
    tokens.dedup();
    assert_eq!(tokens.len(), 5);
    for token in tokens {
        assert!(lines.contains(&id_of(&token)));
        let secret = &URL_SAFE_NO_PAD.decode(&token).unwrap()[16..];
        let hash = <sha2::Sha256 as sha2::Digest>::digest(secret);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // The last 42 characters contain only the secret.
        let spellings =
            [token[22..].to_owned(), hex(secret), URL_SAFE_NO_PAD.encode(hash), hex(&hash)];
        let lower = lines.to_lowercase();
        for spelling in spellings {
            let lower_spelling = spelling.to_lowercase();
            assert!(!lower.contains(&lower_spelling), "a line holds {spelling}");
        }
        assert!(!lines.contains(&format!("{:?}", &secret[..4])[1..15]), "a line holds bytes");
    }
}

#[tokio::test]
async fn a_refused_cookie_is_told_by_its_public_id() {
    let log = Log::begin();
    let db = Db::sqlite().await;
    let site = Site::serve(&db, routes()).await;
    let old = site.guest().await;
    old.clone().get("/log-in/ada").await;
    log.take();

    old.clone().get("/").await;
    let events = log.take_events("cookie refused");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["level"], "DEBUG");
    assert_eq!(events[0]["fields"]["session_id"], id_of(old.token()));
    assert_eq!(events[0]["fields"]["reason"], "superseded");

    db.pass(minutes(1)).await;
    old.clone().get("/").await;
    let events = log.take_events("cookie refused");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["level"], "DEBUG");
    assert_eq!(events[0]["fields"]["session_id"], id_of(old.token()));
    assert_eq!(events[0]["fields"]["reason"], "wrong secret");

    site.sessions.revoke_user("ada").await.unwrap();
    log.take();
    old.clone().get("/").await;
    let events = log.take_events("cookie refused");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["level"], "DEBUG");
    assert_eq!(events[0]["fields"]["reason"], "ended");
}

/// Two live cookies of one name, or more than four, count as no session. The log tells why.
#[tokio::test]
async fn cookies_of_which_none_is_taken_are_told() {
    let log = Log::begin();
    let db = Db::sqlite().await;
    let site = Site::serve(&db, routes()).await;
    let (guest, ada) = (site.guest().await, site.user("ada").await);
    log.take();
    assert_eq!(site.get("/", &[cookies(&[guest.token(), ada.token()])]).await.body, "nobody");
    let mut told = Vec::new();
    for event in log.take_events("cookie refused") {
        assert_eq!(event["level"], "DEBUG");
        assert_eq!(event["fields"]["reason"], "the request brought another live one");
        told.push(event["fields"]["session_id"].as_str().unwrap().to_owned());
    }
    told.sort_unstable();
    let mut expected = [id_of(guest.token()), id_of(ada.token())];
    expected.sort_unstable();
    assert_eq!(told, expected);

    let mut five = vec![ada.token().to_owned()];
    for _ in 0..4 {
        five.push(site.guest().await.token().to_owned());
    }
    log.take();
    let five: Vec<_> = five.iter().map(String::as_str).collect();
    assert_eq!(site.get("/", &[cookies(&five)]).await.body, "nobody");
    let told = log.take_events("cookie refused");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["level"], "DEBUG");
    assert_eq!(told[0]["fields"]["reason"], "more than four of that name");
}

/// Otherwise any client could fill the log, and wake an operator at night.
#[tokio::test]
async fn nothing_that_a_client_can_send_is_a_warning() {
    let log = Log::begin();
    let db = Db::sqlite().await;
    let again = |session: Session| async move { session.reauthenticate().await };
    let devices = |session: Session| async move { session.devices().await.map(drop) };
    let update = |session: Session| async move { session.update("n", |n: &mut u32| *n += 1).await };
    let recent = |session: Session| async move { session.require_recent(minutes(5)) };
    let complete = |session: Session| async move { session.complete_log_in().await };
    // As a log-out in another tab does.
    let ends = |sessions: Sessions| {
        async move |session: Session| {
            if let Some(id) = session.id() {
                sessions.revoke(id).await?;
            }
            session.insert("a", "late")
        }
    };
    let library = Library::over(&db);
    let app = routes()
        .route("/again", get(again))
        .route("/devices", get(devices))
        .route("/update", get(update))
        .route("/recent", get(recent))
        .route("/complete", get(complete))
        .route("/ends", get(ends(library.sessions.clone())));
    let site = library.serve(app).await;

    let mut ada = site.user("ada").await;
    let oldest = ada.token().to_owned();
    ada.get("/again").await;
    let superseded = ada.token().to_owned();
    ada.get("/again").await;
    let ended = site.user("eve").await.token().to_owned();
    site.sessions.revoke_user("eve").await.unwrap();
    let (guest, other) = (site.guest().await, site.guest().await);
    let mut forged = URL_SAFE_NO_PAD.decode(guest.token()).unwrap();
    forged[40] ^= 1;
    let forged = URL_SAFE_NO_PAD.encode(forged);
    let long = "x".repeat(100_000);
    let shapes: Vec<Vec<&str>> = vec![
        vec![],
        vec![""],
        vec!["x"],
        vec![&long],
        vec!["\u{e9}\u{2003}", "' or 1=1 --", "%00", "=", "\"\""],
        vec![&ended],
        vec![&forged],
        vec![&oldest],
        vec![&superseded],
        vec![&superseded, &oldest],
        vec![&superseded, &ended, "x"],
        vec![guest.token(), other.token()],
        vec![guest.token(), &ended],
        vec![&oldest, &superseded, &ended, &forged, other.token(), guest.token(), ada.token()],
        vec![other.token()],
    ];
    let headers: [&[u8]; 4] = [
        b"Accept: application/json",
        b"Accept: \xff\xfe, ;;;q=, application/",
        b"User-Agent: \xff\xfe \xc2\x9b31m",
        b"X-Forwarded-For: nowhere",
    ];
    let paths = [
        "/",
        "/get/a",
        "/untouched",
        "/no-such-route",
        "/put/a/2",
        "/update",
        "/again",
        "/devices",
        "/recent",
        "/complete",
        "/ends",
        "/log-out",
    ];
    log.take();
    let (mut statuses, mut lines) = (BTreeSet::new(), String::new());
    for (shape, header) in shapes.iter().zip(headers.iter().cycle()) {
        for path in paths {
            let sent = [cookies(shape), header.to_vec()];
            statuses.insert(site.get(path, &sent).await.status);
            lines += &log.take();
        }
    }
    // Each of these cases occurred.
    assert_eq!(statuses, [200, 401, 404, 409].into());
    for reason in [
        "malformed",
        "ended",
        "wrong secret",
        "superseded",
        "the request brought another live one",
        "more than four of that name",
    ] {
        assert!(lines.contains(reason), "{reason}");
    }
    for line in lines.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let level = event["level"].as_str().unwrap();
        assert!(!["WARN", "ERROR"].contains(&level), "{line}");
    }
}

#[tokio::test]
async fn a_failing_database_is_told_to_the_log_and_not_to_the_browser() {
    let log = Log::begin();
    let db = Db::sqlite().await;
    let library = Library::with(&db, |builder| builder.batching(false));
    let site = library.serve(routes()).await;
    let mut guest = site.guest().await;
    db.pass(minutes(30)).await;
    let failures =
        [(Touch, "touch", "/", 200), (Save, "save", "/put/a/2", 503), (Load, "load", "/", 503)];
    for (verb, name, path, status) in failures {
        site.spy.fail(verb);
        log.take();
        let response = guest.get(path).await;
        assert_eq!(response.status, status);
        assert!(!response.body.contains(INTERNAL));
        let events = log.take_events("session database failed");
        assert_eq!(events.len(), 1, "{name}");
        assert_eq!(events[0]["level"], "ERROR");
        assert_eq!(events[0]["fields"]["verb"], name);
        assert_eq!(events[0]["fields"]["source"], INTERNAL);
    }
}

/// The browser gets no details, so the log must contain them.
#[tokio::test]
async fn what_a_500_hides_is_told_to_the_log() {
    let log = Log::begin();
    let db = Db::sqlite().await;
    let wrong_type = |session: Session| async move {
        session.insert("card", "4111111111111111")?;
        session.get::<u32>("card").map(drop)
    };
    let library = Library::over(&db);
    let app = routes().route("/wrong-type", get(wrong_type));
    let site = library.serve(app.clone()).await;
    assert_eq!(site.get("/wrong-type", &[]).await.status, 500);
    let lines = log.take();
    assert!(lines.contains(r#"the value of \"card\" is not a u32"#), "{lines}");
    assert!(!lines.contains("4111"), "{lines}");

    let without_layer = library.serve_as_is(app).await;
    assert_eq!(without_layer.get("/", &[]).await.status, 500);
    let lines = log.take();
    assert!(lines.contains("add SessionLayer to the router"), "{lines}");
}

#[tokio::test]
async fn a_write_to_an_ended_session_is_told() {
    let log = Log::begin();
    let db = Db::sqlite().await;
    let library = Library::over(&db);
    let sessions = library.sessions.clone();
    let ended = async move |session: Session| {
        sessions.revoke(session.id().unwrap()).await?;
        session.insert("a", "late")?;
        Ok::<_, Error>("the handler's")
    };
    let site = library.serve(routes().route("/ended", get(ended))).await;
    let mut guest = site.guest().await;
    let id = id_of(guest.token());
    log.take();
    let response = guest.get("/ended").await;
    assert_eq!((response.status, response.sets_no_cookie()), (401, true));
    let events = log.take_events("write refused");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["level"], "DEBUG");
    assert_eq!(events[0]["fields"]["reason"], "ended");
    assert_eq!(events[0]["fields"]["session_id"], id);
}
