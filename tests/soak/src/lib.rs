//! Whether sessions hold what the library promises: a [`model`] of them, random interleavings of every call, and a soak
//! with real faults. `scripts/soak` runs it.

#![allow(missing_docs, reason = "a program, not a library")]

pub mod cluster;
pub mod facts;
pub mod faults;
pub mod history;
pub mod model;
pub mod node;
pub mod plant;
pub mod protocol;
pub mod proxy;
pub mod remote;
pub mod soak;
pub mod work;
