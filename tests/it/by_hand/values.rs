//! Data that a person has edited and that still is a JSON object.

use serde::de::IgnoredAny;
use serde_json::{Value, json};
use sessile::ErrorKind;

use super::damage::{row, update};
use crate::support::{Browser, Db, cases};

cases! {
    of_a_key_that_is_there_twice_the_last_value_counts,
    a_value_that_nests_too_deep_is_one_keys_trouble,
    data_that_is_far_too_large_can_shrink,
    what_nobody_touches_stays_as_it_was_written,
}

async fn with_data(db: &Db, sessions: &sessile::Sessions, data: &str) -> Browser {
    let (browser, id) = Browser::with(sessions, "a", json!(1)).await;
    let set = format!("data = '{data}'");
    update(db, "sessions", Some(&set), Some(&set), &row(db, id)).await;
    browser
}

/// As Postgres' jsonb has it, for every call and for the next write.
async fn of_a_key_that_is_there_twice_the_last_value_counts(db: Db) {
    let sessions = db.sessions().await;
    let data = r#"{"a":1,"b":[1],"a":{"x":1},"\u0061":"last","b":2}"#;
    let browser = with_data(&db, &sessions, data).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.get::<String>("a").unwrap().as_deref(), Some("last"));
    assert_eq!(session.keys(), ["a", "b"]);
    assert_eq!(session.data::<Value>().unwrap(), json!({"a": "last", "b": 2}));
    session.insert("c", 3).unwrap();
    session.save().await.unwrap();
    assert_eq!(stored(&db).await, r#"{"a":"last","b":2,"c":3}"#);

    let browser = with_data(&db, &sessions, data).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.take::<String>("a").await.unwrap().as_deref(), Some("last"));
    session.update("b", |b: &mut u32| *b += 1).await.unwrap();
    assert_eq!(stored(&db).await, r#"{"b":3}"#);
    assert_eq!(browser.open(&sessions).await.keys(), ["b"]);
}

/// Of the session that was written to last.
async fn stored(db: &Db) -> String {
    let data = db.texts(
        "select data::text from sessile.sessions order by id desc limit 1",
        "select data from sessions order by id desc limit 1",
    );
    data.await.remove(0)
}

/// serde_json reads 128 levels.
async fn a_value_that_nests_too_deep_is_one_keys_trouble(db: Db) {
    let sessions = db.sessions().await;
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let browser = with_data(&db, &sessions, &format!(r#"{{"deep":{deep},"a":1}}"#)).await;
    let session = browser.open(&sessions).await;
    let error = session.get::<Value>("deep").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert!(error.to_string().contains("\"deep\""), "{error}");
    assert_eq!(session.data::<Value>().unwrap_err().kind(), ErrorKind::WrongType);
    assert!(session.get::<IgnoredAny>("deep").unwrap().is_some());
    session.update("a", |a: &mut u32| *a += 1).await.unwrap();
    assert_eq!(stored(&db).await, format!(r#"{{"a":2,"deep":{deep}}}"#));
    assert!(session.remove("deep"));
    session.save().await.unwrap();
    assert_eq!(browser.open(&sessions).await.data::<Value>().unwrap(), json!({"a": 2}));
}

async fn data_that_is_far_too_large_can_shrink(db: Db) {
    let sessions = db.sessions().await;
    let large = "x".repeat(3 << 20);
    let browser = with_data(&db, &sessions, &format!(r#"{{"large":"{large}","a":1}}"#)).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.get::<String>("large").unwrap().unwrap().len(), large.len());
    assert_eq!(session.insert("b", 1).unwrap_err().kind(), ErrorKind::InvalidData);
    assert!(session.remove("a"));
    session.save().await.unwrap();
    assert!(session.remove("large"));
    session.insert("b", 1).unwrap();
    session.save().await.unwrap();
    assert_eq!(browser.open(&sessions).await.data::<Value>().unwrap(), json!({"b": 1}));
}

async fn what_nobody_touches_stays_as_it_was_written(db: Db) {
    let sessions = db.sessions().await;
    let data = r#"{ "big" : 1e400, "long": 123456789012345678901234567890.10 , "half":"\ud800","nul":"\u0000" }"#;
    let browser = with_data(&db, &sessions, data).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.keys(), ["big", "half", "long", "nul"]);
    assert_eq!(session.get::<String>("nul").unwrap().as_deref(), Some("\0"));
    for key in ["big", "half"] {
        assert_eq!(session.get::<Value>(key).unwrap_err().kind(), ErrorKind::WrongType, "{key}");
    }
    session.insert("a", 1).unwrap();
    session.save().await.unwrap();
    let kept = r#"{"a":1,"big":1e400,"half":"\ud800","long":123456789012345678901234567890.10,"nul":"\u0000"}"#;
    assert_eq!(stored(&db).await, kept);
}
