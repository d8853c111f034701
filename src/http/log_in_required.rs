//! Routes that need a logged-in user.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use ::http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri,
    header::{ACCEPT, LOCATION},
    request::Parts,
};
use tower_layer::Layer;
use tower_service::Service;

use super::slot::{Slot, Slots};
use crate::{
    context::observed,
    error::{Error, ErrorKind, Result},
    session::Session,
};

/// Lets only requests of logged-in users through. All others are answered with 401, or sent to the log-in.
///
/// Put the layer inside [`SessionLayer`](super::SessionLayer), around the routes that need a user. A request
/// that is [superseded](crate::Session::is_superseded) is answered with 409, not sent to the log-in: its
/// browser is logged in. The answers are those of [`SessionLayer::answer`](super::SessionLayer::answer).
///
/// ```
/// # fn example(sessions: sessile::Sessions) -> axum::Router {
/// use axum::{Router, routing::get};
/// use sessile::{LogInRequiredLayer, SessionLayer};
///
/// let account = Router::new()
///     .route("/orders", get(async || "Your orders"))
///     .route_layer(LogInRequiredLayer::redirecting_to("/login"));
/// Router::new()
///     .route("/login", get(async || "Log in"))
///     .merge(account)
///     .layer(SessionLayer::new(sessions))
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct LogInRequiredLayer {
    log_in: Option<&'static str>,
}

impl LogInRequiredLayer {
    /// Answers with 401.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a browser that opens a page or sends a form to the log-in (303). All other requests, such as those of
    /// scripts, are answered with 401.
    ///
    /// Browsers mark such a request with `Sec-Fetch-Mode: navigate`. If a client does not send that header, the
    /// request counts as a page if its `Accept` names `text/html`. So a test or curl has to send one of the two.
    ///
    /// After a GET or a HEAD, the parameter `next` names the page: `/login?next=%2Forders`. A form that was sent
    /// cannot be opened again, so there is no `next` after a POST. The log-in's handler redirects the user to
    /// `next` after it has checked the parameter with [`local_path`].
    pub fn redirecting_to(log_in: &'static str) -> Self {
        Self { log_in: Some(log_in) }
    }
}

impl<S> Layer<S> for LogInRequiredLayer {
    type Service = LogInRequiredService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LogInRequiredService { inner, log_in: self.log_in }
    }
}

/// The service that [`LogInRequiredLayer`] makes.
#[derive(Clone, Debug)]
pub struct LogInRequiredService<S> {
    inner: S,
    log_in: Option<&'static str>,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for LogInRequiredService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>> + Clone + Send + 'static,
    S::Future: Send,
    RequestBody: Send + 'static,
    ResponseBody: From<String>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        // The clone is not ready yet, and the service that is ready must be the one that is called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let log_in = self.log_in;
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let refusal = match Session::of(&head.extensions).await {
                Ok(session) => session.require_user::<String>().err(),
                Err(error) => Some(error),
            };
            match refusal {
                None => inner.call(Request::from_parts(head, body)).await,
                Some(error) => Ok(refuse(&error, &head, log_in)),
            }
        })
    }
}

fn refuse<B: From<String>>(error: &Error, request: &Parts, log_in: Option<&str>) -> Response<B> {
    let slot = Slots::each(request.extensions.get()).next();
    if let Some(log_in) = log_in
        && matches!(error.kind(), ErrorKind::NotLoggedIn | ErrorKind::SessionEnded)
        && opens_page(request)
    {
        let page = slot.map_or(&request.uri, Slot::uri);
        return redirect(&match request.method.is_safe() {
            true => log_in_target(log_in, page),
            false => log_in.to_owned(),
        });
    }
    if error.status().is_server_error() {
        observed::failed_request(error);
    }
    match slot {
        Some(slot) => slot.answer(error),
        None => super::answer::by_default(error, request.headers.get(ACCEPT)).map(B::from),
    }
}

fn redirect<B: From<String>>(target: &str) -> Response<B> {
    let mut response = Response::new(B::from(String::new()));
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(target) = HeaderValue::from_str(target) {
        response.headers_mut().insert(LOCATION, target);
    }
    response
}

/// Whether the browser shows the answer as a page. A script would take the log-in page for its data.
fn opens_page(request: &Parts) -> bool {
    let headers: &HeaderMap = &request.headers;
    if let Some(mode) = headers.get("sec-fetch-mode") {
        return mode == "navigate";
    }
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The log-in's path, with the page in `next` if the page's path is a [`local_path`].
fn log_in_target(log_in: &str, page: &Uri) -> String {
    let page = page.path_and_query().map_or("/", |page| page.as_str());
    let Some(page) = local_path(page) else { return log_in.to_owned() };
    let separator = if log_in.contains('?') { '&' } else { '?' };
    let page: String = form_urlencoded::byte_serialize(page.as_bytes()).collect();
    format!("{log_in}{separator}next={page}")
}

/// The target, if it is a path on this site: for a redirect to a place that the request named, such as
/// `/login?next=/orders`.
///
/// Another site can put any text there. Browsers read `//host` and `/\host` as another site, and ignore tabs and
/// line breaks. So the path begins with one slash, no backslash follows it, and it holds only visible ASCII
/// characters.
///
/// ```
/// use sessile::http::local_path;
///
/// assert_eq!(local_path("/orders?page=2"), Some("/orders?page=2"));
/// assert_eq!(local_path("//evil.example"), None);
/// assert_eq!(local_path("https://evil.example"), None);
/// ```
pub fn local_path(target: &str) -> Option<&str> {
    let is_local = target.starts_with('/') && !target[1..].starts_with(['/', '\\']);
    let is_plain = target.bytes().all(|byte| byte.is_ascii_graphic());
    (is_local && is_plain).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_on_this_site_is_local() {
        for here in ["/", "/devices", "/cart?a=b#c", "/a//b", "/?next=https://evil.example"] {
            assert_eq!(local_path(here), Some(here));
        }
        for elsewhere in [
            "",
            "cart",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/a\r\nb",
            "/\t/evil.example",
            "/\té",
            " /",
        ] {
            assert_eq!(local_path(elsewhere), None, "{elsewhere:?}");
        }
    }

    #[test]
    fn the_log_in_gets_the_page_to_go_on_to() {
        let target = |log_in, page| log_in_target(log_in, &Uri::from_static(page));
        assert_eq!(
            target("/login", "/orders?page=2&a=b"),
            "/login?next=%2Forders%3Fpage%3D2%26a%3Db"
        );
        assert_eq!(target("/login?lang=de", "/"), "/login?lang=de&next=%2F");
        assert_eq!(target("/login", "https://shop.example/orders"), "/login?next=%2Forders");
        // A path that is another site's address to a browser.
        assert_eq!(target("/login", "//evil.example/"), "/login");
    }
}
