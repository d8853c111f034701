use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar on standard error, if that is a terminal.
#[derive(Clone, Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(steps: usize) -> Self {
        let style = "{elapsed_precise} {wide_bar} {pos}/{len} {msg:40!}";
        let bar = ProgressBar::new(steps as u64).with_style(
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    /// Shows the present step.
    pub(crate) fn doing(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// Prints a line that stays.
    pub(crate) fn say(&self, what: impl AsRef<str>) {
        self.0.suspend(|| eprintln!("{}", what.as_ref()));
    }

    pub(crate) fn step(&self) {
        self.0.inc(1);
    }

    pub(crate) fn done(&self) {
        self.0.finish_and_clear();
    }
}
