use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
};

use ::http::{Extensions, HeaderMap, Response, request::Parts};
use tower_layer::Layer;

use super::{SessionCookie, SessionService};
use crate::{Sessions, error::Error};

/// Gives every request a [`Session`](crate::Session), and loads it when the handler first asks for it.
///
/// A request costs no query if its handler does not ask for the session, or if it brings no cookie.
///
/// ```
/// # fn example(sessions: sessile::Sessions) -> axum::Router {
/// use axum::{Router, routing::get};
/// use sessile::{Session, http::SessionLayer};
///
/// async fn visits(session: Session) -> Result<String, sessile::Error> {
///     let n = session.update("visits", |n: &mut u64| { *n += 1; *n }).await?;
///     Ok(format!("visit {n}"))
/// }
///
/// Router::new().route("/", get(visits)).layer(SessionLayer::new(sessions))
/// # }
/// ```
///
/// # Several layers
///
/// A layer inside another layer over the same `Sessions` does nothing, because the request already has its
/// session. Layers over different `Sessions` need different [realms](crate::SessionsBuilder::realm) or different
/// cookie names. If they use the same name, every request is answered with 500 and an error that names the cookie.
#[derive(Clone, Debug)]
pub struct SessionLayer(Arc<Config>);

type Activity = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;
type ClientIp = Arc<dyn Fn(&HeaderMap, &Extensions) -> Option<IpAddr> + Send + Sync>;
pub(super) type Hook = Arc<dyn Fn(&Error, &Parts) -> Response<String> + Send + Sync>;

#[derive(Clone)]
pub(super) struct Config {
    pub(super) sessions: Sessions,
    /// Its name already follows the realm of the sessions.
    pub(super) cookie: SessionCookie,
    pub(super) client_ip: Option<ClientIp>,
    pub(super) activity: Option<Activity>,
    pub(super) answer: Option<Hook>,
    /// Whether a warning was logged about a handler that lets shared caches keep a cookie.
    pub(super) told_of_caching: Arc<AtomicBool>,
}

impl SessionLayer {
    /// A layer with the default cookie, and without addresses in the list of devices.
    pub fn new(sessions: Sessions) -> Self {
        Self(Arc::new(Config {
            cookie: SessionCookie::default().of_realm(sessions.realm()),
            sessions,
            client_ip: None,
            activity: None,
            answer: None,
            told_of_caching: Arc::default(),
        }))
    }

    /// Sets the cookie's attributes.
    #[must_use]
    pub fn cookie(self, cookie: SessionCookie) -> Self {
        self.with(|config| config.cookie = cookie.of_realm(config.sessions.realm()))
    }

    /// Finds the client's address, for the list of devices. Only the application knows where the address is: on
    /// the connection (axum puts `ConnectInfo` among the extensions), or in a header that its own proxy sets.
    #[must_use]
    pub fn client_ip(
        self,
        find: impl Fn(&HeaderMap, &Extensions) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.client_ip = Some(Arc::new(find)))
    }

    /// Decides which requests count as activity of the user. Default: all requests.
    ///
    /// A poll or a prefetch should not count: the browser sends it by itself, and an unattended tab must not keep
    /// a session alive. The session of such a request works as usual, but the request does not prolong it. A
    /// handler can override the decision with [`Session::set_activity`](crate::Session::set_activity).
    ///
    /// ```
    /// # fn example(layer: sessile::SessionLayer) -> sessile::SessionLayer {
    /// layer.activity(|request| {
    ///     let is_poll = request.uri.path() == "/notifications";
    ///     let is_prefetch = request.headers.contains_key("sec-purpose");
    ///     !is_poll && !is_prefetch
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn activity(self, is_activity: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.activity = Some(Arc::new(is_activity)))
    }

    /// Replaces the layer's own answers with answers of the application.
    ///
    /// The layer answers by itself if the recorded changes were not written, because the handler's answer would
    /// then be wrong: 401, 403, 409, 413 and 503. [`LogInRequiredLayer`](super::LogInRequiredLayer) gives the same
    /// answers. The function gets the error and the head of the request, without its
    /// extensions.
    ///
    /// Default: one sentence. It is JSON (`{"error": "session_ended", "message": "…"}`) if the request's `Accept`
    /// names JSON and no HTML, and plain text otherwise.
    ///
    /// ```
    /// # fn example(layer: sessile::SessionLayer) -> sessile::SessionLayer {
    /// use sessile::ErrorKind;
    ///
    /// layer.answer(|error, _request| match error.kind() {
    ///     ErrorKind::SessionEnded => http::Response::builder()
    ///         .status(303)
    ///         .header("location", "/login")
    ///         .body(String::new())
    ///         .expect("a valid response"),
    ///     _ => {
    ///         let mut response = http::Response::new(format!("<p>{error}"));
    ///         *response.status_mut() = error.status();
    ///         response
    ///     }
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn answer(
        self,
        answer: impl Fn(&Error, &Parts) -> Response<String> + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.answer = Some(Arc::new(answer)))
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, config: self.0.clone() }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}
