//! The tower layer, the cookie and the extractor.
//!
//! [`SessionLayer`] works under axum and any other tower service with `http` types. Axum handlers
//! extract a [`Session`](crate::Session). Other handlers call [`Session::of`](crate::Session::of).
//!
//! # When changes are written
//!
//! A handler records changes (`insert`, `remove`, `clear`), or acts at once (`update`, `log_in`, …).
//!
//! | the handler | recorded changes | effects of calls that act at once | the response |
//! |---|---|---|---|
//! | answers 1xx to 4xx | are written before the response is sent | stay | the handler's, with the cookie |
//! | answers 1xx to 4xx, and the write fails | are lost | stay | the layer's: 503 (or 500 or 413: see [`Error::status`](crate::Error::status)) |
//! | answers 1xx to 4xx, and the session was ended meanwhile | are lost | stay | the layer's 401 if changes were recorded, otherwise the handler's |
//! | answers 1xx to 4xx, and another request gave the session a new secret meanwhile | are lost | stay | the layer's 409 if changes were recorded, otherwise the handler's |
//! | answers 1xx to 4xx, and another site sent the POST without its cookie (see [`CrossSiteLayer`]) | are lost | fail | the layer's 403 if changes were recorded, otherwise the handler's |
//! | answers 5xx | are dropped | stay | the handler's; the browser still gets a new secret |
//! | panics, or its connection is dropped | are dropped | stay; a call in flight takes effect completely or not at all | none |
//!
//! The layer's own answer is one sentence, as plain text or JSON. [`SessionLayer::answer`] replaces it with an
//! answer of the application. To send the handler's answer in every case, the handler calls
//! [`Session::abandon`](crate::Session::abandon).
//!
//! # How the cookie changes
//!
//! - **The first write sets the cookie, and so does a log-in.** Every other call that gives the session a new
//!   secret sets it too.
//! - **Only a log-out removes the cookie.** A cookie is dead if its session has expired or was logged out
//!   elsewhere. A request with a dead cookie reads as anonymous. The layer leaves the dead cookie in the browser
//!   until a write or a log-in replaces it, so a late response never removes a newer cookie.
//! - **A superseded request changes no cookie.** Its secret was replaced less than a minute ago, so the browser
//!   has the new cookie or gets it soon. The request reads as anonymous.
//!   [`Session::is_superseded`](crate::Session::is_superseded) distinguishes it from a visitor's request. Its
//!   writes fail with 409. A log-in is the exception: a user who has just authenticated gets a session.
//! - **Several cookies of the same name** are looked up together. If exactly one of them names a live session,
//!   the request has that session. If two name live sessions, or if there are more than four cookies, the
//!   request has no session. A log-out ends every live session among them, unless there are more than four. A
//!   log-in or a log-out also removes the other cookies that the browser may have under this name, with or
//!   without `Partitioned` and the configured `Domain`.
//! - **Shared caches do not keep a response that sets or removes a cookie.** The layer sets
//!   `Cache-Control: no-store`, unless the handler set `no-store` or `private`. It also removes the headers that
//!   content delivery networks read instead. If the handler asked for the session, the response has
//!   `Vary: cookie`.
//!
//! # Limits
//!
//! The library cannot tell that two requests belong together if they brought no live cookie:
//!
//! - Two requests leave the browser without a cookie, or with the cookie of an ended session, and both write or
//!   log in. Each request gets a new session, and the browser keeps the cookie of the response that arrives
//!   last. So a double click on a log-in, on a page without a session, leaves a second device in the list.
//! - If the response to a log-out arrives after the response to the next log-in, it removes the new cookie.
//! - If the connection is dropped after a confirmation, the browser may never get the new secret. Its cookie is
//!   dead a minute later. (If the browser sends a log-in again within that minute, the log-in finds its session.)

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
