use std::{fmt, net::IpAddr, sync::Arc};

use ::http::{Extensions, HeaderMap};
use tower_layer::Layer;

use super::{SessionCookie, SessionService};
use crate::Sessions;

/// Gives every request a [`Session`](crate::Session), loaded when it is first asked for.
///
/// A request whose handler does not ask for it costs no query, and neither does one that brings no
/// cookie.
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
#[derive(Clone, Debug)]
pub struct SessionLayer(Arc<Config>);

type ClientIp = Arc<dyn Fn(&HeaderMap, &Extensions) -> Option<IpAddr> + Send + Sync>;

#[derive(Clone)]
pub(super) struct Config {
    pub(super) sessions: Sessions,
    pub(super) cookie: SessionCookie,
    pub(super) client_ip: Option<ClientIp>,
}

impl SessionLayer {
    /// With the default cookie, and without addresses in the list of devices.
    pub fn new(sessions: Sessions) -> Self {
        Self(Arc::new(Config { sessions, cookie: SessionCookie::default(), client_ip: None }))
    }

    /// Sets the cookie's attributes.
    #[must_use]
    pub fn cookie(self, cookie: SessionCookie) -> Self {
        self.with(|config| config.cookie = cookie)
    }

    /// Where a request's address is found, for the list of devices. Only the application knows
    /// whether it is the connection's (axum puts `ConnectInfo` among the extensions) or in a header
    /// that its own proxy sets.
    #[must_use]
    pub fn client_ip(
        self,
        find: impl Fn(&HeaderMap, &Extensions) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.client_ip = Some(Arc::new(find)))
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
