use std::str::FromStr;

use ::http::request::Parts;
use axum_core::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};

use super::answer;
use crate::{context::observed, error::Error, session::Session, user_id::UserId};

/// Loads the session with one query, or with none if the request has no cookie. If a request extracts it twice,
/// both values are the same session.
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::of(&parts.extensions).await
    }
}

/// The id of the logged-in user, as an argument of a handler: `LoggedIn(user): LoggedIn<i64>`.
///
/// If the session is anonymous, the request is refused with 401, as by [`Session::require_user`].
/// `Option<LoggedIn<i64>>` is then `None`, also for a [superseded](Session::is_superseded) request.
///
/// ```
/// use sessile::{LoggedIn, Session};
///
/// async fn orders(LoggedIn(user): LoggedIn<i64>, session: Session) -> String {
///     format!("The orders of user {user}")
/// }
///
/// async fn home(user: Option<LoggedIn>) -> String {
///     match user {
///         Some(LoggedIn(name)) => format!("Welcome back, {name}"),
///         None => "Welcome".to_owned(),
///     }
/// }
/// # let _: axum::Router = axum::Router::new()
/// #     .route("/orders", axum::routing::get(orders)).route("/", axum::routing::get(home));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn<T = String>(pub T);

impl<S: Sync, T: UserId + FromStr> FromRequestParts<S> for LoggedIn<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Session::of(&parts.extensions).await?.require_user().map(Self)
    }
}

impl<S: Sync, T: UserId + FromStr> OptionalFromRequestParts<S> for LoggedIn<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        let session = Session::of(&parts.extensions).await?;
        Ok(session.user_id_as()?.map(Self))
    }
}

/// Answers with [`Error::status`], and with the error's text if the client can do something about the error. A
/// debug build also shows the text of a configuration error, such as a forgotten layer. A 503 has a
/// `Retry-After`.
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
