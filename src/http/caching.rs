//! The response's headers for caches.
//!
//! A shared cache that keeps a `Set-Cookie` gives one visitor's session to the next visitor (RFC 9111 §7.3). A
//! shared cache that does not know that a page depends on the cookie gives the next visitor the page.

use std::sync::atomic::{AtomicBool, Ordering};

use ::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, VARY},
};

use crate::context::observed;

/// Headers that override `Cache-Control` for a content delivery network or a proxy. The header's name ends with
/// one of these texts (`CDN-Cache-Control`, `X-LiteSpeed-Cache-Control`), or is one of them.
const OF_NETWORKS: [&str; 4] =
    ["-cache-control", "surrogate-control", "edge-control", "x-accel-expires"];

/// Adds `Vary: cookie` to a response whose handler asked for the session.
pub(super) fn vary_by_cookie(headers: &mut HeaderMap) {
    let names_cookie = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"cookie"))
    };
    if !headers.get_all(VARY).iter().any(names_cookie) {
        headers.append(VARY, HeaderValue::from_static("cookie"));
    }
}

/// Keeps a response that sets or removes a cookie out of shared caches, even if the handler allowed them. If
/// the handler set `private`, the browser's own cache may keep the response. Otherwise no cache may.
///
/// `was_told`: whether a warning about such a handler was logged before.
pub(super) fn keep_out(headers: &mut HeaderMap, was_told: &AtomicBool) {
    let of_networks: Vec<HeaderName> = headers
        .keys()
        .filter(|name| OF_NETWORKS.iter().any(|end| name.as_str().ends_with(end)))
        .cloned()
        .collect();
    for name in of_networks {
        headers.remove(name);
    }
    let directives = Directives::of(headers);
    let is_kept_by_none = directives.no_store && !directives.must_understand;
    if is_kept_by_none || (directives.private && !directives.shared) {
        return;
    }
    if directives.shared {
        let is_first = !was_told.swap(true, Ordering::Relaxed);
        observed::overruled_caching(is_first, headers.get(CACHE_CONTROL));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

#[derive(Default)]
struct Directives {
    no_store: bool,
    /// Lets a cache that knows the status ignore `no-store` (RFC 9111 §5.2.2.3).
    must_understand: bool,
    /// Only `private` without names of headers. With names, it applies only to these headers.
    private: bool,
    /// Whether a directive lets a shared cache keep the response.
    shared: bool,
}

impl Directives {
    fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            for directive in directives(value.as_bytes()) {
                let directive = directive.trim_ascii().to_ascii_lowercase();
                let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default();
                match name.trim_ascii() {
                    b"no-store" => found.no_store |= name.len() == directive.len(),
                    b"private" => found.private |= name.len() == directive.len(),
                    b"public" | b"s-maxage" => found.shared = true,
                    b"must-understand" => found.must_understand = true,
                    _ => {}
                }
            }
        }
        found
    }
}

/// Splits a header's value at its commas, except commas in a quoted text.
fn directives(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    value.split(move |&byte| {
        is_quoted ^= byte == b'"';
        byte == b',' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_out(chosen: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in chosen {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
        }
        keep_out(&mut headers, &AtomicBool::default());
        let values = headers.get_all(CACHE_CONTROL).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn only_what_no_shared_cache_keeps_stays() {
        for stays in [
            &["no-store"][..],
            &["private"],
            &["Private, Max-Age=60"],
            &["max-age=0, NO-STORE"],
            &["max-age=60", "private"],
            &["public, no-store"],
            &["private=\"x, y\", no-store"],
            &["no-cache=\"x, public, y\", private"],
        ] {
            assert_eq!(kept_out(stays), stays, "{stays:?}");
        }
        for goes in [
            &[][..],
            &["public, max-age=600"],
            &["max-age=600"],
            &["no-cache"],
            &["private=\"x\""],
            &["private=\"set-cookie\", max-age=600"],
            &["private, s-maxage=600"],
            &["private", "public"],
            &["no-store=\"x\""],
            &["x-no-store, x-private"],
            &["private=\"x, no-store, y\""],
            &["no-cache=\"x, private, y\", max-age=600"],
            &["must-understand, no-store, max-age=600"],
            &["no-store", "must-understand"],
        ] {
            assert_eq!(kept_out(goes), ["no-store"], "{goes:?}");
        }
    }

    #[test]
    fn headers_for_networks_go() {
        let mut headers = HeaderMap::new();
        for name in [
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "x-litespeed-cache-control",
            "surrogate-control",
            "edge-control",
            "x-accel-expires",
        ] {
            headers.insert(name, HeaderValue::from_static("max-age=600"));
        }
        headers.insert("x-other", HeaderValue::from_static("1"));
        keep_out(&mut headers, &AtomicBool::default());
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-other", "cache-control"]);
    }
}
