//! An application on a port of its own, and those who visit it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

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

/// The library over a spied database.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    pub(crate) sessions: Sessions,
    pub(crate) spy: Spy,
}

impl Library {
    /// With the defaults.
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

    /// Serves routes under the layer as it is by default.
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
    /// These routes under the layer as it is by default, and the library's default policy.
    pub(crate) async fn serve(db: &Db, routes: Router) -> Self {
        Library::over(db).serve(routes).await
    }

    /// A browser that was never here.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor { address: self.address, cookies: BTreeMap::new() }
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

    /// A request with these header lines, on a connection of its own.
    pub(crate) async fn get(&self, path: &str, lines: &[Vec<u8>]) -> Response {
        let mut connection = Connection::open(self.address).await;
        connection.get(path, lines).await;
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
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    address: SocketAddr,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    pub(crate) async fn get(&mut self, path: &str) -> Response {
        self.try_get(path).await.expect("the server answers")
    }

    /// `None` where the server closed the connection without an answer.
    pub(crate) async fn try_get(&mut self, path: &str) -> Option<Response> {
        let mut connection = self.begin(path).await;
        let response = connection.response().await?;
        self.keep_cookies_of(&response);
        Some(response)
    }

    pub(crate) fn keep_cookies_of(&mut self, response: &Response) {
        for cookie in response.set_cookies() {
            if cookie.attributes.contains("Max-Age=0") {
                self.cookies.remove(&cookie.name);
            } else {
                self.cookies.insert(cookie.name, cookie.value);
            }
        }
    }

    /// Sends the request and leaves the rest to the test.
    pub(crate) async fn begin(&self, path: &str) -> Connection {
        let mut connection = Connection::open(self.address).await;
        connection.get(path, &self.lines()).await;
        connection
    }

    /// The header lines of its requests.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let pairs: Vec<_> = pairs.collect();
        if pairs.is_empty() {
            return Vec::new();
        }
        vec![format!("Cookie: {}", pairs.join("; ")).into_bytes()]
    }

    pub(crate) fn has_cookie(&self) -> bool {
        !self.cookies.is_empty()
    }

    /// The value of its only cookie.
    pub(crate) fn token(&self) -> &str {
        assert_eq!(self.cookies.len(), 1, "{:?}", self.cookies.keys());
        self.cookies.values().next().unwrap()
    }
}

/// A `Set-Cookie` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetCookie {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) attributes: BTreeSet<String>,
}

impl Response {
    pub(crate) fn set_cookies(&self) -> Vec<SetCookie> {
        let read = |header: &str| {
            let mut parts = header.split("; ").map(str::to_owned);
            let pair = parts.next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            SetCookie {
                name: name.to_owned(),
                value: value.to_owned(),
                attributes: parts.collect(),
            }
        };
        self.all("set-cookie").into_iter().map(read).collect()
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

    /// Whether it takes the session's cookie away, and sets nothing else.
    pub(crate) fn removes_the_cookie(&self) -> bool {
        let all = self.set_cookies();
        all.len() == 1 && all[0].value.is_empty() && all[0].attributes.contains("Max-Age=0")
    }
}

/// What most tests need: `/` says who asks, `/put/{key}/{value}` records, `/get/{key}` reads,
/// `/log-in/{user}` and `/log-out` act at once, `/untouched` does not ask for its session.
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
