//! The scheduled sweep.

mod schedule;

use std::{
    fmt,
    ops::{ControlFlow, Range},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

pub use self::schedule::Schedule;
use crate::{
    context::{Context, observed},
    error::Result,
    store::{CleanupRun, Sweep, Swept},
};

/// How long a stop waits for the running statement, and then for the touches that are held back.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// The result of one run of the cleanup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanupReport {
    /// Expired rows that were deleted.
    pub rows: u64,
    /// Events that were filed, which means: moved from the inbox into the log of events.
    pub filed: u64,
    /// The number of statements, without the look into an inbox that has no events.
    pub batches: u64,
    /// The duration of the run, pauses included.
    pub elapsed: Duration,
    /// Whether the run ended early because another node was sweeping.
    pub busy: bool,
}

type Hook = Arc<dyn Fn(&Result<CleanupReport>) + Send + Sync>;
type BatchHook = Arc<dyn Fn(&CleanupReport) -> ControlFlow<()> + Send + Sync>;

/// Settings of the cleanup.
#[must_use]
pub struct CleanupBuilder {
    context: Arc<Context>,
    schedule: Schedule,
    batch: u32,
    pause: Duration,
    jitter: Option<Duration>,
    hook: Option<Hook>,
    batch_hook: Option<BatchHook>,
}

impl CleanupBuilder {
    pub(crate) fn new(context: Arc<Context>, schedule: Schedule) -> Self {
        let pause = Duration::from_millis(2);
        Self { context, schedule, batch: 2_000, pause, jitter: None, hook: None, batch_hook: None }
    }

    /// The maximum number of rows, of old cut-offs of log-ins, and of old events, that a statement deletes, and of events
    /// that a statement files. Default: 2,000, which takes a database a few tenths of a second. If a large part of a
    /// Postgres table has expired, a statement deletes all expired rows on 3,000 pages instead.
    pub fn batch(mut self, rows: u32) -> Self {
        self.batch = rows.max(1);
        self
    }

