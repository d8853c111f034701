use std::collections::HashMap;

use anyhow::Result;
use serde_json::{Value, json};

/// Every load ends with this and every save begins with it, in every store's format.
pub type Values = HashMap<String, Value>;

/// The session data of a small shop: 283 bytes as JSON.
pub fn values() -> Values {
    let values = json!({
        "user": { "id": 48_151_623, "name": "Ada Lovelace", "roles": ["customer", "editor"] },
        "csrf": "mGf0TnJ4c5Zx2Qk7Yb1RkV9sWq3dHe8uLa6pXoEiNtA",
        "cart": [
            { "sku": "K-20417", "n": 2 },
            { "sku": "S-00193", "n": 1 },
            { "sku": "T-88310", "n": 4 },
        ],
        "flash": "Your address has been saved",
        "locale": "en-GB",
        "seen": 1_000_000_000,
    });
    match values {
        Value::Object(values) => values.into_iter().collect(),
        _ => unreachable!(),
    }
}

/// Changes the data, and keeps its length.
pub fn change(values: &mut Values, n: u64) {
    values.insert("seen".to_owned(), Value::from(1_000_000_000 + n % 1_000_000_000));
}

/// As JSON text.
pub fn encode(values: &Values) -> Result<String> {
    Ok(serde_json::to_string(values)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_has_the_length_that_the_tables_name() {
        let mut values = values();
        assert_eq!(encode(&values).unwrap().len(), 283);
        change(&mut values, u64::MAX);
        assert_eq!(encode(&values).unwrap().len(), 283);
    }
}
