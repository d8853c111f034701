//! Values by key, and how long they are as JSON.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The values of an object by key. It always knows how many bytes `serde_json` makes of it, so that nobody
/// has to write it out to learn that.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    by_key: BTreeMap<String, Box<RawValue>>,
    /// Of all entries, each with a comma.
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

    /// Of all entries, each with a comma: see [`length`].
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

/// The bytes of an object with these entries: the last one has no comma.
pub(super) fn length(entries: usize) -> usize {
    if entries == 0 { "{}".len() } else { "{}".len() + entries - ",".len() }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_key.serialize(serializer)
    }
}

/// Of a key that the object has twice, the last value counts, as for Postgres' `jsonb`.
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
