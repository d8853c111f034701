//! Line breaks in what a client sends do not become headers of a response.

use axum::routing::get;
use sessile::{Error, LogInRequiredLayer, Session, SessionCookie};

use super::answer;
use crate::{
    site::{Library, routes},
    support::{Db, cases},
    wire::Connection,
};

cases! { no_line_break_of_a_request_becomes_a_header_of_the_response }

const BREAKS: [&str; 9] = [
    "%0d%0a",
    "%0D%0A",
    "%0a",
    "%0d",
    "%0d%0a%20",
    "%250d%250a",
    "%E5%98%8A%E5%98%8D",
    "%c4%8d%c4%8a",
    "%e2%80%a8",
];

async fn no_line_break_of_a_request_becomes_a_header_of_the_response(db: Db) {
    let library = Library::over(&db);
    let private = routes()
        .route("/private/{*rest}", get(async || "private"))
        .route_layer(LogInRequiredLayer::redirecting_to("/login"));
    let fails = async |session: Session| {
        session.require_recent(sessile::minutes(5))?;
        Ok::<_, Error>("recent")
    };
    let app = private.merge(routes_of("/open")).route("/recent/{*rest}", get(fails));
    let site = library.serve(app).await;
    let page = [b"Accept: text/html".to_vec(), b"Sec-Fetch-Mode: navigate".to_vec()];
    let names = |answer: &str| -> Vec<String> {
        let head = answer.split("\r\n\r\n").next().unwrap();
        assert_eq!(head.matches('\n').count(), head.matches("\r\n").count(), "{answer:?}");
        assert_eq!(head.matches('\r').count(), head.matches("\r\n").count(), "{answer:?}");
        head.split("\r\n")
            .skip(1)
            .map(|line| line.split(':').next().unwrap().to_lowercase())
            .collect()
    };
    // The same headers as without a break.
    let plain = |path: &str| path.replace("{}", "x");
    for path in [
        "/private/{}Set-Cookie:evil=1",
        "/private/a?next={}Set-Cookie:evil=1{}{}<script>",
        "/recent/{}Set-Cookie:evil=1",
        "/nothing/{}Set-Cookie:evil=1",
        "/open/log-in/ada{}Set-Cookie:evil=1",
        "/open/put/a{}Set-Cookie:evil=1/b{}Set-Cookie:evil=2",
    ] {
        let expected = names(&answer(&site, "GET", &plain(path), &page).await);
        for line_break in BREAKS {
            let answer = answer(&site, "GET", &path.replace("{}", line_break), &page).await;
            assert_eq!(names(&answer), expected, "{path} {line_break}: {answer}");
            let location = answer.lines().find_map(|line| line.strip_prefix("location: "));
            if let Some(location) = location {
                let is_visible = |c: char| c.is_ascii_graphic();
                assert!(
                    location.chars().all(is_visible)
                        && location.starts_with("/login?next=%2Fprivate"),
                    "{location}"
                );
                assert!(!location.contains("Set-Cookie:"), "{location}");
            }
            for cookie in answer.lines().filter(|line| line.starts_with("set-cookie: ")) {
                assert!(
                    cookie.starts_with("set-cookie: __Host-id=") && !cookie.contains("evil"),
                    "{cookie}"
                );
            }
        }
    }
    // Raw bytes in the cookie or in the agent: the server refuses the request, or reads another header.
    for bytes in [
        &b"Cookie: __Host-id=x\rSet-Cookie: evil=1"[..],
        b"Cookie: __Host-id=x\0y",
        b"User-Agent: a\rb: c",
    ] {
        let mut connection = Connection::open(site.address).await;
        connection.get("/open/log-in/ada", &[bytes.to_vec(), b"Connection: close".to_vec()]).await;
        let answer = String::from_utf8(connection.rest().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("evil"), "{answer}");
    }
    // The application's own texts for the cookie are checked.
    for text in ["a\r\nSet-Cookie: evil=1", "a; Domain=evil.example", "a\n", "a\0"] {
        assert!(SessionCookie::default().named(text).is_err(), "{text:?}");
        assert!(
            SessionCookie::builder().name("__Secure-a").domain(text).build().is_err(),
            "{text:?}"
        );
    }
}

/// The usual routes below a path.
fn routes_of(path: &str) -> axum::Router {
    axum::Router::new().nest(path, routes())
}
