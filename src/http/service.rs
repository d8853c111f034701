use std::{
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{Request, Response};
use tower_service::Service;

use super::{
    ResponseFuture, cookie_header,
    layer::Config,
    slot::{Slot, Slots},
};
use crate::{
    context::observed,
    error::{Error, ErrorKind},
};

/// The service that [`SessionLayer`](super::SessionLayer) makes.
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    pub(super) inner: S,
    pub(super) config: Arc<Config>,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for SessionService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    ResponseBody: From<String>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResponseBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let outer = request.extensions_mut().remove::<Slots>();
        let same = Slots::each(outer.as_ref()).find(|slot| slot.is_of(&self.config.sessions));
        if let Some(same) = same.cloned() {
            request.extensions_mut().insert(Slots::around(same, outer));
            return ResponseFuture::passing(self.inner.call(request));
        }
        let name = self.config.cookie.name();
        let is_in_conflict = Slots::each(outer.as_ref()).any(|slot| slot.cookie() == name);
        let (mut head, body) = request.into_parts();
        let slot = Slot::of_request(&self.config, &head);
        cookie_header::mark_as_sensitive(&mut head.headers);
        request = Request::from_parts(head, body);
        if is_in_conflict {
            let error = two_of_one_name(name);
            observed::failed_request(&error);
            return ResponseFuture::refused(slot.answer(&error));
        }
        request.extensions_mut().insert(Slots::around(slot.clone(), outer));
        ResponseFuture::new(self.inner.call(request), slot)
    }
}

fn two_of_one_name(name: &str) -> Error {
    let message = format!(
        "two layers with different Sessions use the cookie {name}: give one of them a realm, or a cookie of another name"
    );
    Error::new(ErrorKind::Configuration, message)
}
