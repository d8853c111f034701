//! Moments as the two databases write them into JSON.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

/// Postgres writes a text, SQLite the milliseconds since 1970. A moment that a person has written, and that no clock
/// shows (`infinity`, a year before Christ), becomes the nearest one that a page can show.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Millis(i64),
}

impl Written {
    fn moment(&self) -> DateTime<Utc> {
        const LAST: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;
        let found = match self {
            Self::Text(text) if text.starts_with("-infinity") || text.ends_with("BC") => None,
            Self::Text(text) => {
                Some(DateTime::parse_from_rfc3339(text).map_or(LAST, |at| at.with_timezone(&Utc)))
            }
            Self::Millis(millis) => {
                DateTime::from_timestamp_millis(*millis).or((*millis > 0).then_some(LAST))
            }
        };
        let last = DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(LAST); // The end of the year 9999.
        found.unwrap_or(DateTime::UNIX_EPOCH).clamp(DateTime::UNIX_EPOCH, last)
    }
}

pub(crate) fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<DateTime<Utc>, D::Error> {
    Ok(Written::deserialize(from)?.moment())
}

pub(crate) fn moment_or_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    Ok(Option::<Written>::deserialize(from)?.map(|written| written.moment()))
}

/// SQLite writes a boolean as 0 or 1.
pub(crate) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value.as_bool().or(value.as_i64().map(|number| number != 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> String {
        moment(&mut serde_json::Deserializer::from_str(json)).unwrap().to_rfc3339()
    }

    #[test]
    fn a_moment_that_no_clock_shows_is_the_nearest_one() {
        assert_eq!(read("\"2026-11-27T09:30:00.25+02:00\""), "2026-11-27T07:30:00.250+00:00");
        assert_eq!(read("1764235800250"), "2025-11-27T09:30:00.250+00:00");
        assert_eq!(read("\"infinity\""), "9999-12-31T23:59:59+00:00");
        assert_eq!(read("9223372036854775807"), "9999-12-31T23:59:59+00:00");
        assert_eq!(read("\"-infinity\""), "1970-01-01T00:00:00+00:00");
        assert_eq!(read("\"0044-03-15T00:00:00+00:00 BC\""), "1970-01-01T00:00:00+00:00");
        assert_eq!(read("-9223372036854775808"), "1970-01-01T00:00:00+00:00");
    }
}
