//! What a browser or a row may hold, through the public API only: each function takes any bytes and panics if a promise
//! does not hold for them. The fuzz targets call them, and so do the property tests of the ordinary suite
//! (`tests/properties`).

mod rows;

use std::{cell::OnceCell, collections::BTreeMap, future::Future};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Datelike;
use http::{HeaderValue, Request, Response, header::COOKIE};
use serde_json::{Value, value::RawValue};
use sessile::{
    Client, ErrorKind, Session, SessionLayer, Sessions,
    encryption::{Encryption, Key},
    store::PageKey,
};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use self::rows::{Row, Rows};

const COOKIE_NAME: &[u8] = b"__Host-id";

fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: OnceCell<tokio::runtime::Runtime> = const { OnceCell::new() };
    }
    RUNTIME.with(|runtime| {
        let build = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().build().expect("a runtime starts")
        };
        runtime.get_or_init(build).block_on(future)
    })
}

fn sessions(rows: &Rows) -> Sessions {
    // Without a batch, a call is over when its future is: no execution leaves work to the next one.
    let sessions = Sessions::builder(rows.backend()).batching(false);
    sessions.build().expect("the default policy is valid")
}

async fn open(sessions: &Sessions, cookie: &[u8]) -> sessile::Result<Session> {
    sessions.open([cookie], Client::new()).await
}

/// Reads the session of a row with this data, and writes a value. Returns what the store was told to save.
fn write(rows: &Rows, sessions: &Sessions, data: &str) -> sessile::Result<String> {
    let row = Row::with_data(data);
    let token = row.token();
    rows.put(row);
    let written = run(async {
        let session = open(sessions, token.as_bytes()).await?;
        for key in session.keys() {
            // Any answer, but an answer.
            session.get::<Value>(&key).ok();
            session.get::<String>(&key).ok();
            session.get::<u8>(&key).ok();
        }
        session.data::<Value>().ok();
        session.insert("added", 1)?;
        session.finish().await
    });
    let saved = rows.take_saved();
    match written {
        Ok(_) => {
            let [saved] = &saved[..] else { panic!("one change is one write: {saved:?}") };
            Ok(saved.clone())
        }
        Err(error) => {
            assert!(saved.is_empty(), "{data}: nothing is written over data that cannot be read");
            Err(error)
        }
    }
}

/// Whether this crate can have written the text: 64 characters of base64url, whose first 16 bytes are a UUIDv7.
fn is_token(text: &[u8]) -> bool {
    let is_url_safe = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() == 64 && text.iter().all(is_url_safe) && {
        let bytes = URL_SAFE_NO_PAD.decode(text).expect("64 characters are 48 bytes");
        bytes[6] >> 4 == 7 && bytes[8] >> 6 == 0b10
    }
}

/// The value of a cookie: one that this crate cannot have written costs no query, and none is a session.
pub fn token(input: &[u8]) {
    let rows = Rows::default();
    let session = run(open(&sessions(&rows), input)).expect("a cookie is no error");
    assert_eq!(session.id(), None);
    assert_eq!(session.user_id(), None);
    let asked = rows.asked_for();
    assert_eq!(asked.len(), usize::from(is_token(input)));
    for id in asked {
        // The query is about the token's own id.
        assert!(input.starts_with(&URL_SAFE_NO_PAD.encode(id.as_uuid()).as_bytes()[..21]));
    }
}

/// `Cookie` headers, with a line break between two of them: the session is opened where its cookie stands in them byte
/// for byte, and nowhere else.
pub fn cookie_header(input: &[u8]) {
    let rows = Rows::default();
    let row = Row::with_data("{}");
    let token = row.token();
    let id = rows.put(row);
    // `\0` in the input stands for the token, which no engine can guess.
    let mut header = Vec::new();
    for part in input.split_inclusive(|&byte| byte == 0) {
        match part.split_last() {
            Some((0, rest)) => header.extend([rest, token.as_bytes()].concat()),
            _ => header.extend(part),
        }
    }
    let mut request = Request::new(());
    let mut lines = Vec::new();
    for line in header.split(|&byte| byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            request.headers_mut().append(COOKIE, value);
            lines.push(line);
        }
    }
    let layer = SessionLayer::new(sessions(&rows));
    let service = layer.layer(service_fn(async |request: Request<()>| {
        let session = Session::of(request.extensions()).await.expect("the store never fails");
        let id = session.id().map(|id| id.to_string());
        Ok::<_, std::convert::Infallible>(Response::new(id.unwrap_or_default()))
    }));
    let Ok(answer) = run(service.oneshot(request));
    let (opened, header) = (answer.into_body(), header.escape_ascii());
    let values: Vec<_> = lines.into_iter().flat_map(cookies).collect();
    let is_in = values.contains(&token.as_bytes());
    if !is_in {
        assert_eq!(opened, "", "{header}");
    }
    // More than four cookies of the name, and two different ones, are cases of their own: see `sessile::http`.
    if is_in && values.len() <= 4 && values.iter().all(|value| *value == token.as_bytes()) {
        assert_eq!(opened, id.to_string(), "{header}");
    }
    let tokens = values.iter().filter(|value| is_token(value)).count();
    assert!(rows.asked_for().len() <= tokens, "{header}");
}

