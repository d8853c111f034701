//! The value that shows that a form comes from a page of this console.
//!
//! `CrossSiteLayer` refuses the requests of other sites. This value also holds for clients that send neither
//! `Sec-Fetch-Site` nor `Origin`. A cookie has a random value, and each form has the hash of that value and of the
//! person's name. So a form of one person is of no use to another, and every node of an application accepts it.

use axum::http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
    request::Parts,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::{TryRng, rngs::SysRng};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const COOKIE_NAME: &str = "sessile-console-form";

/// The cookie of a browser, and the person who uses it.
#[derive(Clone)]
pub(crate) struct FormToken {
    secret: String,
    is_new: bool,
    name: String,
}

/// The attributes that the console's cookies have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// The console's base path.
    pub(crate) base: &'a str,
    pub(crate) is_https: bool,
}

impl Scope<'_> {
    /// With the prefix that lets browsers protect the cookie most. `__Host-` needs `Path=/`. Browsers refuse either
    /// prefix from plain HTTP.
    fn name(self, name: &str) -> String {
        let prefix = match (self.is_https, self.base) {
            (true, "") => "__Host-",
            (true, _) => "__Secure-",
            (false, _) => "",
        };
        format!("{prefix}{name}")
    }

    /// The value of the request's cookie of this name. A second one of the same name counts as none.
    pub(crate) fn cookie<'a>(self, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        let name = self.name(name);
        let texts = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        let pairs =
            texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(found, _)| *found == name).map(|(_, value)| value);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// The text of the header `Set-Cookie`.
    pub(crate) fn set_cookie(self, name: &str, value: &str, seconds: Option<u64>) -> String {
        let name = self.name(name);
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let secure = if self.is_https { "; Secure" } else { "" };
        // Without a slash at the end, it is for the path itself and all below it.
        let path = if self.base.is_empty() { "/" } else { self.base };
        format!("{name}={value}; Path={path}; HttpOnly; SameSite=Strict{age}{secure}")
    }
}

impl FormToken {
    pub(crate) fn of(headers: &HeaderMap, scope: Scope<'_>, name: &str) -> Option<Self> {
        let known = scope.cookie(headers, COOKIE_NAME).filter(|value| value.len() == 43);
        let is_new = known.is_none();
        let secret = match known {
            Some(value) => value.to_owned(),
            None => random()?,
        };
        Some(Self { secret, is_new, name: name.to_owned() })
    }

    /// For the form.
    pub(crate) fn value(&self) -> String {
        let hash =
            Sha256::new().chain_update(&self.secret).chain_update(b"\0").chain_update(&self.name);
        BASE64_URL_SAFE_NO_PAD.encode(hash.finalize())
    }

    /// Whether a form has the value of this browser's cookie.
    pub(crate) fn fits(&self, sent: &str) -> bool {
        !self.is_new && bool::from(self.value().as_bytes().ct_eq(sent.as_bytes()))
    }

    /// The header that a page with a form needs, unless the browser has the cookie.
    pub(crate) fn set_cookie(
        &self,
        scope: Scope<'_>,
    ) -> Option<(axum::http::HeaderName, HeaderValue)> {
        let cookie = scope.set_cookie(COOKIE_NAME, &self.secret, None);
        self.is_new.then(|| Some((SET_COOKIE, HeaderValue::try_from(cookie).ok()?)))?
    }
}

/// Whether the request came over HTTPS, or a proxy says that the browser uses HTTPS. A browser that lies harms only
/// itself.
pub(crate) fn is_https(request: &Parts) -> bool {
    let of_proxy = request.headers.get("x-forwarded-proto");
    of_proxy.is_some_and(|scheme| scheme == "https") || request.uri.scheme_str() == Some("https")
}

/// 256 bits from the system's generator.
pub(crate) fn random() -> Option<String> {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes).ok()?;
    Some(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&str]) -> HeaderMap {
        cookies.iter().map(|cookie| (COOKIE, HeaderValue::from_str(cookie).unwrap())).collect()
    }

    const PLAIN: Scope<'_> = Scope { base: "/admin", is_https: false };

    #[test]
    fn a_form_fits_only_its_own_browser_and_person() {
        let fresh = FormToken::of(&headers(&[]), PLAIN, "grace").unwrap();
        assert!(!fresh.fits(&fresh.value()), "the browser has no cookie yet");
        let (_, cookie) = fresh.set_cookie(PLAIN).unwrap();
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        let known = FormToken::of(&headers(&["a=b", pair]), PLAIN, "grace").unwrap();
        assert!(known.fits(&fresh.value()));
        assert!(known.set_cookie(PLAIN).is_none());
        assert!(!known.fits("") && !known.fits(&fresh.secret));
        assert!(!FormToken::of(&headers(&[pair]), PLAIN, "alan").unwrap().fits(&fresh.value()));
        assert!(
            !FormToken::of(&headers(&[pair, pair]), PLAIN, "grace").unwrap().fits(&fresh.value())
        );
    }

    #[test]
    fn behind_https_the_name_has_the_strictest_prefix() {
        for (base, is_https, begins, attributes) in [
            ("", true, "__Host-x=1; Path=/; ", "; Secure"),
            ("/admin", true, "__Secure-x=1; Path=/admin; ", "; Secure"),
            ("", false, "x=1; Path=/; ", ""),
            ("/admin", false, "x=1; Path=/admin; ", ""),
        ] {
            let scope = Scope { base, is_https };
            let cookie = scope.set_cookie("x", "1", None);
            assert_eq!(cookie, format!("{begins}HttpOnly; SameSite=Strict{attributes}"));
            // The console reads the cookie only under the name that it has set.
            for name in ["x", "__Secure-x", "__Host-x", "__host-x"] {
                let found = scope.cookie(&headers(&[&format!("{name}=1")]), "x").is_some();
                assert_eq!(found, cookie.starts_with(&format!("{name}=")), "{name} {cookie}");
            }
        }
    }
}
