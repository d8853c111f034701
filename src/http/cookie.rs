use std::time::Duration;

pub use ::cookie::SameSite;
use ::cookie::{Cookie, CookieBuilder};
use ::http::HeaderValue;

use crate::{
    error::{Error, ErrorKind, Result},
    realm::Realm,
};

/// The attributes of the session cookie.
///
/// Default: `__Host-id=…; Path=/; Secure; HttpOnly; SameSite=Lax`, without `Domain`. The cookie has a `Max-Age`
/// only if the log-in asked for "remember me", or if the policy lets a visitor's cookie last. In a realm, the
/// name contains the realm: `__Host-office`.
///
/// The `__Host-` prefix makes the browser refuse such a cookie from plain HTTP, from a sibling subdomain and for
/// another path (OWASP ASVS 5.0 §3.3.1, RFC 6265bis §4.1.3). `HttpOnly` and `Path=/` cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    /// `None`: the name follows the realm.
    name: Option<String>,
    domain: Option<String>,
    same_site: SameSite,
    secure: bool,
    partitioned: bool,
}

impl Default for SessionCookie {
    fn default() -> Self {
        Self {
            name: None,
            domain: None,
            same_site: SameSite::Lax,
            secure: true,
            partitioned: false,
        }
    }
}

impl SessionCookie {
    /// Whether browsers send the cookie with requests that other sites make them send.
    pub(super) fn is_sent_cross_site(&self) -> bool {
        self.same_site == SameSite::None
    }

    /// Starts a cookie with attributes other than the default.
    pub fn builder() -> SessionCookieBuilder {
        SessionCookieBuilder(Self::default())
    }

    /// For development over plain HTTP: `id=…; Path=/; HttpOnly; SameSite=Lax`. The network between the browser
    /// and the server can read and replace this cookie.
    ///
    /// Browsers ignore the port of a cookie. So two applications on `localhost` share this cookie, and each
    /// treats the other's cookie as that of an ended session. Give one of them another name with
    /// [`named`](Self::named).
    pub fn insecure_for_development() -> Self {
        Self { secure: false, ..Self::default() }
    }

    /// The same cookie under another name.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if browsers refuse the combination.
    pub fn named(self, name: impl Into<String>) -> Result<Self> {
        SessionCookieBuilder(self).name(name).build()
    }

    /// Names the cookie after the realm, unless the application has named it.
    pub(crate) fn of_realm(mut self, realm: &Realm) -> Self {
        let name = if realm.as_str().is_empty() { "id" } else { realm.as_str() };
        let prefix = if self.secure { "__Host-" } else { "" };
        self.name.get_or_insert_with(|| format!("{prefix}{name}"));
        self
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(if self.secure { "__Host-id" } else { "id" })
    }

    pub(super) fn set(&self, value: &str, max_age: Option<Duration>) -> HeaderValue {
        // Browsers cut `Max-Age` to 400 days. The session ends by the database's clock in any case.
        let max_age =
            max_age.map(|age| time::Duration::try_from(age).unwrap_or(time::Duration::MAX));
        let mut cookie = self.attributes(value).build();
        cookie.set_max_age(max_age);
        header(&cookie)
    }

    pub(super) fn remove(&self) -> HeaderValue {
        let removal = self
            .attributes("")
            .max_age(time::Duration::ZERO)
            .expires(time::OffsetDateTime::UNIX_EPOCH);
        header(&removal.build())
    }

    /// Removes the cookies that another configuration may have left under the same name. A browser keeps them
    /// apart: with and without `Partitioned`, for the domain and for this host.
    pub(super) fn remove_variants(&self) -> Vec<HeaderValue> {
        let domains: &[Option<String>] = match &self.domain {
            Some(_) => &[self.domain.clone(), None],
            None => &[None],
        };
        let partitions: &[bool] = if self.secure { &[false, true] } else { &[false] };
        let variants = domains.iter().flat_map(|domain| {
            let with = move |&partitioned: &bool| Self {
                domain: domain.clone(),
                partitioned,
                ..self.clone()
            };
            partitions.iter().map(with)
        });
        variants.filter(|variant| variant != self).map(|variant| variant.remove()).collect()
    }

    fn attributes<'a>(&'a self, value: &'a str) -> CookieBuilder<'a> {
        let cookie = Cookie::build((self.name(), value))
            .path("/")
            .http_only(true)
            .same_site(self.same_site)
            .secure(self.secure)
            .partitioned(self.partitioned);
        match &self.domain {
            Some(domain) => cookie.domain(domain),
            None => cookie,
        }
    }
}

