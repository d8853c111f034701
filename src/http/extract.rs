use ::http::request::Parts;
use axum_core::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};

use super::answer;
use crate::{context::observed, error::Error, session::Session};

/// Loads the session: one query, none without a cookie. Extracted twice in a request it is the same
/// session.
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::of(&parts.extensions).await
    }
}

/// [`Error::status`], and the error's text where the client can do something about it. In a build
/// for debugging, also the text of what was set up wrongly: a forgotten layer, say. With `Retry-After` where
/// the status is 503.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            observed::failed_request(&self);
        }
        let mut response = (status, format!("{}\n", answer::message(&self))).into_response();
        answer::say_when_to_retry(&mut response);
        response
    }
}
