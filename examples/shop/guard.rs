//! The checks of every request, and the headers of every response.

use axum::{
    extract::Request,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
    response::Response,
};

use sessile::Session;

use crate::refusal::{Refusal, Result};

/// Asks for a reload if another request has given the browser a newer cookie meanwhile.
///
/// The browser is logged in, and this request is not. So it shows neither a visitor's empty cart nor the
/// log-in page. Only a log-in may continue: a user who gives the password gets a session.
pub(crate) async fn reload_if_superseded(
    session: Session,
    request: Request,
    next: Next,
) -> Result<Response> {
    match session.is_superseded() && request.uri().path() != "/login" {
        true => Err(Refusal::superseded()),
        false => Ok(next.run(request).await),
    }
}

/// Pages load nothing from elsewhere, run no script, and cannot be put into a frame.
pub(crate) async fn harden(request: Request, next: Next) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
        base-uri 'none'; frame-ancestors 'none'";
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(REFERRER_POLICY, "same-origin");
    // A page shows the visitor's own data, so "back" after a log-out must not show it again.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
