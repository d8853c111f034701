use std::{
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{Request, Response};
use tower_service::Service;

use super::{ResponseFuture, layer::Config, slot::Slot};

/// What [`SessionLayer`](super::SessionLayer) makes of a service.
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    pub(super) inner: S,
    pub(super) config: Arc<Config>,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for SessionService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    ResponseBody: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResponseBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let slot = Slot::of_request(&self.config, request.headers(), request.extensions());
        request.extensions_mut().insert(slot.clone());
        ResponseFuture::new(self.inner.call(request), slot)
    }
}
