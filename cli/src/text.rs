//! Texts of browsers and people, made safe to print.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// Whether a terminal, or a person who reads it, could be led astray: control characters, which move the cursor or worse,
/// and the marks that turn the direction of text around (Unicode, UAX 9).
fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{61c}')
}

/// The text with such characters written as `\u{1b}`.
pub(crate) fn shown(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, char| {
        if is_unsafe(char) {
            shown.extend(char.escape_unicode());
        } else {
            shown.push(char);
        }
        shown
    })
}

/// The same in JSON, where they occur in strings only, and the escape has four digits.
pub(crate) fn json(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut json, char| {
        if is_unsafe(char) && char != '\n' {
            json.push_str(&format!("\\u{:04x}", char as u32));
        } else {
            json.push(char);
        }
        json
    })
}

/// A cell that no spreadsheet takes for a formula (OWASP, CSV injection).
pub(crate) fn cell(text: &str) -> String {
    let text = shown(text);
    if text.starts_with(['=', '+', '-', '@', '\\']) { format!("'{text}") } else { text }
}

/// `2026-11-26 18:02:33`, in UTC.
pub(crate) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " ").trim_end_matches('Z').to_owned()
}

/// `5m ago`, `in 3h`, by the database's clock.
pub(crate) fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if at > now { format!("in {}", rough(at - now)) } else { format!("{} ago", rough(now - at)) }
}

/// The largest unit of a duration: `3h`.
pub(crate) fn rough(delta: TimeDelta) -> String {
    let whole =
        humantime::format_duration(Duration::from_secs(delta.num_seconds().max(0).unsigned_abs()));
    let whole = whole.to_string();
    let largest = whole.split(' ').next().unwrap_or_default();
    let digits = largest.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    match &largest[digits.len()..] {
        "day" | "days" => format!("{digits}d"),
        "month" | "months" => format!("{digits}mo"),
        "year" | "years" => format!("{digits}y"),
        _ => largest.to_owned(),
    }
}

/// `1,234,567`.
/// A user agent for people.
pub(crate) fn agent(user_agent: Option<&str>) -> &str {
    match user_agent {
        Some(sealed) if sessile_admin::is_sealed(sealed) => "(sealed)",
        agent => agent.unwrap_or_default(),
    }
}

pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Shortened to so many characters.
pub(crate) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_moves_the_cursor_or_turns_the_text_around() {
        assert_eq!(
            shown("a\x1b[31m\r\n\u{9b}\u{202e}ü"),
            "a\\u{1b}[31m\\u{d}\\u{a}\\u{9b}\\u{202e}ü"
        );
        assert_eq!(json("\"\u{9b}\u{202e}\u{7f}ü\"\n"), "\"\\u009b\\u202e\\u007fü\"\n");
    }

    #[test]
    fn no_cell_begins_as_a_formula_does() {
        for formula in ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"] {
            assert!(cell(formula).starts_with('\''), "{formula:?}");
        }
        assert_eq!(cell("ada@example.org"), "ada@example.org");
    }

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!(
            (grouped(0), grouped(999), grouped(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        assert_eq!(relative(now - TimeDelta::seconds(3_700), now), "1h ago");
        assert_eq!(relative(now + TimeDelta::seconds(61), now), "in 1m");
        let rough_days = [1, 2, 45, 800].map(|days| rough(TimeDelta::days(days)));
        assert_eq!(rough_days, ["1d", "2d", "1mo", "2y"]);
        assert_eq!(rough(TimeDelta::seconds(-5)), "0s");
        assert_eq!((short("abcdef", 4), short("abcd", 4)), ("abc…".into(), "abcd".into()));
    }
}
