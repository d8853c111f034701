//! Requests that another site makes a visitor's browser send.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{
    HeaderMap, Method, Request, Response, Uri,
    header::{HOST, ORIGIN, UPGRADE},
    request::Parts,
};
use tower_layer::Layer;
use tower_service::Service;

use super::{ResponseFuture, answer::Asked, layer::Hook};
use crate::error::{Error, ErrorKind, Result};

/// Refuses requests that another site makes a visitor's browser send with the visitor's cookie (cross-site
/// request forgery), with 403. Forms need no tokens.
///
/// Browsers tell the origin of a request in the header `Sec-Fetch-Site`. Browsers from before 2023 at least
/// send `Origin`. No page can change either header.
///
/// | request | answer |
/// |---|---|
/// | GET, HEAD, OPTIONS or TRACE, unless it opens a WebSocket | passes |
/// | `Sec-Fetch-Site: same-origin` or `none` (the address bar, a bookmark) | passes |
/// | `Sec-Fetch-Site: cross-site` or `same-site` (another application under the same domain) | 403 |
/// | no `Sec-Fetch-Site`, and `Origin` names the request's `Host` | passes |
/// | no `Sec-Fetch-Site`, and `Origin` names another host, or is `null` | 403 |
/// | neither header: the client is not a browser, so no visitor's cookie is abused | passes |
/// | an [allowed origin](Self::allow_origin), an [exempt path](Self::exempt) | passes |
///
/// The layer does not protect handlers that change something on GET, and does not protect against a script on
/// your own pages. It follows OWASP's advice on Fetch Metadata (Cross-Site Request Forgery Prevention Cheat
/// Sheet).
///
/// Put the layer around all routes. Behind a proxy, let the proxy pass on `Host`, or allow your own origin.
///
/// ```
/// # fn example(sessions: sessile::Sessions) -> sessile::Result<axum::Router> {
/// use axum::Router;
/// use sessile::{CrossSiteLayer, SessionLayer};
///
/// Ok(Router::new()
///     .layer(SessionLayer::new(sessions))
///     .layer(CrossSiteLayer::new().allow_origin("https://admin.example.org")?.exempt("/webhooks/")?))
/// # }
/// ```
///
/// # A request without its cookie
///
/// A browser withholds a `SameSite=Lax` cookie from a POST that another site sends. So a request to an exempt
/// path, such as the answer of an OAuth provider with `response_mode=form_post`, arrives without a session.
/// A new session would replace the one that the browser has. With or without this layer,
/// [`SessionLayer`](super::SessionLayer) starts no session in such a request: log-ins and writes fail as
/// [`CrossSite`](ErrorKind::CrossSite) (403). A handler asks
/// [`Session::is_cross_site`](crate::Session::is_cross_site), and answers with a page that sends the same form
/// again from your own site. The guide shows one.
///
/// Another host of the same domain (`Sec-Fetch-Site: same-site`), such as a page of `app.example.org` for
/// `api.example.org`, is not affected: browsers send the cookie with its requests. A browser that does not send
/// `Sec-Fetch-Site` is not affected either if its origin is allowed.
#[derive(Clone, Default)]
pub struct CrossSiteLayer(Arc<Config>);

#[derive(Clone, Default)]
struct Config {
    origins: Vec<String>,
    exempt: Vec<String>,
    answer: Option<Hook>,
}

const SITE: &str = "sec-fetch-site";

/// In a request's extensions: an older browser sent the request from another site to an exempt path.
#[derive(Clone, Copy, Debug)]
pub(super) struct FromAnotherSite;

