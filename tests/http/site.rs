//! An application on a separate port, and its visitors.

use std::{collections::BTreeSet, net::SocketAddr};

use axum::{
    Router,
    extract::Path,
    routing::{MethodRouter, get},
};
use sessile::{Error, Session, SessionLayer, Sessions, SessionsBuilder};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    spy::Spy,
    support::Db,
    wire::{Connection, Response},
};

/// The answer of the layer and of [`Error`] to failures for which the visitor is not responsible.
pub(crate) const NOT_NOW: &str = "The session is not available at the moment.\n";

/// The library on a spied database.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    pub(crate) sessions: Sessions,
    pub(crate) spy: Spy,
}

impl Library {
    /// With the default settings.
    pub(crate) fn over(db: &Db) -> Self {
        Self::with(db, |builder| builder)
    }

    pub(crate) fn with(db: &Db, set: impl FnOnce(SessionsBuilder) -> SessionsBuilder) -> Self {
        let spy = Spy::default();
        let sessions = set(db.tapped(spy.hook())).build().unwrap();
        Self { sessions, spy }
    }

    pub(crate) fn layer(&self) -> SessionLayer {
        SessionLayer::new(self.sessions.clone())
    }

    /// Serves routes under the layer with its defaults.
    pub(crate) async fn serve(&self, routes: Router) -> Site {
        self.serve_as_is(routes.layer(self.layer())).await
    }

    /// Serves routes that have their layers already.
    pub(crate) async fn serve_as_is(&self, app: Router) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Site { address, sessions: self.sessions.clone(), spy: self.spy.clone(), server }
    }
}

/// An application that runs.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) sessions: Sessions,
    pub(crate) spy: Spy,
    server: JoinHandle<()>,
}

impl Site {
    /// These routes under the default layer, with the library's default policy.
    pub(crate) async fn serve(db: &Db, routes: Router) -> Self {
        Library::over(db).serve(routes).await
    }

    /// A browser without a cookie.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor { address: self.address, cookies: Vec::new() }
    }

    /// A browser with an anonymous session that holds `{"a": "1"}`. Needs [`routes`].
    pub(crate) async fn guest(&self) -> Visitor {
        self.visitor_after("/put/a/1").await
    }

    /// A browser that is logged in. Needs [`routes`].
    pub(crate) async fn user(&self, name: &str) -> Visitor {
        self.visitor_after(&format!("/log-in/{name}")).await
    }

    async fn visitor_after(&self, path: &str) -> Visitor {
        let mut visitor = self.visitor();
        assert_eq!(visitor.get(path).await.status, 200);
        self.spy.take();
        visitor
    }

    /// A request with these header lines, on a separate connection.
    pub(crate) async fn get(&self, path: &str, lines: &[Vec<u8>]) -> Response {
        self.send("GET", path, lines).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, lines: &[Vec<u8>]) -> Response {
        let mut connection = Connection::open(self.address).await;
        connection.send(method, path, lines).await;
        connection.response().await.expect("the server answers")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A browser: sends back the cookies that it got. Clones are further tabs with the cookies of the
/// moment.
///
/// It treats every site as `https://test`, on every port, as browsers do with cookies.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    address: SocketAddr,
    /// In the order in which the server first set them. Browsers send them in this order.
    cookies: Vec<Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    key: Key,
    value: String,
}

/// The attributes that distinguish two cookies of one name and path (RFC 6265bis §5.7, CHIPS).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    name: String,
    /// `None` for a host-only cookie.
    domain: Option<String>,
    partitioned: bool,
}

impl Visitor {
    pub(crate) async fn get(&mut self, path: &str) -> Response {
        self.try_get(path).await.expect("the server answers")
    }

    /// `None` if the server closed the connection without an answer.
    pub(crate) async fn try_get(&mut self, path: &str) -> Option<Response> {
        let mut connection = self.begin(path).await;
        let response = connection.response().await?;
        self.keep_cookies_of(&response);
        Some(response)
    }

    pub(crate) fn keep_cookies_of(&mut self, response: &Response) {
        for cookie in response.set_cookies() {
            self.keep(&cookie);
        }
    }

    /// Takes over a cookie of this host, or a planted one of a sibling, from the server's header.
    pub(crate) fn keep(&mut self, cookie: &SetCookie) {
        assert!(cookie.is_taken_by_browsers(), "{cookie:?}");
        let key = cookie.key();
        if cookie.is_removal() {
            self.cookies.retain(|kept| kept.key != key);
            return;
        }
        match self.cookies.iter_mut().find(|kept| kept.key == key) {
            Some(kept) => kept.value.clone_from(&cookie.value),
            None => self.cookies.push(Kept { key, value: cookie.value.clone() }),
        }
    }

    /// Goes to another application on the same host.
    pub(crate) fn at(&mut self, site: &Site) -> &mut Self {
        self.address = site.address;
        self
    }

