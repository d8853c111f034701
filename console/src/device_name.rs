//! "Firefox on Linux", from a user agent.
//!
//! The parser is the ua-parser project's. Its data, `regexes.yaml`, is that project's uap-core (Apache-2.0, see the
//! licence beside it). In the repository, both are links to the copy of the example shop.

use std::sync::LazyLock;

use serde::Deserialize;
use ua_parser::{os, user_agent};

#[derive(Deserialize)]
struct Regexes {
    user_agent_parsers: Vec<user_agent::Parser<'static>>,
    os_parsers: Vec<os::Parser<'static>>,
}

struct Extractors {
    browser: user_agent::Extractor<'static>,
    system: os::Extractor<'static>,
}

/// Compiled only once, because there are a thousand expressions. `None` if the data does not fit the parser: a page
/// without names is better than none.
static EXTRACTORS: LazyLock<Option<Extractors>> = LazyLock::new(|| {
    let regexes: Regexes = serde_saphyr::from_str(include_str!("regexes.yaml")).ok()?;
    let browser = user_agent::Builder::new().push_all(regexes.user_agent_parsers).ok()?;
    let system = os::Builder::new().push_all(regexes.os_parsers).ok()?;
    Some(Extractors { browser: browser.build().ok()?, system: system.build().ok()? })
});

/// Prepares the parser in a thread of its own, before the first page needs it.
pub(crate) fn prepare() {
    std::thread::spawn(|| LazyLock::force(&EXTRACTORS).is_some());
}

pub(crate) fn device_name(agent: Option<&str>) -> String {
    const UNKNOWN: &str = "Unknown device";
    let (Some(agent), Some(extractors)) = (agent, EXTRACTORS.as_ref()) else {
        return UNKNOWN.to_owned();
    };
    let browser = extractors.browser.extract(agent).map(|found| {
        // "Mobile Safari", "Chrome Mobile": the system already tells that it is a phone.
        let words = found.family.split(' ').filter(|word| *word != "Mobile");
        words.collect::<Vec<_>>().join(" ")
    });
    let system = extractors.system.extract(agent).map(|found| match &*found.os {
        "Mac OS X" => "macOS".to_owned(),
        name => name.to_owned(),
    });
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => UNKNOWN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_names_that_people_give_them() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:135.0) Gecko/20100101 Firefox/135.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Mobile/15E148 Safari/604.1",
                "Safari on iOS",
            ),
            ("curl/8.5.0", "curl"),
            ("nothing known", "Unknown device"),
        ] {
            assert_eq!(device_name(Some(agent)), name, "{agent}");
        }
        assert_eq!(device_name(None), "Unknown device");
    }
}
