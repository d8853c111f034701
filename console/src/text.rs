//! Numbers, moments and names as the pages show them.

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};
use sessile_admin::Count;

/// `1,234,567`.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1,234`, `about 980,000`, `more than 50,000`.
pub(crate) fn count(count: Count) -> String {
    match count {
        Count::Exact(exact) => number(exact),
        Count::About(about) => format!("about {}", number(rounded(about))),
        Count::MoreThan(least) => format!("more than {}", number(least)),
    }
}

/// The same, with the word in small letters.
pub(crate) fn count_in_a_tile(of: Count) -> Markup {
    let text = count(of);
    let (word, number) = text.rsplit_once(' ').unwrap_or(("", &text));
    html! { @if !word.is_empty() { small { (word) } " " } (number) }
}

/// To three digits: statistics are not more exact.
fn rounded(number: u64) -> u64 {
    let unit = 10_u64.pow(number.checked_ilog10().unwrap_or(0).saturating_sub(2));
    number.saturating_add(unit / 2) / unit * unit
}

/// `1 session`, `2 sessions`.
pub(crate) fn sessions(count: u64) -> String {
    let noun = if count == 1 { "session" } else { "sessions" };
    format!("{} {noun}", number(count))
}

/// A moment in UTC. The script of the page turns it into "2 minutes ago".
pub(crate) fn moment(at: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(at.to_rfc3339_opts(SecondsFormat::Millis, true)) {
            (at.format("%-d %b %Y, %H:%M")) " UTC"
        }
    }
}

/// The end of a session: one that a person has set to "never" has no date.
pub(crate) fn end(at: DateTime<Utc>) -> Markup {
    if at.timestamp() >= 253_402_300_799 {
        html! { "never" }
    } else {
        moment(at)
    }
}

/// `2 h 5 min`: a length of time in its two largest units.
pub(crate) fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A text that somebody else wrote, in which nothing is invisible or reorders the text beside it.
pub(crate) fn foreign(text: &str) -> Markup {
    html! { bdi { (visible(text)) } }
}

/// Control characters, and those that change the direction of a text, as `\u{202e}`.
pub(crate) fn visible(text: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if hides(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
        shown
    })
}

/// The default realm has no name.
pub(crate) fn realm(realm: &str) -> Markup {
    html! { @if realm.is_empty() { span.quiet { "default" } } @else { (foreign(realm)) } }
}

/// The words of an event's kind.
pub(crate) fn event(kind: &str) -> &str {
    match kind {
        "logged_in" => "logged in",
        "logged_out" => "logged out",
        "revoked" => "ended",
        "reauthenticated" => "authenticated again",
        "refused" => "log-in refused",
        "superseded" => "old secret used",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(count(Count::Exact(50_000)), "50,000");
        assert_eq!(count(Count::About(983_456)), "about 983,000");
        assert_eq!(count(Count::About(0)), "about 0");
        assert_eq!(count(Count::About(u64::MAX)).len(), "about 18,400,000,000,000,000,000".len());
        assert_eq!(duration(7_500), "2 h 5 min");
    }

    #[test]
    fn nothing_is_invisible() {
        assert_eq!(visible("a\u{202e}b\0\u{feff}é🙂"), "a\\u{202e}b\\u{0}\\u{feff}é🙂");
        assert_eq!(foreign("<b>\"'").into_string(), "<bdi>&lt;b&gt;&quot;'</bdi>");
    }
}
