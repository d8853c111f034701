//! The library on its databases: one suite, every backend.

#[path = "../support/mod.rs"]
mod support;

mod smoke;
