use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::Response;
use pin_project_lite::pin_project;

use super::slot::Slot;
use crate::{context::observed, error::Result, session::CookieChange};

type Finish = Pin<Box<dyn Future<Output = Result<CookieChange>> + Send>>;

pin_project! {
    /// The future of [`SessionService`](super::SessionService): runs the inner service, then writes the
    /// changes that the handler recorded.
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, B> {
        Running {
            #[pin]
            inner: F,
            slot: Slot,
            // Boxed only for a response that waits for a write.
            finishing: Option<(Response<B>, Finish)>,
        },
        // An outer layer finishes the session, or there is none to finish.
        Passing {
            #[pin]
            inner: F,
        },
        Refused { response: Option<Response<B>> },
    }
}

impl<F, B> ResponseFuture<F, B> {
    pub(super) fn new(inner: F, slot: Slot) -> Self {
        Self { state: State::Running { inner, slot, finishing: None } }
    }

    pub(super) fn passing(inner: F) -> Self {
        Self { state: State::Passing { inner } }
    }

    pub(super) fn refused(response: Response<B>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: From<String>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (inner, slot, finishing) = match self.project().state.project() {
            Projected::Running { inner, slot, finishing } => (inner, slot, finishing),
            Projected::Passing { inner } => return inner.poll(cx),
            Projected::Refused { response } => {
                return Poll::Ready(Ok(response.take().expect("it is polled once")));
            }
        };
        if finishing.is_none() {
            let mut response = ready!(inner.poll(cx))?;
            let Some(session) = slot.session().filter(|session| session.is_pending()) else {
                slot.complete(&CookieChange::Keep, response.headers_mut());
                return Poll::Ready(Ok(response));
            };
            if response.status().is_server_error() {
                let change = new_secret_only(session.abandon());
                slot.complete(&change, response.headers_mut());
                return Poll::Ready(Ok(response));
            }
            let session = session.clone();
            *finishing = Some((response, Box::pin(async move { session.finish().await })));
        }
        let (_, finish) = finishing.as_mut().expect("it was just set, or before");
        let result = ready!(finish.as_mut().poll(cx));
        let (mut response, _) = finishing.take().expect("it was polled");
        let change = match result {
            Ok(change) => change,
            Err(error) => {
                // Other errors are caused by the client. The answer tells the client, so no log is needed.
                if error.status().is_server_error() {
                    observed::failed_request(&error);
                }
                response = slot.answer(&error);
                slot.session().map(|session| new_secret_only(session.abandon())).unwrap_or_default()
            }
        };
        slot.complete(&change, response.headers_mut());
        Poll::Ready(Ok(response))
    }
}

/// After a failure, the response removes no cookie. It still sends a new secret, because the database has that
/// secret already and the old one is dead.
fn new_secret_only(change: CookieChange) -> CookieChange {
    match change {
        CookieChange::Set { .. } => change,
        CookieChange::Keep | CookieChange::Remove => CookieChange::Keep,
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
