//! The library with separate servers, standbys and poolers, which have real faults.
#![allow(clippy::unwrap_used)]

#[path = "../it/capture.rs"]
mod capture;
#[allow(unused_imports, unused_macros)] // each test says here what its server does
#[path = "../support/mod.rs"]
mod support;

mod bouncer;
mod keeper;
mod proxy;
mod server;

mod failover;
mod killed;
mod pooler;
mod replication;
mod scarce;
mod shared_pool;
mod synchronous;
mod visitors;
