use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json, value::RawValue};
use sessile::{Client, ErrorKind, Sessions};

use crate::support::{Browser, Db, cases, tap::Spy};

cases! {
    promise_10_a_token_that_is_none_costs_no_query,
    promise_10_every_string_of_json_comes_back_unchanged,
    promise_10_every_key_comes_back_unchanged,
    promise_10_a_value_that_nobody_touches_stays_as_it_was_written,
    promise_10_data_up_to_the_cap_is_kept_and_beyond_it_refused,
    promise_10_a_value_up_to_the_depth_is_kept_and_beyond_it_refused,
    promise_10_what_is_no_json_is_refused,
    promise_10_a_user_id_that_no_database_takes_is_refused,
    promise_10_a_user_agent_is_cleaned_and_cut,
}

async fn promise_10_a_token_that_is_none_costs_no_query(db: Db) {
    let spy = Spy::new();
    let sessions = db.tapped(&spy).build().unwrap();
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let good = browser.cookie.clone().unwrap();
    assert!(browser.is_in(&sessions).await);
    spy.calls();

    let mut bytes = URL_SAFE_NO_PAD.decode(&good).unwrap();
    // Version 4 instead of version 7.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    let another_version = URL_SAFE_NO_PAD.encode(&bytes);
    let none: [&[u8]; 20] = [
        b"",
        b" ",
        b"deleted",
        b"null",
        &good.as_bytes()[..63],
        &good.as_bytes()[1..],
        another_version.as_bytes(),
        &[good.as_bytes(), b"A"].concat(),
        &[good.as_bytes(), b"="].concat(),
        &[good.as_bytes(), b"=="].concat(),
        &[good.as_bytes(), b"\n"].concat(),
        &[good.as_bytes(), b"\0"].concat(),
        &[b" ", good.as_bytes()].concat(),
        &[b"\"", good.as_bytes(), b"\""].concat(),
        &[&good.as_bytes()[..63], b"="].concat(),
        &[&good.as_bytes()[..63], b"+"].concat(),
        &[&good.as_bytes()[..63], b"\xff"].concat(),
        &[&good.as_bytes()[..62], "é".as_bytes()].concat(),
        &[b'A'; 64],
        &vec![b'A'; 1 << 20],
    ];
    for cookie in none {
        let session = sessions.open(Some(cookie), Client::new()).await.unwrap();
        assert_eq!(session.id(), None);
        session.finish().await.unwrap();
    }
    assert_eq!(spy.calls(), []);
}

/// Writes by one node, reads by another.
async fn round_trip(db: &Db, key: &str, value: &Value) -> Option<Value> {
    let (writer, reader) = (db.sessions().await, db.sessions().await);
    let (mut browser, _) = Browser::with(&writer, key, value.clone()).await;
    // Written by a creation, a save and a log-in.
    for step in 0..3 {
        let session = browser.open(&reader).await;
        assert_eq!(session.get::<Value>(key).unwrap().as_ref(), Some(value), "{step}");
        match step {
            0 => session.update(key, |_: &mut Value| ()).await.unwrap(),
            _ => session.log_in("ada").await.unwrap(),
        }
        browser.finish(&session).await;
    }
    browser.open(&reader).await.get(key).unwrap()
}

async fn promise_10_every_string_of_json_comes_back_unchanged(db: Db) {
    let all_controls: String = (0..=0x9f_u32).filter_map(char::from_u32).collect();
    let edges = "\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fdd0}\u{feff}\u{fffd}\u{fffe}\u{ffff}\u{10000}\u{1f98a}\u{10ffff}";
    let strings = json!([
        "",
        "\0",
        "before\0after",
        all_controls,
        edges,
        "\u{2028}\u{2029}",
        "\"'\\/`$1?1:name{}[]%_;--",
        "\\u0000 \\ud800 \\n",
        "e\u{301} and \u{e9} are not the same",
        "\u{202e}right to left",
        "x".repeat(10_000),
        "1e400",
        "null",
    ]);
    assert_eq!(round_trip(&db, "strings", &strings).await, Some(strings));
}

async fn promise_10_every_key_comes_back_unchanged(db: Db) {
    let sessions = db.sessions().await;
    let long = "k".repeat(10_000);
    let keys = [
        "",
        " ",
        "\0",
        "a\0b",
        "\"",
        "\\",
        "\u{2028}",
        "é",
        "e\u{301}",
        "🦊",
        "a.b[0]",
        "$.id",
        "user_id",
        "__proto__",
        &long,
    ];
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    for (n, key) in keys.iter().enumerate() {
        session.insert(key, json!({ *key: n })).unwrap();
    }
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.keys().len(), keys.len());
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(session.get::<Value>(key).unwrap(), Some(json!({ *key: n })), "{key:?}");
        assert!(session.remove(key));
    }
    browser.finish(&session).await;
    assert_eq!(browser.open(&sessions).await.keys(), [""; 0]);
}

/// Numbers beyond the range of a float, halves of a surrogate pair, an object with ordered keys.
async fn promise_10_a_value_that_nobody_touches_stays_as_it_was_written(db: Db) {
    let values = [
        "12345678901234567890123",
        "1e400",
        "-0",
        "1.10",
        "1E+2",
        "0.1000000000000000055511151231257827",
        r#""\ud83e\udd8a""#,
        r#""\ud800""#,
        r#""\/\u0041""#,
        r#"{"z":1,"a":2,"z":3}"#,
        "[ 1 ,\n2 ]",
        "null",
    ];
    let sessions = db.sessions().await;
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    for (n, value) in values.iter().enumerate() {
        let raw = RawValue::from_string((*value).to_owned()).unwrap();
        session.insert(&n.to_string(), raw).unwrap();
    }
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    session.update("another", |n: &mut u64| *n += 1).await.unwrap();
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    for (n, value) in values.iter().enumerate() {
        let raw: Box<RawValue> = session.get(&n.to_string()).unwrap().unwrap();
        assert_eq!(raw.get(), *value);
    }
}

