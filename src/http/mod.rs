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
//! | answers 1xx to 4xx, and the write fails | is lost | stands | the layer's: 503 (500, 413: see [`Error::status`](crate::Error::status)) |
//! | answers 1xx to 4xx, and somebody else ended the session meanwhile | is lost | stands | the layer's: 401, if anything was recorded; else the handler's |
//! | answers 1xx to 4xx, and another request gave the session a new secret meanwhile | is lost | stands | the layer's: 409, if anything was recorded; else the handler's |
//! | answers 5xx | is dropped | stands | the handler's; a new secret is still handed out |
//! | panics, or its connection is dropped | is dropped | stands, what was in flight wholly or not at all | none |
//!
//! The layer's own answers are a sentence, as plain text or JSON; [`SessionLayer::answer`] makes them
//! the application's. A handler that wants its own answer to stand calls
//! [`Session::abandon`](crate::Session::abandon).
//!
//! # What happens to the cookie
//!
//! - **A first write and a log-in set it.** So does everything that gives the session a new secret.
//! - **Only a log-out removes it.** A request with a dead cookie (its session has expired, or was
//!   logged out elsewhere) reads as anonymous, and its cookie is left alone until a write or a log-in
//!   replaces it: an answer that comes late takes nobody's new cookie away.
//! - **A request with the cookie of a moment ago touches no cookie.** Its secret was replaced less
//!   than a minute ago, so its browser has the new cookie or is about to get it. It reads as anonymous,
//!   [`Session::is_superseded`](crate::Session::is_superseded) tells it from a visitor, its writes are
//!   409. A log-in is the exception: whoever has just authenticated gets a session.
//! - **Several cookies of one name** are looked up together. If one names a live session, that is the
//!   session. Two live ones, or more than four, are none. A log-out ends every live one. A log-in and a
//!   log-out also remove what may be left under the same name with or without `Partitioned` and the
//!   configured `Domain`.
//! - **A response that sets or removes a cookie is for no shared cache**: it says `no-store`, unless the
//!   handler said `no-store` or `private`, and loses the headers that content delivery networks read
//!   instead. Every response whose handler asked for the session says `Vary: cookie`.
//!
//! # What cannot be mended
//!
//! Nothing remembers which requests belong together where they brought no live cookie:
//!
//! - Two requests that left without a cookie, or with the cookie of an ended session, and both write or
//!   log in: each gets a session of its own, and the browser keeps the cookie of the answer that comes
//!   last. A double click on a log-in from a page without a session leaves a second device in the
//!   list.
//! - A log-out whose answer arrives after that of the next log-in removes the new cookie.
//! - A new secret that the browser never got, because its connection was dropped after a confirmation,
//!   leaves it with a dead cookie a minute later. (A log-in that is sent again within the minute finds
//!   its session.)

mod answer;
mod caching;
mod cookie;
mod cookie_header;
mod cross_site;
#[cfg(feature = "axum")]
mod extract;
mod future;
mod layer;
mod log_in_required;
mod service;
mod slot;
mod status;

#[cfg(feature = "axum")]
pub use self::extract::LoggedIn;
pub use self::{
    cookie::{SameSite, SessionCookie, SessionCookieBuilder},
    cross_site::{CrossSiteLayer, CrossSiteService},
    future::ResponseFuture,
    layer::SessionLayer,
    log_in_required::{LogInRequiredLayer, LogInRequiredService, local_path},
    service::SessionService,
};
