//! A sibling subdomain, or somebody on the path of a plain HTTP request, adds a cookie to the requests of a visitor.

use crate::{
    site::{Site, routes},
    support::{Db, cases},
    wire::Response,
};

cases! {
    an_encoded_name_is_not_the_sessions,
    a_name_padded_with_unicode_is_not_the_sessions,
    a_quoted_value_is_not_the_sessions,
    a_nameless_cookie_is_not_the_sessions,
    a_doubled_cookie_gets_nobody_into_the_attackers_session,
    two_headers_are_one,
}

struct Case {
    site: Site,
    /// Live, of the visitor.
    own: String,
    /// Live, of the attacker.
    tossed: String,
}

impl Case {
    async fn new(db: &Db) -> Self {
        let site = Site::serve(db, routes()).await;
        let own = site.user("ada").await.token().to_owned();
        let tossed = site.user("mallory").await.token().to_owned();
        Self { site, own, tossed }
    }

    /// Sends one `Cookie` header for each text. `{own}` and `{tossed}` stand for the tokens.
    async fn send(&self, path: &str, headers: &[&str]) -> Response {
        let line = |text: &&str| {
            let text = text.replace("{own}", &self.own).replace("{tossed}", &self.tossed);
            format!("Cookie: {text}").into_bytes()
        };
        let lines: Vec<_> = headers.iter().map(line).collect();
        self.site.get(path, &lines).await
    }

    async fn who(&self, headers: &[&str]) -> String {
        let response = self.send("/", headers).await;
        assert_eq!((response.status, response.sets_no_cookie()), (200, true), "{headers:?}");
        response.body
    }

    /// Alone, the cookie is nobody's and costs no query. Beside the visitor's own, it changes nothing.
    async fn is_another_cookie(&self, cookie: &str) {
        assert_eq!(self.who(&[cookie]).await, "nobody", "{cookie}");
        assert!(self.site.spy.take().is_empty(), "{cookie}");
        for headers in [
            &[format!("{cookie}; __Host-id={{own}}")][..],
            &[format!("__Host-id={{own}}; {cookie}")],
            &[cookie.to_owned(), "__Host-id={own}".to_owned()],
            &["__Host-id={own}".to_owned(), cookie.to_owned()],
        ] {
            let headers: Vec<_> = headers.iter().map(String::as_str).collect();
            assert_eq!(self.who(&headers).await, "ada", "{headers:?}");
        }
        self.site.spy.take();
    }
}

async fn an_encoded_name_is_not_the_sessions(db: Db) {
    let case = Case::new(&db).await;
    for name in [
        "%5F%5FHost-id",
        "%5f_Host-id",
        "__Host%2Did",
        "__Host-%69d",
        "__Host-id%00",
        "__host-id",
        "__HOST-ID",
    ] {
        case.is_another_cookie(&format!("{name}={{tossed}}")).await;
    }
}

async fn a_name_padded_with_unicode_is_not_the_sessions(db: Db) {
    let case = Case::new(&db).await;
    for blank in [
        "\u{85}", "\u{a0}", "\u{1680}", "\u{2000}", "\u{2028}", "\u{205f}", "\u{3000}", "\u{feff}",
        "\u{200b}",
    ] {
        case.is_another_cookie(&format!("{blank}__Host-id={{tossed}}")).await;
        case.is_another_cookie(&format!("__Host-id{blank}={{tossed}}")).await;
    }
    case.is_another_cookie("__Host-id ={tossed}").await;
    case.is_another_cookie("__Host-id\t={tossed}").await;
}

async fn a_quoted_value_is_not_the_sessions(db: Db) {
    let case = Case::new(&db).await;
    for cookie in [
        "__Host-id=\"{tossed}\"",
        "__Host-id=\"{tossed}",
        "__Host-id={tossed}\"",
        "\"__Host-id={tossed}\"",
    ] {
        case.is_another_cookie(cookie).await;
    }
    // A quoted text does not swallow the cookies in it, as the syntax of RFC 2965 would ("cookie sandwich").
    assert_eq!(case.who(&["$Version=1; a=\"b; __Host-id={own}; c=d\""]).await, "ada");
}

async fn a_nameless_cookie_is_not_the_sessions(db: Db) {
    let case = Case::new(&db).await;
    for cookie in [
        "={tossed}",
        "{tossed}",
        "=__Host-id={tossed}",
        "==__Host-id={tossed}",
        "__Host-id",
        "x=__Host-id={tossed}",
    ] {
        case.is_another_cookie(cookie).await;
    }
}

/// Two live sessions of one name: the server cannot know which one is the visitor's, so neither is taken. A request
/// in this state writes to neither.
async fn a_doubled_cookie_gets_nobody_into_the_attackers_session(db: Db) {
    let case = Case::new(&db).await;
    for headers in [
        &["__Host-id={tossed}; __Host-id={own}"][..],
        &["__Host-id={own}; __Host-id={tossed}"],
        &["__Host-id={tossed}; a=1; __Host-id={own}; __Host-id={tossed}"],
    ] {
        assert_eq!(case.who(headers).await, "nobody", "{headers:?}");
        assert_eq!(case.send("/put/card/4111", headers).await.status, 200);
        for cookie in ["__Host-id={tossed}", "__Host-id={own}"] {
            assert_eq!(case.send("/get/card", &[cookie]).await.body, "nothing");
        }
    }
    // The visitor's own cookie twice is the visitor's. So is one live cookie beside a made-up or an ended one.
    assert_eq!(case.who(&["__Host-id={own}; __Host-id={own}"]).await, "ada");
    let made_up = super::made_up();
    assert_eq!(case.who(&[&format!("__Host-id={made_up}; __Host-id={{own}}")]).await, "ada");
    case.site.sessions.revoke_user("mallory").await.unwrap();
    assert_eq!(case.who(&["__Host-id={tossed}; __Host-id={own}"]).await, "ada");
}

/// As in one header: the order and the number of the headers decide nothing.
async fn two_headers_are_one(db: Db) {
    let case = Case::new(&db).await;
    for headers in [
        &["__Host-id={tossed}", "__Host-id={own}"][..],
        &["__Host-id={own}", "__Host-id={tossed}"],
        &["__Host-id={own}", "a=1", "b=2; __Host-id={tossed}"],
    ] {
        assert_eq!(case.who(headers).await, "nobody", "{headers:?}");
    }
    for headers in [
        &["a=1", "__Host-id={own}"][..],
        &["__Host-id={own}", "__Host-id=x"],
        &["__Host-id=x", "__Host-id={own}"],
    ] {
        assert_eq!(case.who(headers).await, "ada", "{headers:?}");
    }
    // A header does not begin in the middle of another one's cookie.
    assert_eq!(case.who(&["__Host-", "id={own}"]).await, "nobody");
    assert_eq!(case.who(&["__Host-id=", "{own}"]).await, "nobody");
}
