//! Server-side web sessions in your own Postgres or SQLite.

mod cleanup;
mod client;
mod data;
mod error;
mod expiry;
#[cfg(feature = "http")]
pub mod http;
mod policy;
mod session;
mod sessions;
pub mod store;
mod token;

#[cfg(feature = "http")]
pub use crate::http::{SessionCookie, SessionLayer};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use store::connect;

pub use crate::{
    cleanup::{Cleanup, CleanupBuilder, CleanupReport, Schedule},
    client::Client,
    error::{Error, ErrorKind, Result},
    expiry::{Lifetime, Timeouts},
    policy::{Policy, days, hours, minutes, seconds},
    session::{CookieChange, Device, LogIn, Session},
    sessions::{Sessions, SessionsBuilder, UserSessions},
    store::{Backend, OnLimit, Revocation, SessionInfo},
    token::{SecretHash, SessionId},
};
