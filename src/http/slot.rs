use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use ::http::{
    Extensions, HeaderMap, HeaderValue, Response, Uri,
    header::{SET_COOKIE, USER_AGENT},
    request::Parts,
};
use tokio::sync::OnceCell;

use super::{
    answer::Asked,
    caching, cookie_header,
    cross_site::{self, FromAnotherSite},
    layer::Config,
};
use crate::{
    Sessions,
    client::Client,
    error::{Error, ErrorKind, Result},
    session::{CookieChange, Presented, Session},
};

/// The session of a request, which the first call that asks for it loads.
#[derive(Clone)]
pub(super) struct Slot(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    presented: Presented,
    /// Whether a browser withholds a `SameSite=Lax` cookie from this request, because another site sent it.
    is_withheld: bool,
    uri: Uri,
    asked: Asked,
    ip: Option<IpAddr>,
    is_activity: bool,
    user_agent: Option<HeaderValue>,
    arrived: Instant,
    /// Whether a handler asked for the session. True also if the session could not be loaded.
    was_asked_for: AtomicBool,
    session: OnceCell<Session>,
}

/// The slots of a request, one for each layer. Handlers see the slot of the innermost layer.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    innermost: Slot,
    outer: Option<Arc<Slots>>,
}

impl Slots {
    pub(super) fn around(innermost: Slot, outer: Option<Self>) -> Self {
        Self { innermost, outer: outer.map(Arc::new) }
    }

    pub(super) fn each(slots: Option<&Self>) -> impl Iterator<Item = &Slot> {
        std::iter::successors(slots, |slots| slots.outer.as_deref()).map(|slots| &slots.innermost)
    }
}

impl Slot {
    pub(super) fn of_request(config: &Arc<Config>, request: &Parts) -> Self {
        let headers = &request.headers;
        let find_ip = config.client_ip.as_ref();
        Self(Arc::new(Inner {
            is_withheld: cross_site::withholds_lax_cookies(&request.method, headers),
            presented: Presented::of(cookie_header::values(headers, config.cookie.name())),
            uri: request.uri.clone(),
            asked: Asked::of(request, config.answer.as_ref()),
            ip: find_ip.and_then(|find| find(headers, &request.extensions)),
            is_activity: config.activity.as_ref().is_none_or(|is_activity| is_activity(request)),
            user_agent: headers.get(USER_AGENT).cloned(),
            arrived: Instant::now(),
            was_asked_for: AtomicBool::default(),
            session: OnceCell::new(),
            config: config.clone(),
        }))
    }

    pub(super) fn is_of(&self, sessions: &Sessions) -> bool {
        Arc::ptr_eq(self.0.config.sessions.context(), sessions.context())
    }

    pub(super) fn cookie(&self) -> &str {
        self.0.config.cookie.name()
    }

    /// Loads the session once. A failure is not kept: the next call queries the database again.
    async fn load(&self, passed_cross_site: bool) -> Result<Session> {
        let request = &self.0;
        request.was_asked_for.store(true, Ordering::Relaxed);
        let load = async || {
            let mut client = Client::new().ip(request.ip);
            if let Some(agent) = &request.user_agent {
                client = client.user_agent(&String::from_utf8_lossy(agent.as_bytes()));
            }
            let context = request.config.sessions.context().clone();
            let session =
                Session::open(context, &request.presented, client, request.arrived).await?;
            if (request.is_withheld || passed_cross_site)
                && request.presented.cookies == 0
                && !request.config.cookie.is_sent_cross_site()
            {
                session.refuse_to_begin();
            }
            session.set_activity(request.is_activity);
            Ok(session)
        };
        request.session.get_or_try_init(load).await.cloned()
    }

    /// The session, if it was loaded.
    pub(super) fn session(&self) -> Option<&Session> {
        self.0.session.get()
    }

    /// The request's target as it reached the layer, before a nested router removed a prefix.
    pub(super) fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// The layer's own answer.
    pub(super) fn answer<B: From<String>>(&self, error: &Error) -> Response<B> {
        self.0.asked.answer(error, self.0.config.answer.as_ref())
    }

    /// Sets the response's headers: the cookie, and the headers that keep it out of shared caches.
    pub(super) fn complete(&self, change: &CookieChange, headers: &mut HeaderMap) {
        if self.0.was_asked_for.load(Ordering::Relaxed) {
            caching::vary_by_cookie(headers);
        }
        let cookie = &self.0.config.cookie;
        let value = match change {
            CookieChange::Keep => return,
            CookieChange::Set { value, max_age } => cookie.set(value, *max_age),
            CookieChange::Remove => cookie.remove(),
        };
        // The browser sent several cookies of this name, so it may have some with other attributes. Their
        // removals come first, so that the browser keeps the cookie that is set last.
        if self.0.presented.cookies > 1 {
            for removal in cookie.remove_variants() {
                headers.append(SET_COOKIE, removal);
            }
        }
        headers.append(SET_COOKIE, value);
        caching::keep_out(headers, &self.0.config.told_of_caching);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("session", &self.0.session.get()).finish_non_exhaustive()
    }
}

impl Session {
    /// The session of a request that came through [`SessionLayer`](super::SessionLayer), from the request's
    /// extensions. The first call loads the session. Further calls in the same request return the same session.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the layer is missing,
    /// [`Database`](ErrorKind::Database).
    pub async fn of(extensions: &Extensions) -> Result<Self> {
        let slots = extensions.get::<Slots>().ok_or_else(|| {
            Error::new(
                ErrorKind::Configuration,
                "no session: add SessionLayer to the router, around this route",
            )
        })?;
        slots.innermost.load(extensions.get::<FromAnotherSite>().is_some()).await
    }
}
