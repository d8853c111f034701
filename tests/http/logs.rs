//! What the log says: enough for whoever runs the site, and never a credential.

use axum::routing::get;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sessile::{Error, Session, SessionId, minutes};

use crate::{
    log::Log,
    site::{Library, Site, routes},
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
    // Old ones, broken ones, two at once, and a database that fails.
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
        // The last 42 characters are of the secret alone.
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
    assert_eq!(events[0]["level"], "WARN");
    assert_eq!(events[0]["fields"]["session_id"], id_of(old.token()));
    assert_eq!(events[0]["fields"]["reason"], "wrong or replaced secret");

    site.sessions.revoke_user("ada").await.unwrap();
    log.take();
    old.clone().get("/").await;
    let events = log.take_events("cookie refused");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["level"], "DEBUG");
    assert_eq!(events[0]["fields"]["reason"], "ended");
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

/// The browser is told nothing, so somebody else has to be.
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
    assert!(guest.get("/ended").await.removes_the_cookie());
    let events = log.take_events("write refused");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["fields"]["session_id"], id);
}
