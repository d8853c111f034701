//! The values that come back unchanged, and the values that are refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sessile::ErrorKind;

use crate::support::{Browser, Db, cases};

cases! {
    a_value_that_would_not_come_back_is_refused,
    every_type_comes_back_as_it_was,
    what_serde_loses_is_an_error_and_no_other_value,
}

async fn a_value_that_would_not_come_back_is_refused(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "price", json!(1.5)).await;
    let session = browser.open(&sessions).await;
    let refused = [
        session.insert("price", f64::INFINITY).unwrap_err(),
        session.insert("price", json_of(f64::NAN)).unwrap_err(),
        session.insert("price", Some(None::<f64>)).unwrap_err(),
        session.update("price", |price: &mut f64| *price /= 0.0).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("\"price\""), "{error}");
    }
    session.finish().await.unwrap();
    assert_eq!(browser.open(&sessions).await.get("price").unwrap(), Some(1.5));
}

fn json_of(float: f64) -> BTreeMap<&'static str, Vec<f64>> {
    BTreeMap::from([("of", vec![1.0, float])])
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
enum Tagged {
    Unit,
    One(i128),
    Two(u8, String),
    Named { at: chrono::DateTime<chrono::Utc> },
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum InternallyTagged {
    Card { last_four: String },
    Invoice { days: u16, note: Option<String> },
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
    Many(Vec<f64>),
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Flat {
    id: u64,
    #[serde(flatten)]
    rest: BTreeMap<String, Untagged>,
}

type Read = Box<dyn FnOnce(&sessile::Session)>;

/// Each value goes through the database, and so do two hundred random floats.
async fn every_type_comes_back_as_it_was(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    let mut reads: Vec<Read> = Vec::new();
    macro_rules! comes_back {
        ($($value:expr => $type:ty),* $(,)?) => {$({
            let (key, value): (String, $type) = (format!("key {}", reads.len()), $value);
            session.insert(&key, &value).unwrap();
            reads.push(Box::new(move |session| {
                assert_eq!(session.get::<$type>(&key).unwrap(), Some(value));
            }));
        })*};
    }
    comes_back! {
        true => bool,
        'ß' => char,
        "\0 \u{10ffff} \"quoted\" \\".to_owned() => String,
        (i64::MIN, u64::MAX) => (i64, u64),
        (i128::MIN, u128::MAX) => (i128, u128),
        vec![0, 127, 255] => Vec<u8>,
        () => (),
        Some(Some(1)) => Option<Option<u8>>,
        vec![None, Some(1)] => Vec<Option<u8>>,
        BTreeMap::from([(-1, 'a'), (i64::MAX, 'b')]) => BTreeMap<i64, char>,
        BTreeMap::from([(u128::MAX, true)]) => BTreeMap<u128, bool>,
        BTreeMap::from([(true, 1), (false, 0)]) => BTreeMap<bool, u8>,
        BTreeMap::from([('x', 1)]) => BTreeMap<char, u8>,
        vec![Tagged::Unit, Tagged::One(i128::MIN), Tagged::Two(1, "a".to_owned())] => Vec<Tagged>,
        Tagged::Named { at: chrono::DateTime::from_timestamp(1, 123_456_789).unwrap() } => Tagged,
        chrono::NaiveDate::from_ymd_opt(2024, 2, 29).unwrap() => chrono::NaiveDate,
        std::time::Duration::new(u64::MAX, 999_999_999) => std::time::Duration,
        InternallyTagged::Card { last_four: "0042".to_owned() } => InternallyTagged,
        InternallyTagged::Invoice { days: 30, note: None } => InternallyTagged,
        vec![Untagged::Number(-1), Untagged::Text("1".to_owned()), Untagged::Many(vec![0.1])] => Vec<Untagged>,
        Flat { id: 1, rest: BTreeMap::from([("a".to_owned(), Untagged::Number(2))]) } => Flat,
        "10.10".to_owned() => String,
        (f32::MAX, f32::MIN_POSITIVE, 0.1) => (f32, f32, f32),
        (f64::MAX, f64::MIN_POSITIVE, 5e-324) => (f64, f64, f64),
        std::iter::repeat_with(|| f64::from_bits(rand::random()))
            .filter(|float| float.is_finite())
            .take(200)
            .collect() => Vec<f64>,
    }
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    for read in reads {
        read(&session);
    }
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
enum Wide {
    Integer(u128),
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind")]
enum Counted {
    Votes { of: BTreeMap<u32, u32> },
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Flattened {
    #[serde(flatten)]
    of: BTreeMap<u32, u32>,
}

async fn what_serde_loses_is_an_error_and_no_other_value(db: Db) {
    let sessions = db.sessions().await;
    let session = Browser::default().open(&sessions).await;
    let of = BTreeMap::from([(1, 2)]);
    session.insert("wide", Wide::Integer(u128::MAX)).unwrap();
    session.insert("counted", Counted::Votes { of: of.clone() }).unwrap();
    session.insert("flattened", Flattened { of }).unwrap();
    let errors = [
        session.get::<Wide>("wide").unwrap_err(),
        session.get::<Counted>("counted").unwrap_err(),
        session.get::<Flattened>("flattened").unwrap_err(),
    ];
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::WrongType), "{errors:?}");
}
