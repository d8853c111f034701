//! One handler, two answers: JSON for programs, pages for people.

use std::convert::Infallible;

use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderMap, header::ACCEPT, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use maud::Markup;
use serde::Serialize;

/// The form of the answer: JSON if `Accept` names it and does not also name HTML.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    Json,
    Html,
}

impl Wants {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let names = |media_type| {
            let mut values = headers.get_all(ACCEPT).iter();
            values.any(|value| value.to_str().is_ok_and(|text| text.contains(media_type)))
        };
        match names("application/json") && !names("text/html") {
            true => Self::Json,
            false => Self::Html,
        }
    }

    /// An answer that shows data.
    pub(crate) fn see(self, json: impl Serialize, html: impl FnOnce() -> Markup) -> Response {
        match self {
            Self::Json => Json(json).into_response(),
            Self::Html => html().into_response(),
        }
    }

    /// The answer to a form. It redirects a browser to the page that shows the result, so that a reload
    /// repeats nothing.
    pub(crate) fn done(self, json: impl IntoResponse, next: &str) -> Response {
        match self {
            Self::Json => json.into_response(),
            Self::Html => Redirect::to(next).into_response(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Wants {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.headers))
    }
}

/// A path on this site to redirect to. Other targets that a visitor sends are ignored.
pub(crate) fn local_path(next: Option<&str>) -> Option<&str> {
    let next = next?;
    // A browser reads "//host" and "/\host" as another site.
    let is_local = next.starts_with('/') && !next[1..].starts_with(['/', '\\']);
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic());
    (is_local && is_plain).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_site_is_gone_on_to() {
        for here in ["/", "/devices", "/cart?a=b#c"] {
            assert_eq!(local_path(Some(here)), Some(here));
        }
        for elsewhere in [
            "",
            "cart",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nb",
            "/\té",
        ] {
            assert_eq!(local_path(Some(elsewhere)), None, "{elsewhere:?}");
        }
    }
}
