//! What stands before and after each page: the guard, the frame of an error, the headers.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{
        HeaderName, HeaderValue, Response as HttpResponse, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
        request::Parts,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use maud::html;
use tokio::time::timeout;

use crate::{
    access::{Access, Refused},
    console::Shared,
    form_token::{self, FormToken, Scope},
    links::Links,
    page::{self, Frame},
    problem::Problem,
};

/// A page waits at most so long for the database, even if the application's pool waits longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// To end a million sessions takes longer.
const PATIENCE_WITH_ENDS: Duration = Duration::from_secs(300);

/// Who looks at a page.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) access: Access,
    pub(crate) form: FormToken,
    pub(crate) is_https: bool,
}

impl Visitor {
    pub(crate) fn links(&self) -> &Links {
        &self.shared.links
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope { base: self.links().base(), is_https: self.is_https }
    }

    /// # Errors
    ///
    /// 403 for somebody who may only look.
    pub(crate) fn check_may_end(&self) -> Result<(), Problem> {
        if self.access.may_end() { Ok(()) } else { Err(Problem::may_not_end()) }
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visitor = parts.extensions.get::<Self>().cloned();
        visitor.ok_or_else(|| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

/// Lets in whom the guard lets in, and puts a frame around each error.
pub(crate) async fn enter(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let access = match shared.guard.check(parts.clone()).await {
        Ok(access) => access,
        Err(refusal) => return refused(&shared, refusal.0),
    };
    let is_https = shared.is_https || form_token::is_https(&parts);
    let scope = Scope { base: shared.links.base(), is_https };
    let Some(form) = FormToken::of(&parts.headers, scope, access.name()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let visitor = Visitor { shared, access, form, is_https };
    parts.extensions.insert(visitor.clone());
    let patience = if parts.method.is_safe() { PATIENCE } else { PATIENCE_WITH_ENDS };
    let answer = timeout(patience, next.run(Request::from_parts(parts, body))).await;
    let response = answer.unwrap_or_else(|_| Problem::too_slow().into_response());
    framed(response, &Frame::of(&visitor))
}

fn refused(shared: &Shared, refused: Refused) -> Response {
    let problem = match refused {
        Refused::Answer(response) => return *response,
        Refused::NotLoggedIn => Problem::new(
            StatusCode::UNAUTHORIZED,
            "Not logged in",
            "Nobody is logged in here, or the log-in is over.",
            shared.help,
        ),
        Refused::NotAllowed => Problem::new(
            StatusCode::FORBIDDEN,
            "Not allowed",
            "You may not use this console.",
            "ask somebody who manages the application",
        ),
    };
    framed(problem.into_response(), &Frame::of_stranger(&shared.links))
}

/// The page of an error in place of its bare status.
fn framed(response: Response, frame: &Frame<'_>) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let is_page = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == page::HTML);
    if is_page {
        return response;
    }
    let (mut head, _) = response.into_parts();
    let problem = head.extensions.remove::<Problem>();
    let problem = problem.unwrap_or_else(|| Problem::of_status(status));
    let content = html! {
        (problem.markup())
        p.pages { a.button href=(frame.start()) { @if status == StatusCode::UNAUTHORIZED { "To the start of the console" } @else { "To the overview" } } }
    };
    let body = page::render(frame, problem.title, &content).into_string();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(page::HTML));
    Response::from_parts(head, Body::from(body))
}

/// The answer to a form that another site sent.
pub(crate) fn forged(links: &Links) -> HttpResponse<String> {
    let problem = Problem::forged();
    let frame = Frame::of_stranger(links);
    let body = page::render(&frame, problem.title, &problem.markup()).into_string();
    let mut response = HttpResponse::new(body);
    *response.status_mut() = problem.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page::HTML));
    response
}

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The headers of every response.
pub(crate) async fn protect(mut response: Response) -> Response {
    let headers: [(HeaderName, &str); 6] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
