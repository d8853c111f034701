//! The library on its databases: one suite, every backend.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "cache")]
mod cache;
mod capture;
mod cleanup;
mod conformance;
mod connections;
mod events;
mod leak;
mod logs;
mod migrations;
mod plans;
mod policies;
mod promises;
mod races;
mod remembered;
mod schedule;
mod transactions;
mod tx;
mod values;
