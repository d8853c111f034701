use std::{
    future::pending,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use axum::{
    Router,
    extract::{Query, Request, State},
    http::{
        HeaderName, Method, StatusCode, Uri,
        header::{HOST, LOCATION, SET_COOKIE},
        request::Parts,
        uri::PathAndQuery,
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use sessile_admin::Database;
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::{
    access::{Access, Refusal},
    console::Console,
    door,
    form_token::{self, Scope},
    link::{OneTimeLink, VISIT_LIFE},
    links::Links,
};

/// The console at an address of its own, for one person. Who has the link gets in: it works once and for ten minutes,
/// and its token has 256 random bits. The visit lasts as long as the program, at most 12 hours. Any other request gets
/// 401, or 403 if its `Host` is not this console's.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sessile_console::{Database, Standalone};
///
/// let database = Database::open("postgres://grace@localhost/shop").await?;
/// let console = Standalone::new(database).name("grace").bind("127.0.0.1:8080").await?;
/// println!("Open {}", console.link());
/// console.serve().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Standalone {
    database: Database,
    access: Access,
    base_path: String,
    allows_remote: bool,
    origin: Option<String>,
}

impl Standalone {
    /// The console over a database, on a loopback address, for somebody who may end sessions.
    pub fn new(database: impl Into<Database>) -> Self {
        Self {
            database: database.into(),
            access: Access::full("local"),
            base_path: String::new(),
            allows_remote: false,
            origin: None,
        }
    }

    /// Who uses it, for the events: `console:NAME`. Default: `local`.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.access =
            if self.access.may_end() { Access::full(name) } else { Access::read_only(name) };
        self
    }

    /// Shows everything, and ends nothing. Default: off.
    #[must_use]
    pub fn read_only(mut self, is_read_only: bool) -> Self {
        let name = self.access.name();
        self.access = if is_read_only { Access::read_only(name) } else { Access::full(name) };
        self
    }

    /// The path below which browsers see the console, if it is behind a proxy. The proxy may remove the path, or leave
    /// it. Default: none. See [`Console::base_path`].
    #[must_use]
    pub fn base_path(mut self, path: &str) -> Self {
        self.base_path = path.to_owned();
        self
    }

    /// Allows an address that other machines reach. Put a proxy with HTTPS before it: whoever sees the traffic can use
    /// the link and the cookie. Default: off, and only loopback addresses are allowed.
    #[must_use]
    pub fn allow_remote(mut self, allows: bool) -> Self {
        self.allows_remote = allows;
        self
    }

    /// The origin under which browsers see the console, if it is behind a proxy: `https://admin.example.org`. The link
    /// begins with it, and its host is accepted beside the address. With `https`, the cookies are `Secure`, as with
    /// [`Console::https`].
    #[must_use]
    pub fn origin(mut self, origin: &str) -> Self {
        self.origin = Some(origin.trim_end_matches('/').to_owned());
        self
    }

    /// Listens on an address, such as `127.0.0.1:8080`. Port 0 takes any free one.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the base path or the origin is not valid, or if the address is not a loopback one and
    /// [`allow_remote`](Self::allow_remote) is off. Otherwise the error of the system.
    pub async fn bind(self, address: &str) -> io::Result<Bound> {
        let invalid = |text: String| io::Error::new(ErrorKind::InvalidInput, text);
        let links = Links::new(&self.base_path).map_err(invalid)?;
        let addresses: Vec<_> = tokio::net::lookup_host(address).await?.collect();
        if !self.allows_remote && addresses.iter().any(|address| !address.ip().is_loopback()) {
            return Err(invalid(format!(
                "{address} is not a loopback address, and other machines could reach it"
            )));
        }
        let listener = TcpListener::bind(&addresses[..]).await?;
        let address = listener.local_addr()?;
        let (link, token) = OneTimeLink::new(Instant::now())
            .ok_or_else(|| io::Error::other("the system gives no random bytes"))?;
        let begin = self.origin.clone().unwrap_or_else(|| format!("http://{address}"));
        let url = format!("{begin}{}", links.to(&format!("/open?token={token}")));
        let is_https = begin.starts_with("https://");
        let entry = Arc::new(Entry {
            link,
            is_https,
            cookie: format!("sessile-console-{}", address.port()),
            hosts: hosts(address, self.origin.as_deref()),
            base: links.base().to_owned(),
            access: self.access,
        });
        let mut console = Console::new(self.database, entry.clone().guard()).warm_up().https(is_https)
            .help("open the link that `sessile console` has printed. It works once, for ten minutes. To get a new one, stop the command and run it again");
        if let Some(origin) = &self.origin {
            console = console.allow_origin(origin).map_err(|error| invalid(error.to_string()))?;
        }
        let app = app(console.router_at(links), &entry);
        Ok(Bound { listener, address, app, link: url })
    }
}

/// A [`Standalone`] console that listens, and serves when [`serve`](Self::serve) is called.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    app: Router,
    link: String,
}

