//! The measurements and their plans: shared by the benchmark and by the peers that need a separate process.

pub mod cpu;
mod data;
mod drive;
mod op;
mod open;
mod peer;
mod task;
pub mod worker;

pub use self::{
    data::{Values, change, encode, values},
    drive::{Arrivals, Plan, Sample, drive, quantile},
    op::Op,
    peer::Peer,
};
