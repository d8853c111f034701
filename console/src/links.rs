//! The addresses of the console's pages.
//!
//! A user's id is in the query and not in the path: proxies and browsers change paths such as `/users/..` and
//! `/users/a%2Fb`.

use std::fmt::Write as _;

use form_urlencoded::Serializer;
use uuid::Uuid;

/// Addresses below a base path, which is empty or begins with a slash and does not end with one.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    base: String,
}

impl Links {
    /// Fails with a sentence if the text is not a path.
    pub(crate) fn new(base: &str) -> Result<Self, String> {
        let trimmed = base.trim_end_matches('/');
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
        let is_path = trimmed.is_empty() || trimmed.starts_with('/') && !trimmed.starts_with("//");
        if is_path && trimmed.chars().all(is_plain) && !trimmed.split('/').any(|part| part == "..")
        {
            return Ok(Self { base: trimmed.to_owned() });
        }
        Err(format!(
            "{base:?} is not a base path: it has to begin with /, and to have only letters, digits, /, -, ., _ and ~"
        ))
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn to(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn overview(&self) -> String {
        self.to("/")
    }

    pub(crate) fn user(&self, id: &str) -> String {
        self.with("/user", &[("id", id)])
    }

    /// With the user's id, because the history of a session is found through its user.
    pub(crate) fn session(&self, id: Uuid, user: Option<&str>) -> String {
        self.of_session(id, "", user)
    }

    pub(crate) fn end_session(&self, id: Uuid, user: Option<&str>) -> String {
        self.of_session(id, "/end", user)
    }

    fn of_session(&self, id: Uuid, action: &str, user: Option<&str>) -> String {
        let pairs: Vec<_> = user.iter().map(|user| ("user", *user)).collect();
        self.with(&format!("/session/{id}{action}"), &pairs)
    }

    pub(crate) fn end_user(&self, id: &str) -> String {
        self.with("/user/end", &[("id", id)])
    }

    pub(crate) fn end_all(&self) -> String {
        self.to("/end")
    }

    pub(crate) fn with(&self, path: &str, pairs: &[(&str, &str)]) -> String {
        let mut link = self.to(path);
        let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
        let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
        if !query.is_empty() {
            let _ = write!(link, "?{query}");
        }
        link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_holds_any_id() {
        let links = Links::new("/admin/sessions/").unwrap();
        assert_eq!(links.overview(), "/admin/sessions/");
        assert_eq!(links.user("../a b&c=ä"), "/admin/sessions/user?id=..%2Fa+b%26c%3D%C3%A4");
        assert_eq!(Links::new("").unwrap().user("ada"), "/user?id=ada");
        assert_eq!(
            links.with("/events", &[("kind", ""), ("user", "x")]),
            "/admin/sessions/events?user=x"
        );
    }

    #[test]
    fn a_text_that_is_no_path_is_refused() {
        for text in ["admin", "//evil.example", "/a/../b", "/a b", "/{id}", "/a?b", "/é"] {
            assert!(Links::new(text).is_err(), "{text}");
        }
    }
}
