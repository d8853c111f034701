//! Why a request has no page: shown in the frame of the pages, with the right status.

use axum::{
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use sessile_admin::{Error, ErrorKind};

pub(crate) type Result<T, E = Problem> = std::result::Result<T, E>;

/// A page about a failure. As a response it has no body: [`crate::door`] adds the frame.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) message: String,
    pub(crate) remedy: &'static str,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        title: &'static str,
        message: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        Self { status, title, message: message.into(), remedy }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", message, "search for the user or the session")
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        const REMEDY: &str = "go back, and change it";
        Self::new(StatusCode::BAD_REQUEST, "That is not valid", message, REMEDY)
    }

    pub(crate) fn may_not_end() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Not allowed",
            "You may look at sessions, and not end them.",
            "ask somebody who may end sessions",
        )
    }

    pub(crate) fn forged() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Nothing was ended",
            "The form was not sent from a page of this console, or the page was too old.",
            "open the page again, and send the form from there",
        )
    }

    pub(crate) fn too_slow() -> Self {
        Error::new(ErrorKind::Unreachable, "the database does not answer").into()
    }

    /// The page of a status that another part of the server has chosen.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found("There is no such page."),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                "Not possible",
                "This page takes no such request.",
                "go to the overview",
            ),
            status if status.is_server_error() => Self::new(
                status,
                "Something broke",
                "The console failed.",
                "see the log of the application",
            ),
            status => Self::new(
                status,
                "That is not valid",
                "The console does not understand the request.",
                "go to the overview, and try again",
            ),
        }
    }

    pub(crate) fn markup(&self) -> Markup {
        html! {
            section.problem {
                p.eyebrow { "Error " (self.status.as_u16()) }
                h1 { (self.title) }
                p.lead { (sentence(&self.message)) }
                p { strong { "What to do: " } (self.remedy) "." }
            }
        }
    }
}

/// The text with a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let (status, title) = match error.kind() {
            ErrorKind::Input => (StatusCode::BAD_REQUEST, "That is not valid"),
            ErrorKind::Unreachable => (StatusCode::SERVICE_UNAVAILABLE, "The database is down"),
            ErrorKind::NoSchema => (StatusCode::SERVICE_UNAVAILABLE, "No sessions here yet"),
            ErrorKind::NewerSchema => (StatusCode::SERVICE_UNAVAILABLE, "The console is too old"),
            ErrorKind::Refused => (StatusCode::SERVICE_UNAVAILABLE, "The database refuses"),
            ErrorKind::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "That took too long"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "The database failed"),
        };
        let remedy = match error.kind() {
            ErrorKind::Input => "go back, and change it",
            _ => error.remedy(),
        };
        Self::new(status, title, error.to_string(), remedy)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<sessile::Error> for Problem {
    fn from(error: sessile::Error) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