impl Bound {
    /// The link that works once. Show it to nobody except the person who may use the console.
    pub fn link(&self) -> &str {
        &self.link
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the console until the program ends.
    pub async fn serve(self) -> io::Result<()> {
        self.serve_until(pending()).await
    }

    /// Serves the console until the future is ready, and then finishes the requests that have begun.
    pub async fn serve_until(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        axum::serve(self.listener, self.app).with_graceful_shutdown(stop).await
    }
}

#[derive(Debug)]
struct Entry {
    link: OneTimeLink,
    is_https: bool,
    cookie: String,
    /// In lower case. Empty: every host.
    hosts: Vec<String>,
    base: String,
    access: Access,
}

impl Entry {
    fn scope(&self, request: &Parts) -> Scope<'_> {
        let is_https = self.is_https || form_token::is_https(request);
        Scope { base: &self.base, is_https }
    }

    fn guard(self: Arc<Self>) -> impl Fn(Parts) -> std::future::Ready<Result<Access, Refusal>> {
        move |request| {
            let cookie = self.scope(&request).cookie(&request.headers, &self.cookie);
            let is_known = cookie.is_some_and(|cookie| self.link.knows(cookie, Instant::now()));
            std::future::ready(if is_known {
                Ok(self.access.clone())
            } else {
                Err(Refusal::not_logged_in())
            })
        }
    }
}

/// The names under which a browser reaches the address. A page of another name that leads to this address (DNS
/// rebinding) is refused. Every name, if the console listens on all addresses and knows no origin.
fn hosts(address: SocketAddr, origin: Option<&str>) -> Vec<String> {
    let of_origin = origin.and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    if of_origin.is_none() && !address.ip().is_loopback() {
        return Vec::new();
    }
    let port = address.port();
    let of_loopback = ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{host}:{port}"));
    let own = [address.to_string()].into_iter().chain(of_origin.map(str::to_ascii_lowercase));
    let bare = if port == 80 { &["localhost", "127.0.0.1", "[::1]"][..] } else { &[] };
    own.chain(of_loopback).chain(bare.iter().map(|&host| host.to_owned())).collect()
}

/// The console with the link. A path without the base path is of a proxy that has removed it.
fn app(console: Router, entry: &Arc<Entry>) -> Router {
    let open = get(open).layer(middleware::map_response(door::protect)).with_state(entry.clone());
    let inner = Router::new().route(&format!("{}/open", entry.base), open).merge(console);
    let base = entry.base.clone();
    let any = move |mut request: Request| {
        let path = request.uri().path();
        let is_below =
            path.strip_prefix(&base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !is_below && let Some(uri) = below(&base, request.uri()) {
            *request.uri_mut() = uri;
        }
        inner.clone().oneshot(request)
    };
    Router::new().fallback(any).layer(middleware::from_fn_with_state(entry.clone(), check_host))
}

fn below(base: &str, uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    format!("{base}{path}").parse().ok()
}

async fn check_host(State(entry): State<Arc<Entry>>, request: Request, next: Next) -> Response {
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(HOST).and_then(|host| host.to_str().ok()),
    };
    let host = host.unwrap_or_default().to_ascii_lowercase();
    if entry.hosts.is_empty() || entry.hosts.contains(&host) {
        return next.run(request).await;
    }
    let text = "This console is not at this address. Use the link that it has printed.\n";
    door::protect((StatusCode::FORBIDDEN, text).into_response()).await
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
}

/// Exchanges the token of the link for a cookie.
async fn open(
    State(entry): State<Arc<Entry>>,
    Query(sent): Query<Token>,
    request: Parts,
) -> Response {
    // A browser that looks ahead must not use the link up.
    let purpose = ["purpose", "sec-purpose"].map(HeaderName::from_static);
    let looks_ahead = purpose.iter().any(|name| request.headers.contains_key(name));
    if request.method == Method::HEAD || looks_ahead {
        return StatusCode::NO_CONTENT.into_response();
    }
    let start = format!("{}/", entry.base);
    let Some(visitor) = entry.link.open(&sent.token, Instant::now()) else {
        // Somebody who is inside already opens the link again: the console, or 401 with a page that says what to do.
        return (StatusCode::SEE_OTHER, [(LOCATION, start)]).into_response();
    };
    let seconds = VISIT_LIFE.as_secs();
    let cookie = entry.scope(&request).set_cookie(&entry.cookie, &visitor, Some(seconds));
    (StatusCode::SEE_OTHER, [(LOCATION, start), (SET_COOKIE, cookie)]).into_response()
}
