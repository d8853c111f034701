//! The cookie with other attributes, over the wire.

use std::collections::BTreeSet;

use sessile::{SessionCookie, http::SameSite};

use crate::{
    site::{Library, routes},
    support::Db,
};

#[tokio::test]
async fn a_cookie_is_set_read_and_removed_as_it_was_configured() {
    let build = |builder: sessile::http::SessionCookieBuilder| builder.build().unwrap();
    let builder = SessionCookie::builder;
    let cookies: [(SessionCookie, &str, &[&str]); 8] = [
        (SessionCookie::default(), "__Host-id", &["SameSite=Lax", "Secure"]),
        (build(builder().same_site(SameSite::Strict)), "__Host-id", &["SameSite=Strict", "Secure"]),
        (build(builder().name("__Host-shop")), "__Host-shop", &["SameSite=Lax", "Secure"]),
        (
            build(builder().name("__Secure-id").domain("example.org")),
            "__Secure-id",
            &["SameSite=Lax", "Secure", "Domain=example.org"],
        ),
        (
            build(builder().same_site(SameSite::None).partitioned()),
            "__Host-id",
            &["SameSite=None", "Secure", "Partitioned"],
        ),
        (SessionCookie::insecure_for_development(), "id", &["SameSite=Lax"]),
        (
            SessionCookie::insecure_for_development().named("shop").unwrap(),
            "shop",
            &["SameSite=Lax"],
        ),
        (
            build(builder().name("dev.sid").insecure_for_development().same_site(SameSite::Strict)),
            "dev.sid",
            &["SameSite=Strict"],
        ),
    ];
    let db = Db::sqlite().await;
    for (cookie, name, attributes) in cookies {
        let library = Library::over(&db);
        let app = routes().layer(library.layer().cookie(cookie));
        let site = library.serve_as_is(app).await;
        let mut visitor = site.visitor();

        let set = visitor.get("/put/a/1").await.set_cookie();
        let mut expected: BTreeSet<_> = attributes.iter().map(ToString::to_string).collect();
        expected.extend(["HttpOnly".to_owned(), "Path=/".to_owned()]);
        assert_eq!((set.name.as_str(), &set.attributes), (name, &expected));
        assert_eq!(visitor.get("/get/a").await.body, "1");

        // The token has no meaning under another layer's name.
        for other in ["__Host-id", "__Secure-id", "id", "dev.sid", "shop", "__Host-shop"] {
            let line = format!("Cookie: {other}={}", set.value).into_bytes();
            let who = if other == name { "a guest" } else { "nobody" };
            assert_eq!(site.get("/", &[line]).await.body, who, "{name}, {other}");
        }

        let removed = visitor.get("/log-out").await.set_cookie();
        let end = ["Max-Age=0", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"];
        expected.extend(end.map(str::to_owned));
        assert_eq!((removed.name.as_str(), removed.value.as_str()), (name, ""));
        assert_eq!(removed.attributes, expected);
    }
}

#[tokio::test]
async fn the_name_by_default_is_the_realms() {
    let db = Db::sqlite().await;
    let development = SessionCookie::insecure_for_development;
    let cases = [
        ("", None, "__Host-id"),
        ("office", None, "__Host-office"),
        ("", Some(development()), "id"),
        ("office", Some(development()), "office"),
        ("office", Some(development().named("mine").unwrap()), "mine"),
        ("office", Some(SessionCookie::default()), "__Host-office"),
        ("office", Some(SessionCookie::default().named("__Host-mine").unwrap()), "__Host-mine"),
        (
            "office",
            Some(SessionCookie::builder().same_site(SameSite::Strict).build().unwrap()),
            "__Host-office",
        ),
    ];
    for (realm, cookie, name) in cases {
        let library = Library::with(&db, |builder| builder.realm(realm));
        let layer = match cookie {
            Some(cookie) => library.layer().cookie(cookie),
            None => library.layer(),
        };
        let site = library.serve_as_is(routes().layer(layer)).await;
        let mut visitor = site.visitor();
        assert_eq!(visitor.get("/put/a/1").await.set_cookie().name, name);
        assert_eq!(visitor.get("/get/a").await.body, "1");
        assert_eq!(visitor.get("/log-out").await.set_cookie().name, name);
    }
}
