//! Real faults: locked rows and files, silent servers, full disks, runtimes that end. Requests that are not
//! concerned notice nothing, and the others get an answer in time.
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
