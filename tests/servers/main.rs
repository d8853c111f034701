//! The library with separate servers, standbys and poolers, which have real faults.
#![allow(clippy::unwrap_used)]

#[path = "../it/capture.rs"]
mod capture;
#[allow(dead_code)]
#[path = "../it/leak.rs"]
mod leak;
#[allow(unused_imports, unused_macros)] // each test says here what its server does
#[path = "../support/mod.rs"]
mod support;

mod bouncer;
mod keeper;
mod proxy;
mod server;

mod failover;
mod killed;
mod own_log;
mod pooler;
mod replication;
mod restored;
mod scarce;
mod shared_pool;
mod synchronous;
mod visitors;