impl CrossSiteLayer {
    /// Refuses all other sites, on all paths.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the pages of another origin send requests: `https://admin.example.org`, with the port if it is not
    /// the scheme's own.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the text is not an origin.
    pub fn allow_origin(self, origin: &str) -> Result<Self> {
        let uri = origin.parse::<Uri>().ok();
        let is_origin = uri.is_some_and(|uri| {
            uri.scheme().is_some() && uri.authority().is_some() && uri.path() == "/"
        });
        if !is_origin || origin.ends_with('/') {
            let message =
                format!("{origin:?} is not an origin: a scheme and a host, as https://example.org");
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        Ok(self.with(|config| config.origins.push(bare(origin))))
    }

    /// Lets all sites send requests to a path, or to all paths under it if it ends with `/`. For handlers that
    /// do not use the visitor's log-in, and check the sender in another way: webhooks, OAuth's `form_post`.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the path does not begin with `/`.
    pub fn exempt(self, path: &str) -> Result<Self> {
        if !path.starts_with('/') {
            let message = format!("{path:?} is not a path: it has to begin with /");
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        Ok(self.with(|config| config.exempt.push(path.to_owned())))
    }

    /// Replaces the refusal with an answer of the application, as
    /// [`SessionLayer::answer`](super::SessionLayer::answer) does.
    #[must_use]
    pub fn answer(
        self,
        answer: impl Fn(&Error, &Parts) -> Response<String> + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.answer = Some(Arc::new(answer)))
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl Config {
    fn allows_origin(&self, request: &Parts) -> bool {
        let origin = request.headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        origin.is_some_and(|origin| self.origins.contains(&bare(origin)))
    }

    fn is_exempt(&self, request: &Parts) -> bool {
        let path = request.uri.path();
        self.exempt.iter().any(|exempt| match exempt.ends_with('/') {
            true => path.starts_with(exempt),
            false => path == exempt,
        })
    }
}

impl<S> Layer<S> for CrossSiteLayer {
    type Service = CrossSiteService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CrossSiteService { inner, config: self.0.clone() }
    }
}

/// The service that [`CrossSiteLayer`] makes.
#[derive(Clone, Debug)]
pub struct CrossSiteService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for CrossSiteService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    ResponseBody: From<String>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResponseBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        if !is_safe(&head) && is_from_another_site(&head) && !self.config.allows_origin(&head) {
            if !self.config.is_exempt(&head) {
                let error = Error::new(
                    ErrorKind::CrossSite,
                    "another site sent this request, so it was not done",
                );
                let hook = self.config.answer.as_ref();
                return ResponseFuture::refused(Asked::of(&head, hook).answer(&error, hook));
            }
            // With the header, the session layer knows better: a browser sends the cookie to a neighbour under
            // the same domain.
            if !head.headers.contains_key(SITE) {
                head.extensions.insert(FromAnotherSite);
            }
        }
        ResponseFuture::passing(self.inner.call(Request::from_parts(head, body)))
    }
}

/// Whether the request changes nothing (RFC 9110 §9.2.1). A GET that opens a WebSocket does not count as safe,
/// because browsers let any site open a WebSocket.
fn is_safe(request: &Parts) -> bool {
    let opens_socket = || {
        let upgrade = request.headers.get(UPGRADE);
        upgrade.is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
    };
    request.method.is_safe() && !opens_socket()
}

/// Whether a browser withholds a `SameSite=Lax` cookie from this request.
pub(super) fn withholds_lax_cookies(method: &Method, headers: &HeaderMap) -> bool {
    !method.is_safe() && headers.get(SITE).is_some_and(|site| site == "cross-site")
}

