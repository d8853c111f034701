//! The promises of the design, by number: `cargo test promise_05` runs the tests of the fifth. Promises that
//! a cache could break also run with a cache, where they hold on other nodes within its bound.

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