    /// Sends the request and leaves the rest to the test.
    pub(crate) async fn begin(&self, path: &str) -> Connection {
        let mut connection = Connection::open(self.address).await;
        connection.get(path, &self.lines()).await;
        connection
    }

    /// The header lines that the browser sends.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        let pairs = self.cookies.iter().map(|kept| format!("{}={}", kept.key.name, kept.value));
        let pairs: Vec<_> = pairs.collect();
        if pairs.is_empty() {
            return Vec::new();
        }
        vec![format!("Cookie: {}", pairs.join("; ")).into_bytes()]
    }

    /// The number of cookies of that name that it sends.
    pub(crate) fn cookies_of(&self, name: &str) -> usize {
        self.cookies.iter().filter(|kept| kept.key.name == name).count()
    }

    pub(crate) fn has_cookie(&self) -> bool {
        !self.cookies.is_empty()
    }

    /// The value of its only cookie.
    pub(crate) fn token(&self) -> &str {
        assert_eq!(self.cookies.len(), 1, "{:?}", self.cookies);
        &self.cookies[0].value
    }
}

/// A line with a cookie of the default name, and further ones.
pub(crate) fn cookies(values: &[&str]) -> Vec<u8> {
    let pairs: Vec<_> = values.iter().map(|value| format!("__Host-id={value}")).collect();
    format!("Cookie: {}", pairs.join("; ")).into_bytes()
}

/// A `Set-Cookie` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetCookie {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) attributes: BTreeSet<String>,
}

impl SetCookie {
    pub(crate) fn read(header: &str) -> Self {
        let mut parts = header.split("; ").map(str::to_owned);
        let pair = parts.next().unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        Self { name: name.to_owned(), value: value.to_owned(), attributes: parts.collect() }
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find_map(|one| one.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn is_removal(&self) -> bool {
        self.value.is_empty() && self.attributes.contains("Max-Age=0")
    }

    fn key(&self) -> Key {
        Key {
            name: self.name.clone(),
            domain: self.attribute("Domain").map(str::to_owned),
            partitioned: self.attributes.contains("Partitioned"),
        }
    }

    fn is_taken_by_browsers(&self) -> bool {
        let has = |attribute| self.attributes.contains(attribute);
        let needs_secure = has("Partitioned")
            || has("SameSite=None")
            || self.name.starts_with("__Host-")
            || self.name.starts_with("__Secure-");
        let is_host_only = has("Path=/") && self.attribute("Domain").is_none();
        (has("Secure") || !needs_secure) && (is_host_only || !self.name.starts_with("__Host-"))
    }
}

impl Response {
    pub(crate) fn set_cookies(&self) -> Vec<SetCookie> {
        self.all("set-cookie").into_iter().map(SetCookie::read).collect()
    }

    /// The only `Set-Cookie`.
    pub(crate) fn set_cookie(&self) -> SetCookie {
        let mut all = self.set_cookies();
        assert_eq!(all.len(), 1, "{:?}", self.headers);
        all.remove(0)
    }

    pub(crate) fn sets_no_cookie(&self) -> bool {
        self.set_cookies().is_empty()
    }

    /// Whether the response removes the session's cookie, and sets nothing else.
    pub(crate) fn removes_the_cookie(&self) -> bool {
        let all = self.set_cookies();
        all.len() == 1 && all[0].is_removal()
    }
}

/// The routes that most tests use: `/` returns the user, `/put/{key}/{value}` records, `/get/{key}` reads,
/// `/log-in/{user}` and `/log-out` act at once, `/untouched` does not load its session.
pub(crate) fn routes() -> Router {
    Router::new()
        .route("/", who())
        .route("/untouched", get(|| async { "untouched" }))
        .route("/put/{key}/{value}", get(put))
        .route("/get/{key}", get(read))
        .route("/log-in/{user}", get(log_in))
        .route("/log-out", get(log_out))
}

/// `nobody`, `a guest` with a row, or the user.
pub(crate) fn who() -> MethodRouter {
    get(|session: Session| async move {
        match (session.id(), session.user_id()) {
            (_, Some(user)) => user,
            (Some(_), None) => "a guest".to_owned(),
            (None, None) => "nobody".to_owned(),
        }
    })
}

async fn put(
    session: Session,
    Path((key, value)): Path<(String, String)>,
) -> Result<&'static str, Error> {
    session.insert(&key, value)?;
    Ok("put")
}

async fn read(session: Session, Path(key): Path<String>) -> Result<String, Error> {
    Ok(session.get(&key)?.unwrap_or_else(|| "nothing".to_owned()))
}

async fn log_in(session: Session, Path(user): Path<String>) -> Result<&'static str, Error> {
    session.log_in(user).await?;
    Ok("logged in")
}

async fn log_out(session: Session) -> Result<&'static str, Error> {
    session.log_out().await?;
    Ok("logged out")
}
