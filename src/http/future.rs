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
    /// The response of [`SessionService`](super::SessionService): the inner service's, and then
    /// what its handler left to write.
    pub struct ResponseFuture<F, B> {
        #[pin]
        inner: F,
        slot: Slot,
        // Boxed only for a response that waits for a write.
        finishing: Option<(Response<B>, Finish)>,
    }
}

impl<F, B> ResponseFuture<F, B> {
    pub(super) fn new(inner: F, slot: Slot) -> Self {
        Self { inner, slot, finishing: None }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.finishing.is_none() {
            let mut response = ready!(this.inner.poll(cx))?;
            let Some(session) = this.slot.session().filter(|session| session.is_pending()) else {
                return Poll::Ready(Ok(response));
            };
            if response.status().is_server_error() {
                let change = session.abandon();
                change_after_failure(this.slot, &change, &mut response);
                return Poll::Ready(Ok(response));
            }
            let session = session.clone();
            *this.finishing = Some((response, Box::pin(async move { session.finish().await })));
        }
        let (_, finish) = this.finishing.as_mut().expect("it was just set, or before");
        let result = ready!(finish.as_mut().poll(cx));
        let (mut response, _) = this.finishing.take().expect("it was polled");
        match result {
            Ok(change) => this.slot.change_cookie(&change, response.headers_mut()),
            Err(error) => {
                observed::failed_request(&error);
                response = Response::new(B::default());
                *response.status_mut() = error.status();
                let change = this.slot.session().map(crate::Session::abandon).unwrap_or_default();
                change_after_failure(this.slot, &change, &mut response);
            }
        }
        Poll::Ready(Ok(response))
    }
}

/// A failure takes no cookie away. A new secret that the database has already is handed out all the
/// same: the old one is dead.
fn change_after_failure<B>(slot: &Slot, change: &CookieChange, response: &mut Response<B>) {
    if matches!(change, CookieChange::Set { .. }) {
        slot.change_cookie(change, response.headers_mut());
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("slot", &self.slot).finish_non_exhaustive()
    }
}
