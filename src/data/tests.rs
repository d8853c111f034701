use serde_json::{Value, json};

use super::*;

const LIMITS: Limits = Limits { bytes: 100, depth: 3 };

fn changes(set: &[(&str, Value)], removed: &[&str]) -> Changes {
    let mut changes = Changes::default();
    for (key, value) in set {
        changes.set(key, encode(key, value, LIMITS).unwrap());
    }
    for key in removed {
        changes.remove(key);
    }
    changes
}

#[test]
fn what_nobody_touches_goes_back_as_it_came() {
    let text = r#"{"a":1.10,"b":"\u0000\ud83d\ude00","c":{"z":1,"a":12345678901234567890123}}"#;
    let data = changes(&[("d", json!(1))], &[]).preview(&Data::decode(text).unwrap());
    assert_eq!(data.encode(), format!(r#"{},"d":1}}"#, &text[..text.len() - 1]));
    assert_eq!(parse::<String>("b", data.get("b").unwrap()).unwrap(), "\0😀");
}

#[test]
fn changes_follow_each_other() {
    let before = Data::decode(r#"{"a":1,"b":2,"c":3}"#).unwrap();
    let mut all = changes(&[("a", json!(10)), ("d", json!(4))], &["b"]);
    all.then(changes(&[("b", json!(20))], &["d"]));
    assert_eq!(all.preview(&before).encode(), r#"{"a":10,"b":20,"c":3}"#);

    let mut cleared = Changes::default();
    cleared.clear();
    cleared.then(changes(&[("x", json!(1))], &[]));
    all.then(cleared);
    assert_eq!(all.preview(&before).encode(), r#"{"x":1}"#);
}

#[test]
fn a_write_of_one_key_takes_only_what_concerns_it() {
    let mut all = changes(&[("a", json!(1)), ("b", json!(2))], &[]);
    let taken = all.take_for("a");
    assert_eq!(taken.preview(&Data::default()).encode(), r#"{"a":1}"#);
    assert_eq!(all.preview(&Data::default()).encode(), r#"{"b":2}"#);
    all.clear();
    all.then(changes(&[("c", json!(3))], &[]));
    let taken = all.take_for("a");
    assert_eq!(taken.preview(&Data::decode(r#"{"z":0}"#).unwrap()).encode(), r#"{"c":3}"#);
    assert!(all.is_empty());
}

#[test]
fn limits_name_the_key() {
    let error = encode("big", &"x".repeat(101), LIMITS).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("\"big\""), "{error}");

    let error = encode("deep", &json!([[[[]]]]), LIMITS).unwrap_err();
    assert!(error.to_string().contains("\"deep\" nests 4 levels"), "{error}");
    assert!(encode("brackets in a string", "[[[[\\\"[[[[", LIMITS).is_ok());
    assert!(encode("brackets side by side", &json!([[[]], [[]], [[]]]), LIMITS).is_ok());

    let before = Data::decode(&format!(r#"{{"a":"{}"}}"#, "x".repeat(80))).unwrap();
    let error =
        changes(&[("b", json!("y".repeat(20)))], &[]).apply(&before, LIMITS, None).unwrap_err();
    assert!(error.to_string().contains("\"b\""), "{error}");
}

#[test]
fn changes_say_what_becomes_of_a_key() {
    let mut all = changes(&[("a", json!(1))], &["b"]);
    fn text(value: Option<Option<&RawValue>>) -> Option<Option<&str>> {
        value.map(|value| value.map(RawValue::get))
    }
    assert_eq!(["a", "b", "c"].map(|key| text(all.get(key))), [Some(Some("1")), Some(None), None]);
    all.clear();
    all.then(changes(&[("c", json!(3))], &[]));
    assert_eq!(["a", "c"].map(|key| text(all.get(key))), [Some(None), Some(Some("3"))]);
}

#[test]
fn an_error_does_not_quote_the_value() {
    let data = Data::decode(r#"{"card":"4111111111111111"}"#).unwrap();
    let error = parse::<u32>("card", data.get("card").unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert!(!format!("{error} {error:?}").contains("4111"), "{error:?}");
    let error = Data::decode("[4111]").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("4111"), "{error:?}");
}

#[test]
fn of_a_key_that_is_there_twice_the_last_value_counts() {
    let data = Data::decode(r#"{"a":1,"b":2,"a":[3],"\u0061":4}"#).unwrap();
    assert_eq!(data.get("a").unwrap().get(), "4");
    assert_eq!(data.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(data.encode(), r#"{"a":4,"b":2}"#);
    assert_eq!(data.whole::<Value>().unwrap(), json!({"a": 4, "b": 2}));
    assert_eq!(values::length(data.0.entries()), data.encode().len());
}

#[test]
fn a_limit_itself_is_within_the_limit() {
    assert!(encode("a", &"x".repeat(98), LIMITS).is_ok());
    assert!(encode("a", &json!([[[]]]), LIMITS).is_ok());
    let exactly = changes(&[("a", json!("x".repeat(92)))], &[]);
    let data = exactly.apply(&Data::default(), LIMITS, None).unwrap();
    assert_eq!(data.encode().len(), LIMITS.bytes);
    assert!(exactly.apply(&Data::decode(r#"{"b":1}"#).unwrap(), LIMITS, None).is_err());
}

#[test]
fn data_above_a_lowered_limit_may_shrink_and_not_grow() {
    let before = Data::decode(&format!(r#"{{"a":"{}","b":1}}"#, "x".repeat(200))).unwrap();
    assert!(changes(&[], &["b"]).apply(&before, LIMITS, None).is_ok());
    assert!(changes(&[("b", json!(2))], &[]).apply(&before, LIMITS, None).is_err());
}

/// The length is computed once for each data, and not for each change.
#[test]
fn the_length_is_that_of_the_data_at_hand() {
    let large = Data::decode(&format!(r#"{{"a":"{}"}}"#, "x".repeat(70))).unwrap();
    let value = || Some(encode("b", &"y".repeat(20), LIMITS).unwrap());
    for (first, then, is_ok) in [
        (Data::default(), &large, false),
        (large.clone(), &Data::default(), true),
        (Data::default(), &Data::default(), true),
    ] {
        let mut all = Changes::default();
        all.record(&first, "b", None, LIMITS).unwrap();
        assert_eq!(all.record(then, "b", value(), LIMITS).is_ok(), is_ok);
    }
}

#[test]
fn only_data_without_a_key_is_empty() {
    assert!(Data::default().is_empty());
    assert!(!Data::decode(r#"{"a":null}"#).unwrap().is_empty());
}

#[test]
fn an_error_says_where_it_is() {
    let error = Data::decode("{\n\"a\": 1,,").unwrap_err();
    assert_eq!(error.to_string(), "Syntax error at line 2 column 8");
}
