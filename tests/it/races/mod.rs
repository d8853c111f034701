//! Forced interleavings: by a gate that holds a call before it reaches the database or after its answer, or
//! by a lock that the test holds. The last tests leave many interleavings to chance.

mod dropped;
mod limits;
mod locked_rows;
mod log_ins;
mod renewals;
mod revocations;
mod rounds;
mod sweeps;
mod writers;

pub(crate) use rounds::Dice;
