//! The command as a person or a script runs it, on both databases.
#![allow(clippy::unwrap_used)]

mod acts;
mod cleans;
mod console;
mod fails;
mod finds;
mod follows;
#[path = "../../../tests/servers/keeper.rs"]
mod keeper;
mod keys;
mod migrates;
mod pooled;
mod program;
mod reports;
mod roles;
#[path = "../../../tests/support/shipped.rs"]
mod shipped;
#[path = "../../../admin/tests/support/mod.rs"]
mod support;
