//! The console at an address of its own, over HTTP.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, Response, StatusCode, header, redirect::Policy};
use sessile_admin::Database;
use sessile_console::Standalone;

use crate::{
    browser::{between, links},
    pages::FIREFOX,
    support::{Db, log_in},
};

struct Server {
    address: SocketAddr,
    link: String,
    client: Client,
    _db: Db,
}

impl Server {
    async fn start(of: impl FnOnce(Standalone) -> Standalone) -> Self {
        let db = Db::sqlite();
        let sessions = db.sessions().await;
        log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
        let database = Database::open(&db.url).await.unwrap();
        let bound = of(Standalone::new(database)).bind("127.0.0.1:0").await.unwrap();
        let (address, link) = (bound.address(), bound.link().to_owned());
        tokio::spawn(bound.serve());
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        Self { address, link, client, _db: db }
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> Response {
        let mut request = self.client.get(self.at(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// Opens the link, and returns the cookie.
    async fn open(&self) -> Option<String> {
        let link = self.link.replace("https://admin.example.org", &self.at(""));
        let answer = self.client.get(link).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let location = answer.headers()[header::LOCATION].to_str().unwrap();
        assert!(!location.contains("token") && location.ends_with('/'), "{location}");
        assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let cookie = answer.headers().get(header::SET_COOKIE)?.to_str().unwrap();
        for part in ["; HttpOnly", "; SameSite=Strict", "; Max-Age=43200"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        Some(cookie.split(';').next().unwrap().to_owned())
    }
}

const PATHS: [&str; 7] =
    ["/", "/events", "/user?id=ada", "/user/end?id=ada", "/end", "/live", "/nothing"];

#[tokio::test]
async fn the_link_opens_the_console_once() {
    let server = Server::start(|standalone| standalone.name("grace")).await;
    for path in PATHS {
        let answer = server.get(path, &[("cookie", "sessile-console-1=x")]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        let page = answer.text().await.unwrap();
        assert!(
            page.contains("stop the command and run it again") && !page.contains("ada"),
            "{page}"
        );
    }
    for wrong in
        ["/open", "/open?token=", "/open?token=x", &format!("/open?token={}", "A".repeat(43))]
    {
        let answer = server.get(wrong, &[]).await;
        assert!(!answer.headers().contains_key(header::SET_COOKIE), "{wrong}");
    }
    // A browser that looks ahead, and a program that only asks whether the page is there.
    let path = server.link.strip_prefix(&server.at("")).unwrap();
    assert_eq!(
        server.get(path, &[("sec-purpose", "prefetch")]).await.status(),
        StatusCode::NO_CONTENT
    );
    server.client.head(&server.link).send().await.unwrap();

    let cookie = server.open().await.expect("the link works");
    assert!(cookie.starts_with(&format!("sessile-console-{}=", server.address.port())), "{cookie}");
    assert_eq!(server.open().await, None, "the link works only once");
    let token = server.link.split_once("token=").unwrap().1;
    for path in PATHS.iter().filter(|path| **path != "/nothing") {
        let answer = server.get(path, &[("cookie", &cookie)]).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let page = answer.text().await.unwrap();
        assert!(!page.contains(token) && !page.contains(cookie.split_once('=').unwrap().1));
    }
    let forged = format!("sessile-console-{}={}", server.address.port(), "A".repeat(43));
    assert_eq!(server.get("/", &[("cookie", &forged)]).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_one_gets_in() {
    for _ in 0..10 {
        let server = Server::start(|standalone| standalone).await;
        let (one, other) = tokio::join!(server.open(), server.open());
        assert!(one.is_some() != other.is_some(), "{one:?} {other:?}");
    }
}

#[tokio::test]
async fn only_the_own_host_is_served() {
    let server = Server::start(|standalone| standalone).await;
    let cookie = server.open().await.unwrap();
    let port = server.address.port();
    for host in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1:1", "localhost", ""] {
        let answer = server.get("/", &[("cookie", &cookie), ("host", host)]).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{host}");
        assert!(answer.headers().contains_key("content-security-policy"));
    }
    for host in [format!("localhost:{port}"), format!("LOCALHOST:{port}"), format!("[::1]:{port}")]
    {
        assert_eq!(
            server.get("/", &[("cookie", &cookie), ("host", &host)]).await.status(),
            StatusCode::OK,
            "{host}"
        );
    }
}

#[tokio::test]
async fn the_visitor_ends_sessions_in_their_name_unless_it_is_read_only() {
    for is_read_only in [false, true] {
        // In either order.
        let server = Server::start(|standalone| match is_read_only {
            true => standalone.read_only(true).name("grace"),
            false => standalone.name("grace").read_only(false),
        })
        .await;
        let cookie = server.open().await.unwrap();
        let page = server.get("/user/end?id=ada", &[("cookie", &cookie)]).await;
        if is_read_only {
            assert_eq!(page.status(), StatusCode::FORBIDDEN);
            continue;
        }
        let form_cookie = page.headers()[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let token =
            between(&page.text().await.unwrap(), "name=\"token\" value=\"", "\"").to_owned();
        let post = server
            .client
            .post(server.at("/user/end?id=ada"))
            .form(&[("token", token.as_str()), ("reason", "a test")]);
        let answer = post
            .header("cookie", format!("{cookie}; {form_cookie}"))
            .header("origin", server.at(""))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let page = server.get("/user?id=ada", &[("cookie", &cookie)]).await.text().await.unwrap();
        assert!(
            page.contains("console:grace") && page.contains("not logged in anywhere"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn other_machines_need_a_word() {
    let db = Db::sqlite();
    db.sessions().await;
    let standalone = async || Standalone::new(Database::open(&db.url).await.unwrap());
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = standalone().await.bind(address).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    }
    standalone().await.allow_remote(true).bind("0.0.0.0:0").await.unwrap();
    standalone().await.bind("localhost:0").await.unwrap();
    assert!(standalone().await.base_path("x y").bind("127.0.0.1:0").await.is_err());
    assert!(standalone().await.origin("example.org").bind("127.0.0.1:0").await.is_err());
}

/// Somebody opens the link some seconds after the start. By then the figures of the overview are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_are_counted_before_anybody_looks() {
    let db = Db::postgres().await;
    db.sessions().await;
    let pool = sqlx::PgPool::connect(&db.url).await.unwrap();
    let mut locking = pool.begin().await.unwrap();
    sqlx::query("lock table sessile.sessions in access exclusive mode")
        .execute(&mut *locking)
        .await
        .unwrap();
    let database = Database::open(&db.url).await.unwrap();
    let _bound = Standalone::new(database).bind("127.0.0.1:0").await.unwrap();
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let is_asked = async {
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&pool).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), is_asked).await.expect("figures are asked");
    locking.rollback().await.unwrap();
    pool.close().await;
    db.drop().await;
}

#[tokio::test]
async fn behind_a_proxy_with_a_base_path() {
    let server = Server::start(|standalone| {
        standalone.base_path("/tools/sessions").origin("https://admin.example.org/")
    })
    .await;
    assert!(
        server.link.starts_with("https://admin.example.org/tools/sessions/open?token="),
        "{}",
        server.link
    );
    let cookie = server.open().await.unwrap();
    let host = ("host", "admin.example.org");
    // The proxy leaves the path, or removes it.
    for path in
        ["/tools/sessions/", "/tools/sessions", "/", "/tools/sessions/user?id=ada", "/user?id=ada"]
    {
        let answer = server.get(path, &[("cookie", &cookie), host]).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        for link in links(&answer.text().await.unwrap()) {
            assert!(link.starts_with("/tools/sessions/") || link.starts_with('#'), "{link}");
        }
    }
    assert_eq!(
        server.get("/tools/sessionsx", &[("cookie", &cookie), host]).await.status(),
        StatusCode::NOT_FOUND
    );
    let page = server.get("/", &[("cookie", &cookie), host]).await;
    let form = page.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(form.contains("; Secure") && form.contains("; Path=/tools/sessions;"), "{form}");
}

/// A sibling subdomain, or somebody on the path of a plain HTTP request, cannot plant a cookie under these names.
#[tokio::test]
async fn behind_https_the_cookies_have_the_strictest_names() {
    let https = ("x-forwarded-proto", "https");
    let plain = ("x-forwarded-proto", "http");
    // The base path, the origin, the proxy's header, the beginning of both cookies.
    for (base, origin, proto, prefix) in [
        ("", Some("https://admin.example.org"), plain, "__Host-"),
        ("/tools", Some("https://admin.example.org"), plain, "__Secure-"),
        ("", None, https, "__Host-"),
        ("/tools", None, https, "__Secure-"),
        ("", None, plain, ""),
    ] {
        let server = Server::start(|standalone| match origin {
            Some(origin) => standalone.base_path(base).origin(origin),
            None => standalone.base_path(base),
        })
        .await;
        let path = format!("{base}/{}", server.link.split_once("/open").unwrap().1);
        let opened = server.get(&path.replace("/?", "/open?"), &[proto]).await;
        let visit = opened.headers()[header::SET_COOKIE].to_str().unwrap();
        let (pair, _) = visit.split_once(';').unwrap();
        let page = server.get(&format!("{base}/"), &[("cookie", pair), proto]).await;
        assert_eq!(page.status(), StatusCode::OK);
        let form = page.headers()[header::SET_COOKIE].to_str().unwrap();
        for cookie in [visit, form] {
            assert!(cookie.starts_with(&format!("{prefix}sessile-console-")), "{cookie}");
            assert_eq!(cookie.contains("; Secure"), !prefix.is_empty(), "{cookie}");
            assert_eq!(cookie.contains("; Path=/;"), base.is_empty(), "{cookie}");
        }
        // The same value under a name that others can plant.
        if let Some(planted) = pair.strip_prefix(prefix).filter(|planted| *planted != pair) {
            let answer = server.get(&format!("{base}/"), &[("cookie", planted), proto]).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        }
    }
}
