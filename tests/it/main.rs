//! The library on its databases: one suite, every backend.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod browsers;
mod by_hand;
#[cfg(feature = "cache")]
mod cache;
mod capture;
mod cleanup;
mod conformance;
mod connections;
mod distributed;
mod documented_sql;
#[cfg(feature = "encryption")]
mod encryption;
mod ended;
mod event_log;
mod events;
mod handles;
mod last_seen;
mod leak;
mod log_ins;
mod logs;
#[cfg(all(feature = "cache", feature = "metrics"))]
mod metrics;
mod migrations;
mod notifications;
mod other_sessions;
#[cfg(feature = "encryption")]
mod pepper;
mod plans;
mod policies;
mod promises;
mod races;
mod realms;
mod remembered;
mod roles;
mod round_trips;
mod schedule;
mod sql;
#[cfg(feature = "testing")]
mod testing;
mod transactions;
mod tx;
mod types;
mod user_ids;
mod values;