async fn promise_10_data_up_to_the_cap_is_kept_and_beyond_it_refused(db: Db) {
    const CAP: usize = 64 * 1024;
    let sessions = db.sessions().await;
    // {"a":"…"}
    let fits = "x".repeat(CAP - 8);
    let (browser, _) = Browser::with(&sessions, "a", json!(fits)).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.get::<String>("a").unwrap().as_deref(), Some(&*fits));

    let one_more = format!("{fits}x");
    for error in [
        session.insert("a", &one_more).unwrap_err(),
        session.insert("b", 1).unwrap_err(),
        session.update("a", |a: &mut String| a.push('x')).await.unwrap_err(),
        session.update("b", |b: &mut u64| *b += 1).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let text = error.to_string();
        assert!(text.contains("\"a\"") || text.contains("\"b\""), "{text}");
        assert!(text.contains("65536"), "{text}");
    }
    refused_for_new(&sessions, &one_more).await;
    // Each value fits, but both together do not: the error comes at the end of the request.
    let (browser, _) = Browser::with(&sessions, "small", json!(0)).await;
    let (one, other) = (browser.open(&sessions).await, browser.open(&sessions).await);
    one.insert("one", "x".repeat(CAP / 2)).unwrap();
    other.insert("other", "x".repeat(CAP / 2)).unwrap();
    one.finish().await.unwrap();
    let error = other.finish().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("\"other\""), "{error}");
    assert_eq!(browser.open(&sessions).await.keys(), ["one", "small"]);
}

async fn refused_for_new(sessions: &Sessions, value: &str) {
    let session = Browser::default().open(sessions).await;
    let error = session.insert("a", value).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    session.finish().await.unwrap();
    assert_eq!(session.id(), None);
}

async fn promise_10_a_value_up_to_the_depth_is_kept_and_beyond_it_refused(db: Db) {
    let nested = |levels| (0..levels).fold(json!(0), |inner, _| json!([inner]));
    let (_, deepest) = (round_trip(&db, "deep", &nested(32)).await, nested(33));
    let session = Browser::default().open(&db.sessions().await).await;
    for error in [
        session.insert("deep", &deepest).unwrap_err(),
        session.update("deep", |deep: &mut Value| *deep = nested(200)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("\"deep\""), "{error}");
    }
    // The deepest nesting that a policy can allow.
    let sessions = db.builder().await.depth_limit(100).build().unwrap();
    let (browser, _) = Browser::with(&sessions, "deep", nested(100)).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.get("deep").unwrap(), Some(nested(100)));
    assert_eq!(session.data::<Value>().unwrap()["deep"], nested(100));
}

async fn promise_10_what_is_no_json_is_refused(db: Db) {
    let sessions = db.sessions().await;
    let session = Browser::default().open(&sessions).await;
    let pairs = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = session.insert("pairs", pairs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("\"pairs\""), "{error}");
    // JSON has no such number: serde would write null for it.
    let error = session.insert("nan", f64::NAN).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(!session.contains("nan"));
}

async fn promise_10_a_user_id_that_no_database_takes_is_refused(db: Db) {
    let spy = Spy::new();
    let sessions = db.tapped(&spy).build().unwrap();
    let session = Browser::default().open(&sessions).await;
    let long = "é".repeat(128);
    let keep = uuid::Uuid::now_v7().into();
    for user_id in ["", "\0", "ada\0", &long] {
        let errors = [
            session.log_in(user_id).await.unwrap_err(),
            sessions.revoke_user(user_id).await.unwrap_err(),
            sessions.revoke_others(user_id, keep).await.unwrap_err(),
            sessions.count_of_user(user_id).await.unwrap_err(),
            sessions.of_user(user_id).await.unwrap_err(),
            sessions.of_user(user_id).all().await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidUserId, "{user_id:?}");
        }
    }
    assert_eq!(spy.calls(), []);

    let longest = "é".repeat(127);
    for user_id in [&longest, "' or 1=1 --", "\u{2028}", "\u{1}", " ada", "ada", "Ada", "%"] {
        let (browser, _) = Browser::logged_in(&sessions, user_id).await;
        assert_eq!(browser.open(&sessions).await.user_id().as_deref(), Some(user_id));
        assert_eq!(sessions.count_of_user(user_id).await.unwrap(), 1, "{user_id:?}");
    }
    assert_eq!(sessions.revoke_user("%").await.unwrap().ended, 1);
}

async fn promise_10_a_user_agent_is_cleaned_and_cut(db: Db) {
    let sessions = db.sessions().await;
    let agent = format!("a\0\u{1b}[1m\n{}", "🦊".repeat(300));
    let client = Client::new().user_agent(&agent);
    let session = sessions.open(None, client).await.unwrap();
    session.log_in("ada").await.unwrap();
    let devices = session.devices().await.unwrap();
    let kept = format!("a[1m{}", "🦊".repeat(252));
    assert_eq!(devices[0].user_agent.as_deref(), Some(&*kept));
}
