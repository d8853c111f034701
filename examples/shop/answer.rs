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
