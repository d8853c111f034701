//! The figures of the overview.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use sessile_admin::{
    Backlog, Bucket, CleanupRun, Database, Ending, Error, Event, EventFilter, Live, Period,
};

use crate::flight::Flight;

/// The plots show so many days.
pub(crate) const DAYS: i64 = 14;

/// How long a page waits for figures before it is shown without them.
const PATIENCE: Duration = Duration::from_millis(120);
/// Figures that are younger than this are not asked again.
const FRESH: Duration = Duration::from_secs(3);
/// Figures that are older than this are not shown.
const STALE: Duration = Duration::from_secs(60);

/// Ends of time, in seconds from now, between which the overview counts the sessions that end.
pub(crate) const AHEAD: [u32; 6] =
    [3_600, 6 * 3_600, 24 * 3_600, 3 * 86_400, 7 * 86_400, 30 * 86_400];

type Answer<T> = Result<T, Arc<Error>>;

/// What the database counts now.
#[derive(Debug)]
pub(crate) struct Now {
    pub(crate) at: DateTime<Utc>,
    pub(crate) live: Live,
    pub(crate) backlog: Option<Backlog>,
    pub(crate) runs: Vec<CleanupRun>,
    pub(crate) ending: Vec<Ending>,
    pub(crate) newest: Vec<Event>,
}

/// The figures, shared by all viewers.
#[derive(Debug)]
pub(crate) struct Figures {
    database: Database,
    now: Flight<Arc<Now>, Arc<Error>>,
    hours: Flight<Arc<Vec<Period>>, Arc<Error>>,
    finished: Arc<Mutex<Finished>>,
}

/// The hours that are over. Their numbers do not change, except that `forget_user` erases events.
#[derive(Debug, Default)]
struct Finished {
    /// Everything before this moment is in `hours`.
    until: Option<DateTime<Utc>>,
    hours: Vec<Period>,
}

impl Figures {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, now: Flight::new(), hours: Flight::new(), finished: Arc::default() }
    }

    /// What the database counts now, or `None` if it has not answered yet.
    pub(crate) async fn now(&self) -> Option<Answer<Arc<Now>>> {
        let database = self.database.clone();
        let ask = || async move { ask_now(&database).await.map(Arc::new).map_err(Arc::new) };
        self.now.get(FRESH, PATIENCE, STALE, ask).await
    }

    /// The events of each hour of the last [`DAYS`], the oldest first, or `None` if they have not been counted yet.
    pub(crate) async fn hours(&self) -> Option<Answer<Arc<Vec<Period>>>> {
        let (database, finished) = (self.database.clone(), self.finished.clone());
        let ask =
            || async move { ask_hours(&database, &finished).await.map(Arc::new).map_err(Arc::new) };
        self.hours.get(FRESH, PATIENCE, STALE, ask).await
    }
}

async fn ask_now(database: &Database) -> Result<Now, Error> {
    let newest = EventFilter { limit: 8, ..EventFilter::default() };
    let (at, live, backlog, runs, ending, newest) = tokio::try_join!(
        database.now(),
        database.live(),
        database.backlog(),
        database.cleanup_runs(8),
        database.ending(&AHEAD),
        database.events(&newest),
    )?;
    Ok(Now { at, live, backlog, runs, ending, newest: newest.events })
}

/// Asks only for the hours that are not finished. An event may be committed a moment after its hour, so an hour counts as
/// finished when it has been over for an hour.
async fn ask_hours(database: &Database, finished: &Mutex<Finished>) -> Result<Vec<Period>, Error> {
    let now = database.now().await?;
    let this_hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let first = this_hour - TimeDelta::days(DAYS);
    let known = finished.lock().unwrap_or_else(PoisonError::into_inner).until;
    let newer = database.activity(known.unwrap_or(first).max(first), Bucket::Hour).await?;

    let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
    let until = this_hour - TimeDelta::hours(1);
    finished.hours.retain(|hour| hour.begins_at >= first);
    let begins = finished.until.unwrap_or(first);
    finished
        .hours
        .extend(newer.iter().filter(|hour| (begins..until).contains(&hour.begins_at)).cloned());
    finished.until = Some(until.max(begins));
    let rest = newer.into_iter().filter(|hour| hour.begins_at >= until);
    Ok(finished.hours.iter().cloned().chain(rest).collect())
}