/// The values of the cookies of our name, by RFC 6265, section 4.2: pairs between semicolons, without decoding.
fn cookies(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b';').filter_map(|pair| {
        let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
        let (begin, end) = (pair.iter().position(is_text)?, pair.iter().rposition(is_text)?);
        pair[begin..=end].strip_prefix(COOKIE_NAME)?.strip_prefix(b"=")
    })
}

/// The column `data`: a session whose data is read keeps each of its values when another one is written, and one whose
/// data cannot be read is an error and stays as it is.
pub fn data(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let rows = Rows::default();
    match write(&rows, &sessions(&rows), text) {
        Ok(saved) => {
            let (mut before, mut after) = (values(text), values(&saved));
            before.remove("added");
            assert_eq!(after.remove("added").as_deref(), Some("1"));
            assert_eq!(after, before);
        }
        Err(error) => {
            // What this library does not write, data that was already longer or deeper than the policy allows, and
            // data that looks sealed.
            let expected = [ErrorKind::WrongType, ErrorKind::InvalidData, ErrorKind::Encryption];
            assert!(expected.contains(&error.kind()), "{error:?}");
        }
    }
}

/// As they are written: a number that Rust has no type for is kept too.
fn values(text: &str) -> BTreeMap<String, String> {
    let values: BTreeMap<String, &RawValue> = serde_json::from_str(text).expect("it is an object");
    values.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect()
}

/// What the key `a` has sealed for the row: `{"a":1,"added":1}`. Another text in its place is a text that the key has not sealed.
const SEALED: &str = "\"sealed1.x.a.mwEJBpbXZopP9pJjToJOJtnx73Pm6raH7o3p0kas4ic7i2rOwUqtqeLm5-VcZpGzbWaILuhY9o49euheNg\"";

/// The column `data` with a key set: nothing that the key has not sealed is read, and nothing is written over it. The
/// input is a text, a text behind the beginning of an envelope, and the bits to change in a sealed text.
pub fn envelope(input: &[u8]) {
    let changed = SEALED.bytes().enumerate().map(|(at, byte)| byte ^ input.get(at).unwrap_or(&0));
    let mut texts = vec![String::from_utf8(changed.collect()).ok()];
    if let Ok(text) = std::str::from_utf8(input) {
        texts.extend([text.to_owned(), format!("\"sealed1.{text}\"")].map(Some));
        texts.push(Some(format!("\"sealed1.x.a.{text}\"")));
    }
    let key = Key::new("a", [7; 32]).expect("the name of a key");
    let rows = Rows::default();
    let builder = Sessions::builder(rows.backend()).batching(false);
    let sessions = builder.encryption(Encryption::new(key)).build().expect("valid");
    for text in texts.into_iter().flatten() {
        match write(&rows, &sessions, &text) {
            Ok(_) => assert_eq!(text, SEALED, "no one without the key can seal data"),
            Err(error) => {
                assert_ne!(text, SEALED, "{error:?}");
                let expected = [ErrorKind::WrongType, ErrorKind::Encryption];
                assert!(expected.contains(&error.kind()), "{text}: {error:?}");
            }
        }
    }
}

/// The cursor of a list: a text is a key with one meaning, or an error.
pub fn cursor(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match text.parse::<PageKey>() {
        Ok(key) => {
            assert_eq!(key.to_string().parse::<PageKey>().expect("its own text"), key);
            let year = key.authenticated_at.year();
            assert!((1970..=9999).contains(&year), "no database knows the year {year}");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidPageKey),
    }
}
