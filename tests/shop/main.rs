//! The example shop, end to end: its program, driven over HTTP, on both databases.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/shipped.rs"]
mod shipped;

mod browser;
mod program;
mod proxy;

mod account;
mod adding_up;
mod cart;
mod clock;
mod crash;
mod devices;
mod earlier;
mod log_out;
mod logs;
mod metrics;
mod other_sites;
mod outage;
mod pages;
mod password;
mod preferences;
mod requests;
mod roles;
mod start_and_stop;
mod tabs;
mod time;
