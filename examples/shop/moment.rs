//! Times in words.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

/// "2 minutes ago", with the exact time as a tooltip.
pub(crate) fn moment(at: DateTime<Utc>) -> Markup {
    // This machine's clock is good enough for a text. No session depends on it.
    #[expect(clippy::disallowed_methods)]
    let now = Utc::now();
    let exact = at.format("%-d %B %Y, %H:%M:%S UTC").to_string();
    html! { time datetime=(at.to_rfc3339()) title=(exact) { (relative(at, now)) } }
}

/// "3 March 2026".
pub(crate) fn day(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(at.to_rfc3339()) { (at.format("%-d %B %Y").to_string()) } }
}

fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds();
    let (amount, unit) = match seconds.abs() {
        ..45 => return if seconds < 0 { "in a moment" } else { "just now" }.to_owned(),
        s @ ..2_700 => ((s + 30) / 60, "minute"),
        s @ ..79_200 => ((s + 1_800) / 3_600, "hour"),
        s => ((s + 43_200) / 86_400, "day"),
    };
    let plural = if amount == 1 { "" } else { "s" };
    match seconds < 0 {
        true => format!("in {amount} {unit}{plural}"),
        false => format!("{amount} {unit}{plural} ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_people_say_them() {
        let now = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        let after = |seconds| relative(now - chrono::TimeDelta::seconds(seconds), now);
        assert_eq!(after(0), "just now");
        assert_eq!(after(44), "just now");
        assert_eq!(after(60), "1 minute ago");
        assert_eq!(after(125), "2 minutes ago");
        assert_eq!(after(3_600), "1 hour ago");
        assert_eq!(after(2 * 86_400), "2 days ago");
        assert_eq!(after(-20), "in a moment");
        assert_eq!(after(-7_200), "in 2 hours");
    }
}