fn is_from_another_site(request: &Parts) -> bool {
    let headers = &request.headers;
    if let Some(site) = headers.get(SITE) {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let host = match request.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    match (origin, host) {
        (Some((scheme, _)), Some(host)) => {
            let origin = origin.map(|(scheme, host)| bare(&format!("{scheme}://{host}")));
            origin != Some(bare(&format!("{scheme}://{host}")))
        }
        // Such as `null`: a sandboxed frame, or a file.
        _ => true,
    }
}

/// An origin in lower case, without its scheme's own port.
fn bare(origin: &str) -> String {
    let origin = origin.to_ascii_lowercase();
    let port = if origin.starts_with("https:") { ":443" } else { ":80" };
    origin.strip_suffix(port).map(str::to_owned).unwrap_or(origin)
}

impl fmt::Debug for CrossSiteLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrossSiteLayer")
            .field("origins", &self.origins)
            .field("exempt", &self.exempt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::post("/cart");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn is_from_here(headers: &[(&'static str, &'static str)]) -> bool {
        !is_from_another_site(&request(headers))
    }

    #[test]
    fn only_this_site_and_clients_that_are_no_browsers_are_from_here() {
        assert!(is_from_here(&[("host", "shop.example")]));
        for site in ["same-origin", "none"] {
            assert!(is_from_here(&[("sec-fetch-site", site), ("origin", "https://other.example")]));
        }
        for site in ["same-site", "cross-site", "", "SAME-ORIGIN"] {
            assert!(!is_from_here(&[("sec-fetch-site", site), ("host", "shop.example")]), "{site}");
        }
        for (origin, host) in [
            ("https://shop.example", "shop.example"),
            ("https://shop.example", "SHOP.example:443"),
            ("http://shop.example:80", "shop.example"),
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
        ] {
            assert!(is_from_here(&[("origin", origin), ("host", host)]), "{origin}");
        }
        for (origin, host) in [
            ("https://shop.example.evil", "shop.example"),
            ("https://evil.example", "shop.example"),
            ("http://127.0.0.1:3001", "127.0.0.1:3000"),
            ("https://shop.example:80", "shop.example"),
            ("null", "shop.example"),
            ("", "shop.example"),
        ] {
            assert!(!is_from_here(&[("origin", origin), ("host", host)]), "{origin}");
        }
        assert!(!is_from_here(&[("origin", "https://shop.example")]));
    }

    #[test]
    fn origins_and_paths_are_checked() {
        let layer = CrossSiteLayer::new();
        for origin in ["https://a.example", "http://localhost:5173", "https://A.example:443"] {
            assert!(layer.clone().allow_origin(origin).is_ok(), "{origin}");
        }
        for origin in
            ["", "a.example", "https://", "https://a.example/", "https://a.example/x", "*"]
        {
            let error = layer.clone().allow_origin(origin).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(&format!("{origin:?}")), "{error}");
        }
        let error = layer.exempt("webhooks").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }

    #[test]
    fn allowed_origins_and_exempt_paths_pass() {
        let layer = CrossSiteLayer::new().allow_origin("https://A.example:443").unwrap();
        let layer = layer.exempt("/hooks/").unwrap().exempt("/back").unwrap();
        let passes = |path: &'static str, origin: &'static str| {
            let mut request = request(&[("origin", origin), ("sec-fetch-site", "cross-site")]);
            request.uri = Uri::from_static(path);
            layer.0.allows_origin(&request) || layer.0.is_exempt(&request)
        };
        assert!(passes("/cart", "https://a.example"));
        assert!(!passes("/cart", "http://a.example"));
        assert!(!passes("/cart", "https://a.example:8443"));
        for path in ["/hooks/", "/hooks/a/b", "/back", "/back?code=1"] {
            assert!(passes(path, "https://evil.example"), "{path}");
        }
        for path in ["/hooks", "/back/", "/backdoor", "/a/hooks/"] {
            assert!(!passes(path, "https://evil.example"), "{path}");
        }
    }

    #[test]
    fn only_safe_methods_without_a_socket_are_safe() {
        let mut request = request(&[]);
        for (method, safe) in [
            ("GET", true),
            ("HEAD", true),
            ("OPTIONS", true),
            ("POST", false),
            ("DELETE", false),
            ("X", false),
        ] {
            request.method = method.parse().unwrap();
            assert_eq!(is_safe(&request), safe, "{method}");
        }
        request.method = Method::GET;
        request.headers.insert(UPGRADE, "WebSocket".parse().unwrap());
        assert!(!is_safe(&request));
    }
}
