//! What a person sees, in a real browser: Chromium, over its DevTools protocol.
//!
//! Each test has a browser and a database of its own, and starts the shop as its users do. A browser is slow on a busy
//! machine, so nothing here sleeps: everything waits for what it wants to see, for up to `chromium::PATIENCE`.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../../shop/program.rs"]
#[allow(dead_code, reason = "the shop's own tests use the rest")]
mod program;

mod chromium;
mod tls;

mod console;
mod cookies;
mod frames;
mod pictures;
mod shop;
