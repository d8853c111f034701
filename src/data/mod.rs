//! A session's values: one JSON object, by top-level key.

mod lossless;
mod values;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use self::values::Values;
use crate::error::{Error, ErrorKind, Result};

/// The bounds that every write is checked against, before the database sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The size of the whole object as JSON text, in bytes.
    pub(crate) bytes: usize,
    /// How deep arrays and objects may nest in one value.
    pub(crate) depth: usize,
}

/// The object, split at its top level only. A value is parsed when a call reads it. A value that no call changes
/// is written back byte for byte. A clone shares the values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data(Arc<Values>);

impl Data {
    /// An error if the text is not a JSON object.
    pub(crate) fn decode(text: &str) -> Result<Self, Redacted> {
        Ok(Self(Arc::new(serde_json::from_str(text)?)))
    }

    pub(crate) fn encode(&self) -> String {
        serde_json::to_string(&*self.0).expect("a map of strings to JSON text is JSON")
    }

    pub(crate) fn get(&self, key: &str) -> Option<&RawValue> {
        self.0.get(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The whole object as one value.
    pub(crate) fn whole<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.encode()).map_err(|source| {
            let message = format!("the session's data is not a {}", std::any::type_name::<T>());
            Error::new(ErrorKind::WrongType, message).with_source(Redacted::from(source))
        })
    }
}

/// A request's changes to the data, by top-level key. The write applies them to the row's newest data, so that
/// requests that change different keys both persist.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// Whether all values are removed, before the changes by key.
    cleared: bool,
    keys: BTreeMap<String, Option<Box<RawValue>>>,
    /// The length of this data's entries with the changes made, if it was computed and is still valid.
    measured: Option<(Data, usize)>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        !self.cleared && self.keys.is_empty()
    }

    /// The change to a key, if there is one. `Some(None)`: the key is removed.
    pub(crate) fn get(&self, key: &str) -> Option<Option<&RawValue>> {
        match self.keys.get(key) {
            Some(change) => Some(change.as_deref()),
            None => self.cleared.then_some(None),
        }
    }

    /// Whether the changes set at least one value.
    pub(crate) fn sets_any(&self) -> bool {
        self.keys.values().any(Option::is_some)
    }

    pub(crate) fn set(&mut self, key: &str, value: Box<RawValue>) {
        self.measured = None;
        self.keys.insert(key.to_owned(), Some(value));
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.measured = None;
        self.keys.insert(key.to_owned(), None);
    }

    /// Sets or removes a key, if `data` with all changes made is then within `limits`. The cost depends on the size
    /// of the value, not on the number of keys.
    pub(crate) fn record(
        &mut self,
        data: &Data,
        key: &str,
        change: Option<Box<RawValue>>,
        limits: Limits,
    ) -> Result<()> {
        let entry = |value: &RawValue| values::entry(key, value);
        let before = self.get(key).unwrap_or_else(|| data.get(key)).map_or(0, entry);
        let entries = self.entries(data) - before + change.as_deref().map_or(0, entry);
        let length = values::length(entries);
        if length > limits.bytes && change.is_some() {
            return Err(too_large(key, length, limits));
        }
        self.keys.insert(key.to_owned(), change);
        self.measured = Some((data.clone(), entries));
        Ok(())
    }

    /// The length of the entries of `data` with the changes made.
    fn entries(&self, data: &Data) -> usize {
        let is_same = |of: &Data| Arc::ptr_eq(&of.0, &data.0) || (of.is_empty() && data.is_empty());
        match &self.measured {
            Some((of, entries)) if is_same(of) => *entries,
            _ => self.preview(data).0.entries(),
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { cleared: true, ..Self::default() };
    }

    /// Takes the changes out that must be written before or with a write of `key` alone: the change to this key, or
    /// all changes if all values are cleared first.
    pub(crate) fn take_for(&mut self, key: &str) -> Self {
        if self.cleared {
            return std::mem::take(self);
        }
        self.measured = None;
        let keys = self.keys.remove_entry(key).into_iter().collect();
        Self { keys, ..Self::default() }
    }

    /// Adds later changes to these.
    pub(crate) fn then(&mut self, later: Self) {
        if later.cleared || self.is_empty() {
            *self = later;
        } else {
            self.measured = None;
            self.keys.extend(later.keys);
        }
    }

    /// `data` with the changes made, if the result is within `limits`. The error names `key`, or the largest key
    /// that was set.
    pub(crate) fn apply(&self, data: &Data, limits: Limits, key: Option<&str>) -> Result<Data> {
        let changed = self.preview(data);
        let length = values::length(changed.0.entries());
        // If a limit was lowered, data above the new limit may still shrink.
        if length > limits.bytes && self.sets_any() {
            let key = key.or_else(|| self.largest_key()).unwrap_or_default();
            return Err(too_large(key, length, limits));
        }
        Ok(changed)
    }

    /// `data` with the changes made.
    pub(crate) fn preview(&self, data: &Data) -> Data {
        let mut data = if self.cleared { Data::default() } else { data.clone() };
        if self.keys.is_empty() {
            return data;
        }
        let values = Arc::make_mut(&mut data.0);
        for (key, change) in &self.keys {
            match change {
                Some(value) => values.insert(key.clone(), value.clone()),
                None => values.remove(key),
            }
        }
        data
    }

    fn largest_key(&self) -> Option<&str> {
        let size = |change: &Option<Box<RawValue>>| change.as_ref().map_or(0, |v| v.get().len());
        self.keys.iter().max_by_key(|(_, change)| size(change)).map(|(key, _)| key.as_str())
    }
}