    /// The pause between two batches, so that requests get their turn. Default: 2 ms.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// A run begins up to this much later than scheduled, so that the nodes of a deployment do not all begin
    /// at once. Default: a tenth of the time until the run, at most a minute.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = Some(jitter);
        self
    }

    /// Called after every run, failed runs included, for the application's metrics. The hook should not
    /// block. If it panics, the panic is logged, and the next run takes place.
    pub fn on_run(mut self, hook: impl Fn(&Result<CleanupReport>) + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Called after every batch with the run's report until then, for a progress bar. If it returns `Break`, the run ends
    /// there, and the next run deletes the other rows.
    pub fn on_batch(
        mut self,
        hook: impl Fn(&CleanupReport) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.batch_hook = Some(Arc::new(hook));
        self
    }

    /// Sweeps once, now, until nothing is left: files events, and then deletes. Skips rows that another transaction has
    /// locked: a later run deletes them.
    pub async fn run_once(&self) -> Result<CleanupReport> {
        self.run(&mut Stop::never()).await
    }

    /// Sweeps on the schedule, in a separate task, until [`Cleanup::stop`]. An error or a panic is logged,
    /// and the next run takes place.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn(self) -> Cleanup {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(Arc::new(self).run_on_schedule(Stop(Some(stopped))));
        Cleanup { stop, task }
    }

    async fn run_on_schedule(self: Arc<Self>, mut stop: Stop) {
        while stop.or_sleep(self.delay()).await.is_continue() {
            // In a separate task: a panic of the hook, or of the store, ends only this run.
            let mut run = tokio::spawn(self.clone().run_and_tell(stop.clone()));
            tokio::select! {
                ended = &mut run => {
                    if let Err(error) = ended && error.is_panic() {
                        observed::cleanup_panicked(&*error.into_panic());
                    }
                }
                () = stop.has_waited(STOPS_WITHIN) => {
                    run.abort();
                    observed::cleanup_abandoned("run");
                }
            }
        }
        // Failures are logged where they happen.
        if timeout(STOPS_WITHIN, self.context.store.flush()).await.is_err() {
            observed::cleanup_abandoned("touches");
        }
    }

    async fn run_and_tell(self: Arc<Self>, mut stop: Stop) {
        let result = self.run(&mut stop).await;
        if let Some(hook) = &self.hook {
            hook(&result);
        }
    }

    /// The time until the next run. A run whose time is too long for a `Duration` never comes.
    fn delay(&self) -> Duration {
        let delay = self.schedule.delay();
        let jitter = self.jitter.unwrap_or_else(|| (delay / 10).min(Duration::from_secs(60)));
        let later = jitter.as_secs_f64() * rand::random::<f64>();
        delay.saturating_add(Duration::try_from_secs_f64(later).unwrap_or(jitter))
    }

    async fn run(&self, stop: &mut Stop) -> Result<CleanupReport> {
        let begun = Instant::now();
        let mut report = CleanupReport::default();
        let result = self.sweep(begun, stop, &mut report).await;
        report.elapsed = begun.elapsed();
        let outcome = match &result {
            Err(_) => "failed",
            Ok(()) if report.busy => "busy",
            Ok(()) => "done",
        };
        observed::cleaned(outcome, report.rows, report.elapsed);
        // Not a run that another node makes, nor one that never reached the database.
        if report.batches > 0 {
            let run = CleanupRun {
                elapsed: report.elapsed,
                sessions: report.rows,
                statements: report.batches,
                error: result.as_ref().err().map(ToString::to_string),
                keeps_runs_for: self.context.rules.keeps_events_for,
            };
            // A failure is logged where it happens, and fails no run.
            self.context.store.log_cleanup(&run).await.ok();
        }
        result?;
        observed::swept(report.rows, report.batches, report.elapsed);
        Ok(report)
    }

    /// First files the events that wait in the inbox. Those of this run are left to the next one, so that the sweep of a
    /// backlog does not take the time that the indexes of the log take.
    async fn sweep(
        &self,
        begun: Instant,
        stop: &mut Stop,
        report: &mut CleanupReport,
    ) -> Result<()> {
        if self.file_events(begun, stop, report).await?.is_continue() {
            self.delete(begun, stop, report).await?;
        }
        Ok(())
    }

    /// One pass through the inbox. Breaks if the run must end.
    async fn file_events(
        &self,
        begun: Instant,
        stop: &mut Stop,
        report: &mut CleanupReport,
    ) -> Result<ControlFlow<()>> {
        let mut next = Some(0);
        while let Some(from) = next {
            let filed = self.context.store.file_events(from, self.batch).await?;
            next = filed.next;
            if filed.events > 0 {
                report.filed += filed.events;
                report.batches += 1;
                if self.tell(begun, report).is_break() || self.is_over(stop).await {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Deletes by the index, batch after batch, until a batch is not full. If the first batch is full, there
    /// may be a backlog, which a pass through the whole table deletes faster.
    async fn delete(
        &self,
        begun: Instant,
        stop: &mut Stop,
        report: &mut CleanupReport,
    ) -> Result<()> {
        let before = report.batches;
        loop {
            let rules = &self.context.rules;
            let sweep = Sweep {
                limit: self.batch,
                is_recorded: rules.records_events,
                keeps_events_for: rules.keeps_events_for,
            };
            let swept = self.context.store.sweep(&sweep).await?;
            let ended = self.count(swept, begun, report);
            let (is_full, cutoffs_left) = match swept {
                Swept::Rows(rows) => (rows >= u64::from(self.batch), false),
                Swept::More(rows) => (rows >= u64::from(self.batch), true),
                Swept::Busy => return Ok(()),
            };
            if !(is_full || cutoffs_left) || ended.is_break() || self.is_over(stop).await {
                return Ok(());
            }
            if is_full
                && report.batches == before + 1
                && let Some(pages) = self.pages_of_a_backlog().await
                && let Ok(ended) = self.sweep_pages(pages, begun, stop, report).await
                && (ended.is_break() || !cutoffs_left)
            {
                return Ok(());
            }
        }
    }

    /// Breaks if the run must end. Rows that expire meanwhile are left to the next run: the index would lead
    /// to them through all rows that were just deleted, until a vacuum.
    async fn sweep_pages(
        &self,
        pages: impl Iterator<Item = Range<u32>> + Send,
        begun: Instant,
        stop: &mut Stop,
        report: &mut CleanupReport,
    ) -> Result<ControlFlow<()>> {
        for pages in pages {
            let is_recorded = self.context.rules.records_events;
            let swept = self.context.store.sweep_pages(pages, is_recorded).await?;
            let ended = self.count(swept, begun, report);
            if swept == Swept::Busy || ended.is_break() || self.is_over(stop).await {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Adds a statement to the report and shows it to the hook. Breaks if the hook ends the run.
    fn count(&self, swept: Swept, begun: Instant, report: &mut CleanupReport) -> ControlFlow<()> {
        match swept {
            Swept::Rows(rows) | Swept::More(rows) => {
                report.rows += rows;
                report.batches += 1;
            }
            Swept::Busy => report.busy = true,
        }
        self.tell(begun, report)
    }

    /// Shows the report to the hook. Breaks if the hook ends the run.
    fn tell(&self, begun: Instant, report: &mut CleanupReport) -> ControlFlow<()> {
        report.elapsed = begun.elapsed();
        self.batch_hook.as_ref().map_or(ControlFlow::Continue(()), |hook| hook(report))
    }

    async fn is_over(&self, stop: &mut Stop) -> bool {
        stop.or_sleep(self.pause).await.is_break()
    }

    /// The index lists expired rows in the order of their end, each on a different page. So it costs a page
    /// read, and a page written to the log, for each row. If one page in four has an expired row, reading
    /// every page once costs less.
    ///
    /// A failed survey is logged and counts as none. Failed pages end the pass too: a time-out of the server
    /// may be too short for them, but not for a batch by the index.
    async fn pages_of_a_backlog(&self) -> Option<impl Iterator<Item = Range<u32>> + use<>> {
        const PAGES: u32 = 3_000;
        let survey = self.context.store.survey().await.ok().flatten()?;
        let end = survey.pages;
        let ranges = (0..end).step_by(PAGES as usize).map(move |from| from..end.min(from + PAGES));
        (survey.expired > u64::from(end) / 4).then_some(ranges)
    }
}

impl fmt::Debug for CleanupBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupBuilder")
            .field("schedule", &self.schedule)
            .field("batch", &self.batch)
            .field("pause", &self.pause)
            .field("jitter", &self.jitter)
            .finish_non_exhaustive()
    }
}

/// A running cleanup. If it is dropped, its task continues until the runtime ends; [`stop`](Self::stop) ends
/// it.
#[derive(Debug)]
pub struct Cleanup {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Cleanup {
    /// Ends the task: waits for the running batch, and writes the touches that are held back. It waits at
    /// most five seconds for each of these, even if the database does not answer: ten in all. Unfinished work
    /// is logged. A statement that still runs is left to the database, and happens as a whole or not at all.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // An error means that the runtime ends, and the task with it.
        self.task.await.ok();
    }
}

#[derive(Clone)]
struct Stop(Option<watch::Receiver<bool>>);

impl Stop {
    fn never() -> Self {
        Self(None)
    }

    /// Waits until the cleanup must stop. A dropped sender does not stop it.
    async fn is_wanted(&mut self) {
        if let Some(stop) = &mut self.0
            && stop.wait_for(|stop| *stop).await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Waits until the cleanup had to stop this long ago.
    async fn has_waited(&mut self, duration: Duration) {
        self.is_wanted().await;
        sleep(duration).await;
    }

    /// Sleeps, but breaks when the cleanup must stop.
    async fn or_sleep(&mut self, duration: Duration) -> ControlFlow<()> {
        tokio::select! {
            biased;
            () = self.is_wanted() => ControlFlow::Break(()),
            () = sleep(duration) => ControlFlow::Continue(()),
        }
    }
}
