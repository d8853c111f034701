//! Values by key, and their length as JSON.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The values of an object by key. It keeps count of the bytes that `serde_json` writes for it, so that a check of
/// the limit does not have to write the object.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    by_key: BTreeMap<String, Box<RawValue>>,
    /// The bytes of all entries, each with a comma.
    entries: usize,
}

impl Values {
    pub(super) fn get(&self, key: &str) -> Option<&RawValue> {
        self.by_key.get(key).map(|value| &**value)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.by_key.keys()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn insert(&mut self, key: String, value: Box<RawValue>) {
        let (around, length) = (around(&key), value.get().len());
        self.entries += around + length;
        if let Some(before) = self.by_key.insert(key, value) {
            self.entries -= around + before.get().len();
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(before) = self.by_key.remove(key) {
            self.entries -= entry(key, &before);
        }
    }

    /// The bytes of all entries, each with a comma: see [`length`].
    pub(super) fn entries(&self) -> usize {
        self.entries
    }
}

/// The bytes of an entry and a comma.
pub(super) fn entry(key: &str, value: &RawValue) -> usize {
    around(key) + value.get().len()
}

/// The bytes of an entry without its value.
fn around(key: &str) -> usize {
    // Every character stands for itself, except those that JSON escapes.
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0x00..0x20 => 6,
        _ => 1,
    };
    r#""":,"#.len() + key.bytes().map(escaped).sum::<usize>()
}

/// The bytes of an object with these entries. The last entry has no comma.
pub(super) fn length(entries: usize) -> usize {
    if entries == 0 { "{}".len() } else { "{}".len() + entries - ",".len() }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_key.serialize(serializer)
    }
}

/// If the object has a key twice, the last value counts, as in Postgres' `jsonb`.
impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Values, A::Error> {
                let mut values = Values::default();
                while let Some((key, value)) = object.next_entry()? {
                    values.insert(key, value);
                }
                Ok(values)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Changes, Data, Limits};

    /// The count is right for all values, in every order.
    #[test]
    fn the_length_is_known_without_writing_the_data() {
        const KEYS: [&str; 8] =
            ["", "a", "a \"quoted\" \\", "\n\t\u{8}\u{c}\r", "\0\u{1f}", "\u{7f}", "é😀", "b"];
        let pick = |n: usize| rand::random_range(0..n);
        let value = || RawValue::from_string("1".repeat(1 + pick(30))).unwrap();
        for _ in 0..300 {
            let bytes = 60 + pick(200);
            let limits = Limits { bytes, depth: 3 };
            let mut data = Data::decode(r#"{"a":1,"b":  [2] , "a":3,"\u0000\u001f":4}"#).unwrap();
            let mut changes = Changes::default();
            for _ in 0..40 {
                let (key, value) = (KEYS[pick(KEYS.len())], value());
                match pick(12) {
                    0 => changes.clear(),
                    1 => data = changes.take_for(key).preview(&data),
                    2 => data = std::mem::take(&mut changes).preview(&data),
                    3 => changes.set(key, value),
                    4 => changes.remove(key),
                    5 => {
                        let mut later = Changes::default();
                        later.set(key, value);
                        changes.then(later);
                    }
                    6 | 7 => changes.record(&data, key, None, limits).unwrap(),
                    _ => {
                        let mut after = changes.clone();
                        after.set(key, value.clone());
                        let bytes_after = after.preview(&data).encode().len();
                        match changes.record(&data, key, Some(value), limits) {
                            Ok(()) => assert!(bytes_after <= bytes),
                            Err(_) => assert!(bytes_after > bytes),
                        }
                    }
                }
                let after = changes.preview(&data);
                assert_eq!(length(changes.entries(&data)), after.encode().len());
                assert_eq!(length(after.0.entries()), after.encode().len());
            }
        }
    }
}
