use std::{fmt, future::Future, pin::Pin, sync::Arc};

use axum::{
    http::request::Parts,
    response::{IntoResponse, Response},
};

/// A person whom a [`Guard`] lets into the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    name: String,
    may_end: bool,
}

impl Access {
    /// May look at everything, and end sessions. The events of sessions that this person ends have the actor
    /// `console:NAME`, so the name should be one that your colleagues know.
    pub fn full(name: impl Into<String>) -> Self {
        Self { name: name.into(), may_end: true }
    }

    /// May look at everything, and end nothing.
    pub fn read_only(name: impl Into<String>) -> Self {
        Self { name: name.into(), may_end: false }
    }

    /// The person's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the person may end sessions.
    pub fn may_end(&self) -> bool {
        self.may_end
    }

    pub(crate) fn actor(&self) -> String {
        format!("console:{}", self.name)
    }
}

/// Why a [`Guard`] does not let a request in.
#[derive(Debug)]
pub struct Refusal(pub(crate) Refused);

#[derive(Debug)]
pub(crate) enum Refused {
    NotLoggedIn,
    NotAllowed,
    Answer(Box<Response>),
}

impl Refusal {
    /// Nobody is logged in: 401, with a page that says so.
    pub fn not_logged_in() -> Self {
        Self(Refused::NotLoggedIn)
    }

    /// Whoever is logged in may not use the console: 403, with a page that says so.
    pub fn not_allowed() -> Self {
        Self(Refused::NotAllowed)
    }

    /// An answer of the application, such as a redirect to its log-in page.
    pub fn answer(response: impl IntoResponse) -> Self {
        Self(Refused::Answer(Box::new(response.into_response())))
    }
}

/// The library's own answer: 503 if the session could not be loaded.
impl From<sessile::Error> for Refusal {
    fn from(error: sessile::Error) -> Self {
        Self::answer(error)
    }
}

/// Decides about each request to the console, the requests of the page's script included. An async function is a guard:
///
/// ```
/// use axum::{extract::FromRequestParts, http::request::Parts, response::Redirect};
/// use sessile::Session;
/// use sessile_console::{Access, Refusal};
///
/// async fn guard(mut request: Parts) -> Result<Access, Refusal> {
///     let session = Session::from_request_parts(&mut request, &()).await?;
///     if sessile_console::is_poll(&request) {
///         session.set_activity(false); // An open overview does not keep its reader logged in.
///     }
///     match session.user_id().as_deref() {
///         Some("grace") => Ok(Access::full("grace")),
///         Some("alan") => Ok(Access::read_only("alan")),
///         Some(_) => Err(Refusal::not_allowed()),
///         None => Err(Refusal::answer(Redirect::to("/login"))),
///     }
/// }
/// # fn is_a_guard(_: impl sessile_console::Guard) {}
/// # is_a_guard(guard);
/// ```
///
/// A guard that needs the application's state is a closure with a clone of it, or a type that implements this trait.
pub trait Guard: Send + Sync + 'static {
    /// Who sent the request, and what the person may do.
    fn check(&self, request: Parts) -> impl Future<Output = Result<Access, Refusal>> + Send;
}

impl<F, Checking> Guard for F
where
    F: Fn(Parts) -> Checking + Send + Sync + 'static,
    Checking: Future<Output = Result<Access, Refusal>> + Send,
{
    fn check(&self, request: Parts) -> impl Future<Output = Result<Access, Refusal>> + Send {
        self(request)
    }
}

type Checking = Pin<Box<dyn Future<Output = Result<Access, Refusal>> + Send>>;

/// A guard of any type.
#[derive(Clone)]
pub(crate) struct AnyGuard(Arc<dyn Fn(Parts) -> Checking + Send + Sync>);

impl AnyGuard {
    pub(crate) fn new(guard: impl Guard) -> Self {
        let guard = Arc::new(guard);
        Self(Arc::new(move |request| {
            let guard = guard.clone();
            Box::pin(async move { guard.check(request).await })
        }))
    }

    pub(crate) async fn check(&self, request: Parts) -> Result<Access, Refusal> {
        self.0(request).await
    }
}

impl fmt::Debug for AnyGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyGuard")
    }
}

/// The header of requests that the page's script sends by itself.
pub(crate) const POLL: &str = "x-console-poll";

/// Whether the page's script sent the request by itself, to keep the figures of the overview up to date. A guard whose
/// own session ends when it is idle does not count such a request as activity: see [`Guard`].
pub fn is_poll(request: &Parts) -> bool {
    request.headers.contains_key(POLL)
}
