//! What is measured, and how: shared by the benchmark and by the peers that need a process of their
//! own.

pub mod cpu;
mod data;
mod drive;
mod op;
mod peer;
pub mod worker;

pub use self::{
    data::{Values, change, encode, values},
    drive::{Plan, Sample, drive, quantile},
    op::Op,
    peer::Peer,
};
