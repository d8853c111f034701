//! Somebody reads everything that the program writes: its log, its panics, the `Debug` of all that a handler sees.

use std::{
    cell::RefCell,
    panic::{set_hook, take_hook},
    sync::Once,
};

use axum::{extract::Request, routing::get};
use sessile::{Session, http::SessionCookie};
use sha2::{Digest, Sha256};

use super::bytes;
use crate::{
    log::Log,
    site::{Library, cookies, routes},
    support::Db,
};

thread_local! {
    static PANICS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the texts of this thread's panics, as a program that reports its crashes does.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            PANICS.with_borrow_mut(|panics| *panics += &format!("{panic}\n{panic:?}\n"));
            before(panic);
        }));
    });
    PANICS.set(String::new());
}

/// A handler prints its whole request and its session, and panics with both.
#[tokio::test]
async fn no_log_no_panic_and_no_debug_output_has_a_secret() {
    keep_panics();
    let log = Log::begin();
    let db = Db::sqlite().await;
    let shown = async |session: Session, request: Request| {
        let log_in = session.log_in("ada");
        let all = format!("{session:?} {session:#?} {log_in:?} {request:?} {request:#?}");
        tracing::error!(all, ?session, "shown");
        all
    };
    let panics = async |session: Session, request: Request| -> String {
        session.log_in("ada").await.unwrap();
        panic!("{session:?} {:?} {request:?}", session.devices().await)
    };
    let late = async |session: Session, request: Request| -> String {
        session.insert("a", "2").unwrap();
        let error = session.insert("deep", vec![0; 100_000]).unwrap_err();
        panic!("{error:?} {session:?} {request:?}")
    };
    let library = Library::over(&db);
    let app =
        routes().route("/show", get(shown)).route("/panic", get(panics)).route("/late", get(late));
    let site = library.serve(app).await;

    let mut visitor = site.user("ada").await;
    let mut tokens = vec![visitor.token().to_owned()];
    let mut pages = String::new();
    for path in ["/show", "/log-in/ada", "/show"] {
        pages += &visitor.get(path).await.body;
        tokens.push(visitor.token().to_owned());
    }
    // The token of an ended session, of an old secret, two at once, and one that is malformed by its last byte.
    let ended = site.user("eve").await;
    site.sessions.revoke_user("eve").await.unwrap();
    tokens.push(ended.token().to_owned());
    let other = site.user("bob").await;
    tokens.push(other.token().to_owned());
    tokens.dedup();
    for values in [
        vec![tokens[0].clone()],
        vec![ended.token().to_owned()],
        vec![visitor.token().to_owned(), other.token().to_owned()],
        vec![format!("{}=", visitor.token())],
        vec![format!("\"{}\"", visitor.token())],
    ] {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let lines = [cookies(&values)];
        pages += &site.get("/show", &lines).await.body;
        for path in ["/panic", "/late"] {
            let mut connection = crate::wire::Connection::open(site.address).await;
            connection.get(path, &lines).await;
            assert!(connection.response().await.is_none(), "{path}: the handler panics");
        }
    }
    let debug =
        format!("{site:?} {library:?} {:?} {:?}", library.layer(), SessionCookie::default());

    let log = log.take();
    let panics = PANICS.take();
    // Everything is there that is searched.
    assert!(log.contains("shown") && log.contains("logged in") && log.contains("cookie refused"));
    assert!(panics.matches("Session").count() >= 10 && panics.contains("Sensitive"), "{panics}");
    assert!(pages.contains("Session") && pages.contains("Sensitive"), "{pages}");
    assert!(tokens.len() >= 4, "{tokens:?}");
    for token in tokens {
        let secret = bytes(&token)[16..].to_vec();
        let hash = Sha256::digest(&secret).to_vec();
        for spelling in spellings(&token, &secret).chain(spellings("", &hash)) {
            for (what, text) in [
                ("log", &log),
                ("panics", &panics),
                ("Debug", &debug),
                ("Debug of a handler", &pages),
            ] {
                assert!(!text.contains(&spelling), "{what}: {spelling}");
            }
        }
    }
}

/// The secret's part of the token, and the bytes as hex, as base64 and as `Debug`.
fn spellings(token: &str, bytes: &[u8]) -> impl Iterator<Item = String> {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
    };
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{bytes:?}");
    let of_token = token.get(22..).map(str::to_owned);
    let of_bytes = [
        hex.to_uppercase(),
        hex,
        URL_SAFE_NO_PAD.encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        list[1..list.len() - 1].to_owned(),
        bytes.escape_ascii().to_string(),
    ];
    of_token.into_iter().chain(of_bytes)
}
