//! The scheduled sweep.

mod schedule;

use std::{
    fmt,
    ops::{ControlFlow, Range},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinHandle, time::sleep};

pub use self::schedule::Schedule;
use crate::{
    context::{Context, observed},
    error::Result,
    store::Swept,
};

/// What one run of the cleanup did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanupReport {
    /// Expired rows that were deleted.
    pub rows: u64,
    /// Statements that it took.
    pub batches: u64,
    /// How long the run was, pauses included.
    pub elapsed: Duration,
    /// Whether the run ended early because another node was at it.
    pub busy: bool,
}

type Hook = Arc<dyn Fn(&Result<CleanupReport>) + Send + Sync>;

/// Settings of the cleanup.
#[must_use]
pub struct CleanupBuilder {
    context: Arc<Context>,
    schedule: Schedule,
    batch: u32,
    pause: Duration,
    jitter: Option<Duration>,
    hook: Option<Hook>,
}

impl CleanupBuilder {
    pub(crate) fn new(context: Arc<Context>, schedule: Schedule) -> Self {
        let pause = Duration::from_millis(2);
        Self { context, schedule, batch: 2_000, pause, jitter: None, hook: None }
    }

    /// Rows a statement deletes at most. Default: 2,000, which a database does in a few tenths of a
    /// second.
    pub fn batch(mut self, rows: u32) -> Self {
        self.batch = rows.max(1);
        self
    }

    /// Between two batches, so that requests get their turn. Default: 2 ms.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// A run begins up to this much later than the schedule says, so that the nodes of a deployment
    /// do not all begin at once. Default: a tenth of the time to the run, at most a minute.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = Some(jitter);
        self
    }

    /// Called after every run, failed ones too: for the application's metrics. It should not block.
    pub fn on_run(mut self, hook: impl Fn(&Result<CleanupReport>) + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Sweeps until nothing is left, once, now.
    pub async fn run_once(&self) -> Result<CleanupReport> {
        self.run(&mut Stop::never()).await
    }

    /// Sweeps on the schedule, in a task of its own, until [`Cleanup::stop`]. An error is logged,
    /// and the next run goes on.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn(self) -> Cleanup {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut stop = Stop(Some(stopped));
            while stop.or_sleep(self.delay()).await.is_continue() {
                let result = self.run(&mut stop).await;
                if let Some(hook) = &self.hook {
                    hook(&result);
                }
            }
            // Failures are logged where they happen.
            self.context.store.flush().await.ok();
        });
        Cleanup { stop, task }
    }

    fn delay(&self) -> Duration {
        let delay = self.schedule.delay();
        let jitter = self.jitter.unwrap_or_else(|| (delay / 10).min(Duration::from_secs(60)));
        delay + jitter.mul_f64(rand::random::<f64>())
    }

    async fn run(&self, stop: &mut Stop) -> Result<CleanupReport> {
        let begun = Instant::now();
        let mut report = CleanupReport::default();
        self.sweep(stop, &mut report).await?;
        report.elapsed = begun.elapsed();
        observed::swept(report.rows, report.batches, report.elapsed);
        Ok(report)
    }

    /// By the index, batch after batch, until one is not full. If there is more than one, a backlog
    /// may be met faster by going through the whole table.
    async fn sweep(&self, stop: &mut Stop, report: &mut CleanupReport) -> Result<()> {
        let store = &self.context.store;
        loop {
            let is_full = |rows| rows >= u64::from(self.batch);
            if !report.add(store.sweep(self.batch).await?).is_some_and(is_full)
                || self.is_over(stop).await
            {
                return Ok(());
            }
            if report.batches == 1
                && let Some(pages) = self.pages_of_a_backlog().await?
            {
                return self.sweep_pages(pages, stop, report).await;
            }
        }
    }

    /// What ends meanwhile is left to the next run: the index would have to be asked for it, and
    /// until a vacuum it leads through all that has just been deleted.
    async fn sweep_pages(
        &self,
        pages: impl Iterator<Item = Range<u32>> + Send,
        stop: &mut Stop,
        report: &mut CleanupReport,
    ) -> Result<()> {
        for pages in pages {
            let swept = self.context.store.sweep_pages(pages).await?;
            if report.add(swept).is_none() || self.is_over(stop).await {
                break;
            }
        }
        Ok(())
    }

    async fn is_over(&self, stop: &mut Stop) -> bool {
        stop.or_sleep(self.pause).await.is_break()
    }

    /// The index names expired rows in the order of their end, each on a page of its own: a page
    /// read, and written to the log, for a row. Where there is one on every fourth page or more,
    /// reading every page once is less.
    async fn pages_of_a_backlog(&self) -> Result<Option<impl Iterator<Item = Range<u32>> + use<>>> {
        const PAGES: u32 = 3_000;
        let Some(survey) = self.context.store.survey().await? else { return Ok(None) };
        let end = survey.pages;
        let ranges = (0..end).step_by(PAGES as usize).map(move |from| from..end.min(from + PAGES));
        Ok((survey.expired > u64::from(end) / 4).then_some(ranges))
    }
}

impl CleanupReport {
    /// Counts a statement. `None` if it did nothing, because another sweeper was at work.
    fn add(&mut self, swept: Swept) -> Option<u64> {
        match swept {
            Swept::Rows(rows) => {
                self.rows += rows;
                self.batches += 1;
                Some(rows)
            }
            Swept::Busy => {
                self.busy = true;
                None
            }
        }
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

/// A running cleanup. Dropping it lets the task go on until the runtime ends; [`stop`](Self::stop)
/// ends it.
#[derive(Debug)]
pub struct Cleanup {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Cleanup {
    /// Ends the task: waits for the batch in hand, and writes the touches that are held back.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // The task panics only if the application's hook does, and then it has ended as well.
        self.task.await.ok();
    }
}

struct Stop(Option<watch::Receiver<bool>>);

impl Stop {
    fn never() -> Self {
        Self(None)
    }

    /// Sleeps, unless and until the cleanup is to stop. A sender that was dropped says nothing.
    async fn or_sleep(&mut self, duration: Duration) -> ControlFlow<()> {
        let stopped = async {
            match &mut self.0 {
                Some(stop) => {
                    if stop.wait_for(|stop| *stop).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stopped => ControlFlow::Break(()),
            () = sleep(duration) => ControlFlow::Continue(()),
        }
    }
}
