use std::{fmt, net::IpAddr, sync::Arc, time::Instant};

use ::http::{
    Extensions, HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, SET_COOKIE, USER_AGENT, VARY},
};
use tokio::sync::OnceCell;

use super::{
    cookie_header::{self, Found},
    layer::Config,
};
use crate::{
    client::Client,
    context::observed,
    error::{Error, ErrorKind, Result},
    session::{CookieChange, Session},
    token::Token,
};

/// A request's session before anybody asked for it.
#[derive(Clone)]
pub(super) struct Slot(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    token: Option<Token>,
    ip: Option<IpAddr>,
    user_agent: Option<HeaderValue>,
    arrived: Instant,
    session: OnceCell<Session>,
}

impl Slot {
    pub(super) fn of_request(
        config: &Arc<Config>,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Self {
        let token = match cookie_header::find(headers, config.cookie.name()) {
            Found::Nothing => None,
            Found::One(value) => {
                let token = Token::parse(value);
                if token.is_none() {
                    observed::refused_cookie("malformed");
                }
                token
            }
            Found::Several => {
                observed::refused_cookie("the request brought several of that name");
                None
            }
        };
        Self(Arc::new(Inner {
            token,
            ip: config.client_ip.as_ref().and_then(|find| find(headers, extensions)),
            user_agent: headers.get(USER_AGENT).cloned(),
            arrived: Instant::now(),
            session: OnceCell::new(),
            config: config.clone(),
        }))
    }

    /// The session, loaded by whoever asks first. A failure is not kept: the next one asks again.
    async fn load(&self) -> Result<Session> {
        let request = &self.0;
        let load = || {
            let mut client = Client::new().ip(request.ip);
            if let Some(agent) = &request.user_agent {
                client = client.user_agent(&String::from_utf8_lossy(agent.as_bytes()));
            }
            Session::open(
                request.config.sessions.context().clone(),
                request.token.clone(),
                client,
                request.arrived,
            )
        };
        request.session.get_or_try_init(load).await.cloned()
    }

    /// The session, if anybody asked for it.
    pub(super) fn session(&self) -> Option<&Session> {
        self.0.session.get()
    }

    /// Tells the browser, and keeps what it is told out of shared caches.
    pub(super) fn change_cookie(&self, change: &CookieChange, headers: &mut HeaderMap) {
        let cookie = &self.0.config.cookie;
        let value = match change {
            CookieChange::Keep => return,
            CookieChange::Set { value, max_age } => cookie.set(value, *max_age),
            CookieChange::Remove => cookie.remove(),
        };
        headers.append(SET_COOKIE, value);
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        let names_cookie = |value: &HeaderValue| {
            let mut names = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"cookie"))
        };
        if !headers.get_all(VARY).iter().any(names_cookie) {
            headers.append(VARY, HeaderValue::from_static("cookie"));
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("session", &self.0.session.get()).finish_non_exhaustive()
    }
}

impl Session {
    /// The session of a request that came through [`SessionLayer`](super::SessionLayer), by the
    /// request's extensions. Loads it the first time; every further call in the same request is the
    /// same session.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the layer is missing,
    /// [`Database`](ErrorKind::Database).
    pub async fn of(extensions: &Extensions) -> Result<Self> {
        let slot = extensions.get::<Slot>().ok_or_else(|| {
            Error::new(
                ErrorKind::Configuration,
                "no session: add SessionLayer to the router, around this route",
            )
        })?;
        slot.load().await
    }
}
