//! Faults made for real: rows and files that others have locked, servers that say nothing any more, full
//! disks, runtimes that end. Whoever is not part of it notices nothing, and whoever is gets an answer in time.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

#[path = "../support/mod.rs"]
mod support;

mod patience;
mod proxy;

mod busy_file;
mod disk_full;
mod isolation;
mod journal;
mod locked_rows;
mod log_ins;
mod lost_answers;
mod overload;
mod runtimes;
mod silence;
mod streams;
mod time_outs;
mod turns;