fn header(cookie: &Cookie<'_>) -> HeaderValue {
    let mut value = HeaderValue::try_from(cookie.to_string())
        .expect("the attributes were checked by the builder");
    // Middleware that logs headers leaves out sensitive values.
    value.set_sensitive(true);
    value
}

/// Sets the attributes of the session cookie. [`build`](Self::build) checks them.
#[derive(Clone, Debug)]
#[must_use]
pub struct SessionCookieBuilder(SessionCookie);

impl SessionCookieBuilder {
    /// The cookie's name. Default: `__Host-id`, or `__Host-` and the realm. Two applications on one host need
    /// different names.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.0.name = Some(name.into());
        self
    }

    /// The attribute `SameSite`. Default: `Lax`. With `Strict`, a user who follows a link from another site
    /// arrives logged out. If a handler of that request writes to the session, the new session replaces the one
    /// that the browser has.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.0.same_site = same_site;
        self
    }

    /// Shares the cookie with all subdomains. Each subdomain can then take over or replace every session. The
    /// cookie needs a name without `__Host-`.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.0.domain = Some(domain.into());
        self
    }

    /// Makes the browser keep a separate cookie under each site that embeds this one (CHIPS). Use it with
    /// `SameSite=None`.
    pub fn partitioned(mut self) -> Self {
        self.0.partitioned = true;
        self
    }

    /// Sends the cookie over plain HTTP too. For development.
    pub fn insecure_for_development(mut self) -> Self {
        self.0.secure = false;
        self
    }

    /// Checks that browsers accept the combination.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration). The text names the attributes that contradict each other.
    pub fn build(self) -> Result<SessionCookie> {
        let Self(cookie) = self;
        let invalid = |message: String| Err(Error::new(ErrorKind::Configuration, message));
        if cookie.name().is_empty() || !cookie.name().bytes().all(is_token) {
            return invalid(format!(
                "{:?} is not a cookie name: letters, digits and !#$%&'*+-.^_`|~",
                cookie.name()
            ));
        }
        if cookie.name().len() > LONGEST_NAME {
            return invalid(format!(
                "a cookie name of {} bytes is too long: take at most {LONGEST_NAME}, because browsers refuse a cookie whose name and value have more than 4096 bytes",
                cookie.name().len()
            ));
        }
        // Browsers compare the prefixes without regard to case.
        let name = cookie.name().to_ascii_lowercase();
        let prefix =
            ["__host-", "__secure-", "__http-"].into_iter().find(|prefix| name.starts_with(prefix));
        if let Some(domain) = &cookie.domain {
            if prefix == Some("__host-") {
                return invalid(format!(
                    "a cookie named {} cannot have a Domain: name it __Secure-id, say",
                    cookie.name()
                ));
            }
            let label = |label: &str| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            if !domain.split('.').all(label) {
                return invalid(format!(
                    "{domain:?} is not a domain: write it without a dot in front, as ASCII"
                ));
            }
        }
        if !cookie.secure {
            if prefix.is_some() {
                return invalid(format!(
                    "browsers refuse a cookie named {} over plain HTTP: name it without the prefix",
                    cookie.name()
                ));
            }
            if cookie.same_site == SameSite::None || cookie.partitioned {
                return invalid(
                    "browsers refuse SameSite=None and Partitioned over plain HTTP".to_owned(),
                );
            }
        }
        Ok(cookie)
    }
}

/// In bytes. Browsers ignore a cookie whose name and value have more than 4096 bytes (RFC 6265bis §5.6), and a token
/// has 64.
const LONGEST_NAME: usize = 4096 - 64;

