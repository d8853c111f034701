//! The checks of every request, and the headers of every response.

use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use sessile::Session;

use crate::refusal::{Refusal, Result};

/// Refuses requests that another site makes a visitor's browser send with the visitor's cookie.
///
/// Browsers name the origin of a request in `Sec-Fetch-Site`, older ones at least in `Origin`, and let no
/// page change these headers. A client that sends neither is not a browser, so it has no visitor's cookie.
/// With this check, forms need no tokens.
pub(crate) async fn refuse_other_sites(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_from_here(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    Refusal::new(StatusCode::FORBIDDEN, "This came from another site, so it was not done.")
        .into_response()
}

fn is_from_here(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        // "same-site" is a neighbour under the same domain, that is, another application.
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let host = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    match (origin, host) {
        (Some((scheme, origin)), Some(host)) => {
            let default_port = if scheme == "https" { ":443" } else { ":80" };
            let bare =
                |name: &str| name.strip_suffix(default_port).unwrap_or(name).to_ascii_lowercase();
            bare(origin) == bare(host)
        }
        // This includes "null": a sandboxed frame, or a file.
        _ => false,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        is_from_here(&map, &Uri::from_static("/cart"))
    }

    #[test]
    fn only_this_site_and_what_is_no_browser_passes() {
        assert!(passes(&[("host", "shop.example")]));
        for site in ["same-origin", "none"] {
            assert!(passes(&[("sec-fetch-site", site), ("origin", "https://other.example")]));
        }
        for site in ["same-site", "cross-site", "", "SAME-ORIGIN"] {
            assert!(!passes(&[("sec-fetch-site", site)]), "{site}");
        }
        for (origin, host) in [
            ("https://shop.example", "shop.example"),
            ("https://shop.example", "SHOP.example:443"),
            ("http://shop.example:80", "shop.example"),
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
        ] {
            assert!(passes(&[("origin", origin), ("host", host)]), "{origin}");
        }
        for (origin, host) in [
            ("https://shop.example.evil", "shop.example"),
            ("https://evil.example", "shop.example"),
            ("http://127.0.0.1:3001", "127.0.0.1:3000"),
            ("https://shop.example:80", "shop.example"),
            ("null", "shop.example"),
            ("", "shop.example"),
        ] {
            assert!(!passes(&[("origin", origin), ("host", host)]), "{origin}");
        }
        assert!(!passes(&[("origin", "https://shop.example")]));
    }
}