/// A value as JSON text, if it is within `limits` by itself and reads back unchanged.
pub(crate) fn encode<T: Serialize + ?Sized>(
    key: &str,
    value: &T,
    limits: Limits,
) -> Result<Box<RawValue>> {
    let text = to_raw_value(value).map_err(|source| {
        let message = format!("the value of {key:?} cannot be written as JSON");
        Error::new(ErrorKind::InvalidData, message).with_source(source)
    })?;
    lossless::check(value).map_err(|lossy| {
        let message = format!("the value of {key:?} would not come back as it is: {lossy}");
        Error::new(ErrorKind::InvalidData, message)
    })?;
    if text.get().len() > limits.bytes {
        return Err(too_large(key, text.get().len(), limits));
    }
    let depth = depth(text.get());
    if depth > limits.depth {
        let message = format!(
            "the value of {key:?} nests {depth} levels deep, the limit is {}",
            limits.depth
        );
        return Err(Error::new(ErrorKind::InvalidData, message));
    }
    Ok(text)
}

/// Parses a value. This runs code of the application, because its types may implement `Deserialize` themselves.
pub(crate) fn parse<T: DeserializeOwned>(key: &str, value: &RawValue) -> Result<T> {
    serde_json::from_str(value.get()).map_err(|source| {
        let message = format!("the value of {key:?} is not a {}", std::any::type_name::<T>());
        Error::new(ErrorKind::WrongType, message).with_source(Redacted::from(source))
    })
}

/// The place and the kind of a failure to parse a stored value. serde's own text would quote the value.
#[derive(Debug)]
pub(crate) struct Redacted {
    category: serde_json::error::Category,
    line: usize,
    column: usize,
}

impl From<serde_json::Error> for Redacted {
    fn from(error: serde_json::Error) -> Self {
        Self { category: error.classify(), line: error.line(), column: error.column() }
    }
}

impl std::fmt::Display for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} error at line {} column {}", self.category, self.line, self.column)
    }
}

impl std::error::Error for Redacted {}

fn too_large(key: &str, length: usize, limits: Limits) -> Error {
    let message = format!(
        "{key:?} would make the session's data {length} bytes of JSON, the limit is {}",
        limits.bytes
    );
    Error::new(ErrorKind::InvalidData, message)
}

/// The depth to which arrays and objects nest in valid JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
