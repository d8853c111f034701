//! The console on both databases, through its router; the standalone one over HTTP.
#![allow(clippy::unwrap_used)]

#[path = "../../../admin/tests/support/mod.rs"]
mod support;

mod access;
mod broken;
mod browser;
mod end;
mod foreign;
mod pages;
mod roles;
#[path = "../../../tests/support/shipped.rs"]
mod shipped;
mod standalone;
