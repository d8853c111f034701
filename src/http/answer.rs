//! The answers that the layer gives by itself.

use ::http::{
    HeaderValue, Request, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER},
    request::Parts,
};

use super::layer::Hook;
use crate::error::Error;

/// The parts of a request that the layer's own answer needs.
pub(super) enum Asked {
    /// For the default answer.
    Accept(Option<HeaderValue>),
    /// For the application's answer. Boxed, so that the value is small: most requests never use it.
    Whole(Box<Parts>),
}

impl Asked {
    pub(super) fn of(request: &Parts, hook: Option<&Hook>) -> Self {
        if hook.is_none() {
            return Self::Accept(request.headers.get(ACCEPT).cloned());
        }
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = request.method.clone();
        parts.uri = request.uri.clone();
        parts.version = request.version;
        parts.headers = request.headers.clone();
        Self::Whole(Box::new(parts))
    }

    pub(super) fn answer<B: From<String>>(
        &self,
        error: &Error,
        hook: Option<&Hook>,
    ) -> Response<B> {
        let response = match (self, hook) {
            (Self::Whole(parts), Some(hook)) => hook(error, parts),
            (Self::Whole(parts), None) => by_default(error, parts.headers.get(ACCEPT)),
            (Self::Accept(accept), _) => by_default(error, accept.as_ref()),
        };
        response.map(B::from)
    }
}

pub(super) fn by_default(error: &Error, accept: Option<&HeaderValue>) -> Response<String> {
    let message = message(error);
    let (kind, body) = if accept.is_some_and(wants_json) {
        let body = serde_json::json!({ "error": error.kind().as_str(), "message": message });
        ("application/json", body.to_string())
    } else {
        ("text/plain; charset=utf-8", format!("{message}\n"))
    };
    let mut response = Response::new(body);
    *response.status_mut() = error.status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    say_when_to_retry(&mut response);
    response
}

/// Tells the client when to retry a 503. Without this header, all clients would retry at once.
pub(super) fn say_when_to_retry<B>(response: &mut Response<B>) {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
}

/// The error's text, if the client can do something about the error. A debug build also shows the text of a
/// `Configuration` error, for the programmer.
pub(super) fn message(error: &Error) -> String {
    let is_set_up_wrongly = error.kind() == crate::ErrorKind::Configuration;
    if error.status().is_server_error() && !(cfg!(debug_assertions) && is_set_up_wrongly) {
        return "The session is not available at the moment.".to_owned();
    }
    error.to_string()
}

/// Whether the answer should be JSON: `Accept` names JSON, and does not name HTML as a browser does for a page.
fn wants_json(accept: &HeaderValue) -> bool {
    let ranges = accept.as_bytes().split(|&byte| byte == b',');
    let types = ranges.map(|range| {
        let name = range.split(|&byte| byte == b';').next().unwrap_or_default();
        name.trim_ascii().to_ascii_lowercase()
    });
    let (mut json, mut html) = (false, false);
    for name in types {
        json |= name == b"application/json" || name.ends_with(b"+json");
        html |= name == b"text/html";
    }
    json && !html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn only_what_the_client_can_do_something_about_is_told() {
        let of = |kind| message(&Error::new(kind, "the inside").with_source("deeper inside"));
        for told in [ErrorKind::SessionEnded, ErrorKind::Superseded, ErrorKind::InvalidData] {
            assert_eq!(of(told), "the inside");
        }
        for hidden in
            [ErrorKind::Database, ErrorKind::Schema, ErrorKind::Contention, ErrorKind::WrongType]
        {
            assert!(!of(hidden).contains("inside"), "{hidden:?}");
        }
        let is_built_for_debugging = cfg!(debug_assertions);
        assert_eq!(of(ErrorKind::Configuration).contains("inside"), is_built_for_debugging);
    }

    #[test]
    fn json_is_for_who_names_it() {
        let wants = |accept| wants_json(&HeaderValue::from_static(accept));
        for json in ["application/json", "*/*, Application/JSON;q=0.5", "application/problem+json"]
        {
            assert!(wants(json), "{json}");
        }
        for plain in
            ["", "*/*", "text/plain", "text/html, application/json;q=0.9", "application/jsonp"]
        {
            assert!(!wants(plain), "{plain}");
        }
    }
}
