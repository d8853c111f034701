//! The promises of the design, each by its number: `cargo test promise_05` runs what holds the fifth. Those that a cache could
//! break run with one too: there they hold on other nodes within its bound.

mod clock;
mod cost;
mod expiry;
mod failure;
mod input;
mod log_in;
mod log_out_everywhere;
mod open_transaction;
mod order;
mod realms;
mod revocation;
mod theft;
mod writes;