/// Whether the byte may be in a cookie's name (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &HeaderValue) -> &str {
        value.to_str().unwrap()
    }

    #[test]
    fn the_default_is_what_a_browser_protects_best() {
        let cookie = SessionCookie::default();
        assert_eq!(
            text(&cookie.set("x", None)),
            "__Host-id=x; HttpOnly; SameSite=Lax; Secure; Path=/"
        );
        assert_eq!(
            text(&cookie.set("x", Some(Duration::from_secs(60)))),
            "__Host-id=x; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60"
        );
        assert!(cookie.set("x", None).is_sensitive());
        assert!(!cookie.is_sent_cross_site());
    }

    #[test]
    fn a_removal_carries_the_same_attributes() {
        let cookie = SessionCookie::builder()
            .name("__Secure-s")
            .domain("example.org")
            .same_site(SameSite::None)
            .partitioned()
            .build()
            .unwrap();
        assert!(cookie.is_sent_cross_site());
        let set = cookie.set("", None);
        let removal = cookie.remove();
        let (attributes, end) = text(&removal).split_once("; Max-Age=0").unwrap();
        assert_eq!(attributes, text(&set));
        assert_eq!(end, "; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
        assert!(attributes.contains("Partitioned") && attributes.contains("Domain=example.org"));
    }

    #[test]
    fn the_name_is_the_realms_unless_it_is_given() {
        let office: Realm = "office".parse().unwrap();
        let (default, development) =
            (SessionCookie::default(), SessionCookie::insecure_for_development());
        assert_eq!(default.clone().of_realm(&Realm::default()).name(), "__Host-id");
        assert_eq!(default.clone().of_realm(&office).name(), "__Host-office");
        assert_eq!(development.clone().of_realm(&Realm::default()).name(), "id");
        assert_eq!(development.of_realm(&office).name(), "office");
        assert_eq!(default.named("mine").unwrap().of_realm(&office).name(), "mine");
    }

    #[test]
    fn variants_are_the_cookies_that_a_browser_tells_apart() {
        let of = |cookie: &SessionCookie| {
            let variants = cookie.remove_variants();
            let told = |value: &HeaderValue| {
                let value = text(value);
                assert!(value.contains("Max-Age=0"), "{value}");
                (value.contains("; Domain="), value.contains("; Partitioned"))
            };
            variants.iter().map(told).collect::<Vec<_>>()
        };
        let builder = SessionCookie::builder;
        assert_eq!(of(&SessionCookie::default()), [(false, true)]);
        assert_eq!(of(&builder().partitioned().build().unwrap()), [(false, false)]);
        assert_eq!(of(&SessionCookie::insecure_for_development()), []);
        let domain = builder().name("s").domain("example.org").build().unwrap();
        assert_eq!(of(&domain), [(true, true), (false, false), (false, true)]);
    }

    /// Browsers ignore a cookie that is too long. Then nobody could log in, and nothing would say why.
    #[test]
    fn a_name_that_is_too_long_does_not_build() {
        let token = 64;
        let longest = format!("__Host-{}", "x".repeat(4096 - token - 7));
        let cookie = SessionCookie::builder().name(&longest).build().unwrap();
        let set = cookie.set(&"v".repeat(token), None);
        assert_eq!(text(&set).split_once(';').unwrap().0.len(), 4096 + "=".len());
        for too_long in [format!("{longest}x"), "x".repeat(10_000)] {
            let error = SessionCookie::default().named(&too_long).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains("too long: take at most 4032"), "{error}");
        }
    }

    #[test]
    fn what_browsers_refuse_does_not_build() {
        let builder = SessionCookie::builder;
        let refused = [
            (builder().name(""), "not a cookie name"),
            (builder().name("a b"), "not a cookie name"),
            (builder().name("a=b"), "not a cookie name"),
            (builder().name("a;b"), "letters, digits and !#$"),
            (builder().name("a\r\nb"), "letters, digits and !#$"),
            (builder().name("\u{e9}"), "letters, digits and !#$"),
            (builder().domain("example.org"), "name it __Secure-id, say"),
            (builder().name("__HOST-x").domain("example.org"), "cannot have a Domain"),
            (builder().name("x").domain(".example.org"), "not a domain"),
            (builder().name("x").domain("a;b"), "not a domain"),
            (builder().name("__Host-id").insecure_for_development(), "over plain HTTP"),
            (builder().name("__Secure-x").insecure_for_development(), "name it without the prefix"),
            (builder().name("__http-x").insecure_for_development(), "name it without the prefix"),
            (
                builder().name("x").same_site(SameSite::None).insecure_for_development(),
                "SameSite=None",
            ),
            (builder().name("x").partitioned().insecure_for_development(), "Partitioned"),
        ];
        for (builder, why) in refused {
            let error = builder.clone().build().expect_err(&format!("{builder:?}"));
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(builder().name("id").insecure_for_development().build().is_ok());
        let development = SessionCookie::insecure_for_development();
        assert!(development.clone().named("__Host-x").is_err());
        assert_eq!(development.named("shop").unwrap().name(), "shop");
    }
}
