//! The HTTP layer over a real socket: requests as bytes, responses as bytes.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

#[path = "../support/mod.rs"]
mod support;

mod log;
mod pause;
mod site;
mod spy;
mod wire;

mod activity;
mod addresses;
mod answers;
mod attack;
mod by_hand;
mod caching;
mod cookie_header;
mod cross_site;
mod dead_cookies;
mod failures;
mod keep_alive;
mod layers;
mod log_in_required;
mod logs;
mod nested;
mod open;
mod options;
mod promises;
mod set_cookie;
mod several;
mod statements;
mod statuses;
mod streams;
mod superseded;
mod writes;
