//! The library on its databases: one suite, every backend.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "cache")]
mod cache;
mod capture;
mod cleanup;
mod conformance;
mod connections;
mod leak;
mod logs;
mod migrations;
mod policies;
mod promises;
mod races;
mod transactions;
mod tx;
mod values;
