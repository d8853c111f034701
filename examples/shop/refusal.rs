//! The look of a refusal, for programs and for people.

use std::borrow::Cow;

use axum::{
    Json,
    body::Body,
    extract::Request,
    http::{
        Method, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
        request::Parts,
    },
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde_json::json;
use sessile::{ErrorKind, Session};

use crate::{
    answer::Wants,
    page::{self, Visitor},
};

pub(crate) type Result<T, E = Refusal> = std::result::Result<T, E>;

/// A status and a sentence. [`explain_refusals`] puts them into the form that the client wants.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { status, message }
    }

    pub(crate) fn unprocessable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The shop cannot reach its database. Nothing of yours is lost: try again in a moment.",
        )
    }

    /// For a request with a superseded cookie.
    pub(crate) fn superseded() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "You logged in or gave your password in the meantime, perhaps in another tab. So nothing was done here. Please reload the page.",
        )
    }

    /// The session layer's own answer. [`explain_refusals`] explains it.
    pub(crate) fn of_layer(error: &sessile::Error, _: &Parts) -> Response<String> {
        let refusal = Self::from(error.clone());
        let mut response = Response::new(String::new());
        *response.status_mut() = refusal.status;
        response.extensions_mut().insert(refusal);
        response
    }

    fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(status, "That cannot be done here."),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(status, "That is more than fits."),
            _ if status.is_server_error() => Self::new(status, "Something went wrong on our side."),
            _ => Self::new(status, "The request makes no sense here."),
        }
    }
}

impl From<sessile::Error> for Refusal {
    fn from(error: sessile::Error) -> Self {
        let status = error.status();
        match error.kind() {
            ErrorKind::Superseded => Self::superseded(),
            _ if status.is_server_error() => Self::of(status),
            _ => Self::new(status, error.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Turns any error without a form into `{"error": …}` or a page.
pub(crate) async fn explain_refusals(request: Request, next: Next) -> Response {
    let wants = Wants::of(request.headers());
    // The path to which a browser may return.
    let path = match *request.method() {
        Method::GET => request.uri().path().to_owned(),
        _ => "/".to_owned(),
    };
    let extensions = request.extensions().clone();
    let mut response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_explained = response.headers().get(CONTENT_TYPE).is_some_and(|value| {
        value.as_bytes().starts_with(b"text/html")
            || value.as_bytes().starts_with(b"application/json")
    });
    if !is_error || is_explained {
        return response;
    }
    let refusal = response.extensions_mut().remove::<Refusal>();
    let Refusal { message, .. } = refusal.unwrap_or_else(|| Refusal::of(status));
    let explained = match wants {
        Wants::Json => (status, Json(json!({ "error": message }))).into_response(),
        Wants::Html if status == StatusCode::UNAUTHORIZED => {
            Redirect::to(&format!("/login?next={path}")).into_response()
        }
        Wants::Html => {
            // Does not query a database that has just failed. And no page shows a visitor as logged out
            // because of a failed database or a superseded cookie.
            let is_unknown = status.is_server_error() || status == StatusCode::CONFLICT;
            let session = match is_unknown {
                true => None,
                false => Session::of(&extensions).await.ok(),
            };
            let visitor = session.map(|session| Visitor::of(&session, path.clone()));
            (status, error_page(visitor.as_ref(), status, &message, &path)).into_response()
        }
    };
    // The cookie of the first response stays.
    let (mut head, _) = response.into_parts();
    let (new_head, body) = explained.into_parts();
    head.status = new_head.status;
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(CONTENT_TYPE);
    head.headers.extend(new_head.headers);
    Response::from_parts(head, Body::new(body))
}

fn error_page(visitor: Option<&Visitor>, status: StatusCode, message: &str, path: &str) -> Markup {
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::SERVICE_UNAVAILABLE => "Closed for a moment",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::CONFLICT => "Once more, please",
        _ if status.is_server_error() => "Something broke",
        _ => "That did not work",
    };
    let content = html! {
        section.narrow.error {
            p.eyebrow { "Error " (status.as_u16()) }
            h1 { (title) }
            p.lead { (message) }
            @if status == StatusCode::CONFLICT {
                p { a.button.primary href=(path) { "Reload" } }
            } @else {
                p { a.button href="/" { "Back to the shop" } }
            }
        }
    };
    page::render(visitor, title, &content)
}
