//! Counts and latencies, for the facade `metrics`. Without the feature of that name, every function here is empty.
//! docs/operations.md has the table of all metrics, and `tests/it/metrics.rs` compares it with a run.
//!
//! No label contains an id, a realm or a text of the application: each label has few values, all known in advance.

use std::time::Duration;

#[cfg(feature = "metrics")]
use ::metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

/// Stands for a counter or a histogram.
#[cfg(not(feature = "metrics"))]
macro_rules! nothing {
    ($name:literal $(, $label:literal => $value:expr)*) => {{
        let _: &[&str] = &[$($value),*];
        Nothing
    }};
}
#[cfg(not(feature = "metrics"))]
use {nothing as counter, nothing as histogram};

/// Gives each metric its unit and its help text. A recorder that is installed later does not learn them.
#[cfg(feature = "metrics")]
pub(crate) fn describe() {
    for (name, help) in COUNTERS {
        describe_counter!(name, Unit::Count, help);
    }
    for (name, unit, help) in HISTOGRAMS {
        describe_histogram!(name, unit, help);
    }
}

#[cfg(not(feature = "metrics"))]
pub(crate) fn describe() {}

#[cfg(feature = "metrics")]
const COUNTERS: [(&str, &str); 9] = [
    ("sessile_operation_errors_total", "Calls to the store that failed"),
    ("sessile_conflicts_total", "Saves that another write of the session came before"),
    ("sessile_retries_total", "Statements that were sent again"),
    ("sessile_cache_loads_total", "Loads that went to the cache"),
    ("sessile_log_ins_total", "Log-ins"),
    ("sessile_log_ins_refused_total", "Log-ins with a good password that were refused"),
    ("sessile_sessions_ended_total", "Sessions that this process has ended before their time"),
    ("sessile_cleanup_deleted_rows_total", "Expired sessions that the cleanup deleted"),
    ("sessile_cookies_refused_total", "Cookies that gave no access to a session"),
];

#[cfg(feature = "metrics")]
const HISTOGRAMS: [(&str, Unit, &str); 5] = [
    ("sessile_operation_duration_seconds", Unit::Seconds, "Time of a call, with all its waiting"),
    ("sessile_batch_size", Unit::Count, "Requests that shared a statement"),
    ("sessile_queue_length", Unit::Count, "Requests that waited when a statement began"),
    ("sessile_cleanup_duration_seconds", Unit::Seconds, "Time of a run of the cleanup"),
    ("sessile_cleanup_backlog_seconds", Unit::Seconds, "Time that the oldest expired row waited"),
];

/// Without the feature, it does not look at the clock.
#[derive(Debug)]
pub(crate) struct Timer(#[cfg(feature = "metrics")] std::time::Instant);

impl Timer {
    pub(crate) fn start() -> Self {
        Self(
            #[cfg(feature = "metrics")]
            std::time::Instant::now(),
        )
    }

    #[cfg(feature = "metrics")]
    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    #[cfg(not(feature = "metrics"))]
    fn seconds(&self) -> f64 {
        0.0
    }
}

/// A call to the store was answered.
pub(crate) fn operation(verb: &'static str, timer: &Timer, error: Option<&'static str>) {
    histogram!("sessile_operation_duration_seconds", "verb" => verb).record(timer.seconds());
    if let Some(kind) = error {
        counter!("sessile_operation_errors_total", "verb" => verb, "kind" => kind).increment(1);
    }
}

/// A save found that another request had written the session.
pub(crate) fn conflict() {
    counter!("sessile_conflicts_total").increment(1);
}

/// A statement is sent again because the first one did nothing.
pub(crate) fn retry(reason: &'static str) {
    counter!("sessile_retries_total", "reason" => reason).increment(1);
}

/// These requests share a statement.
pub(crate) fn batch(verb: &'static str, requests: usize) {
    histogram!("sessile_batch_size", "verb" => verb).record(requests as f64);
}

/// A statement takes its requests from a queue of this length.
pub(crate) fn queue(verb: &'static str, waiting: usize) {
    histogram!("sessile_queue_length", "verb" => verb).record(waiting as f64);
}

#[cfg(feature = "cache")]
pub(crate) fn cache(outcome: &'static str) {
    counter!("sessile_cache_loads_total", "outcome" => outcome).increment(1);
}

pub(crate) fn cleanup(outcome: &'static str, elapsed: Duration, rows: u64) {
    let seconds = elapsed.as_secs_f64();
    histogram!("sessile_cleanup_duration_seconds", "outcome" => outcome).record(seconds);
    counter!("sessile_cleanup_deleted_rows_total").increment(rows);
}

/// A statement of the sweep deleted a row that had been due for this long.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) fn backlog(oldest: Duration) {
    histogram!("sessile_cleanup_backlog_seconds").record(oldest.as_secs_f64());
}

pub(crate) fn log_in() {
    counter!("sessile_log_ins_total").increment(1);
}

pub(crate) fn refused_log_in(reason: &'static str) {
    counter!("sessile_log_ins_refused_total", "reason" => reason).increment(1);
}

pub(crate) fn ended(reason: &'static str, sessions: u64) {
    counter!("sessile_sessions_ended_total", "reason" => reason).increment(sessions);
}

pub(crate) fn refused_cookie(reason: &'static str) {
    counter!("sessile_cookies_refused_total", "reason" => reason).increment(1);
}

#[cfg(not(feature = "metrics"))]
struct Nothing;

#[cfg(not(feature = "metrics"))]
impl Nothing {
    fn increment(&self, _: u64) {}

    fn record(&self, _: f64) {}
}
