//! "Firefox on Linux", from a user agent.
//!
//! The parser is the ua-parser project's. Its data is in `user-agents/regexes.yaml`, a copy of that project's
//! uap-core (Apache-2.0, see the licence beside it). To update it, replace the file.

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

/// Compiled only once, because there are a thousand expressions: about a second without optimisation.
static EXTRACTORS: LazyLock<Extractors> = LazyLock::new(|| {
    let yaml = include_str!("user-agents/regexes.yaml");
    let regexes: Regexes = serde_saphyr::from_str(yaml).expect("the file is uap-core's");
    let browser = user_agent::Builder::new()
        .push_all(regexes.user_agent_parsers)
        .and_then(|builder| Ok(builder.build()?))
        .expect("the file's browsers compile");
    let system = os::Builder::new()
        .push_all(regexes.os_parsers)
        .expect("the file's systems are expressions")
        .build()
        .expect("the file's systems compile");
    Extractors { browser, system }
});

/// Prepares the parser before the first visitor needs it. Blocks.
pub(crate) fn prepare() {
    LazyLock::force(&EXTRACTORS);
}

pub(crate) fn device_name(agent: Option<&str>) -> String {
    let Some(agent) = agent else {
        return "Unknown device".to_owned();
    };
    let browser = EXTRACTORS.browser.extract(agent).map(|found| {
        // "Mobile Safari", "Chrome Mobile": the system already tells that it is a phone.
        let words = found.family.split(' ').filter(|word| *word != "Mobile");
        words.collect::<Vec<_>>().join(" ")
    });
    let system = EXTRACTORS.system.extract(agent).map(|found| match &*found.os {
        "Mac OS X" => "macOS".to_owned(),
        name => name.to_owned(),
    });
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => "Unknown device".to_owned(),
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
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15",
                "Safari on macOS",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36 Edg/133.0.0.0",
                "Edge on Windows",
            ),
            ("curl/8.5.0", "curl"),
            ("nothing known", "Unknown device"),
        ] {
            assert_eq!(device_name(Some(agent)), name, "{agent}");
        }
        assert_eq!(device_name(None), "Unknown device");
    }
}
