//! The tower layer, the cookie and the extractor.
//!
//! [`SessionLayer`] works under axum and any other tower service with `http` types. Handlers of
//! axum extract a [`Session`](crate::Session); others get it with
//! [`Session::of`](crate::Session::of).
//!
//! # What is written when
//!
//! | the handler | what it recorded | what it did at once (`update`, `log_in`, …) | the response |
//! |---|---|---|---|
//! | answers 1xx to 4xx | is written before the response goes out | stands | the handler's, with the cookie |
//! | answers 1xx to 4xx, and the write fails | is lost | stands | 503 (500, 413: see [`Error::status`](crate::Error::status)) without a body; the cookie is kept |
//! | answers 1xx to 4xx, and the session was ended meanwhile | is lost | stands | the handler's, and the cookie is removed |
//! | answers 1xx to 4xx, and another request logged somebody in to the session meanwhile | is lost | stands | 409 without a body; the cookie is kept, since the browser may have the new one |
//! | answers 5xx | is dropped | stands | the handler's; a new secret is still handed out |
//! | panics, or its connection is dropped | is dropped | stands, what was in flight wholly or not at all | none |
//!
//! A new secret that the browser never got (its connection was dropped after a log-in) leaves it
//! with a dead cookie.

mod cookie;
mod cookie_header;
#[cfg(feature = "axum")]
mod extract;
mod future;
mod layer;
mod service;
mod slot;
mod status;

pub use self::{
    cookie::{SameSite, SessionCookie, SessionCookieBuilder},
    future::ResponseFuture,
    layer::SessionLayer,
    service::SessionService,
};
