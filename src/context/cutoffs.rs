use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

/// How long a cut-off of this node's is remembered: far longer than any doubt about when an
/// authentication began.
const KEPT: Duration = Duration::from_secs(60);

/// The cut-offs that this node made a moment ago.
///
/// When an authentication began is known by the database's clock only to the time that its answer
/// took, and the doubt is decided against the log-in. For a revocation of this node's own there is
/// no doubt: both moments are of one monotonic clock. So "log out everywhere" and the log-in right
/// after it get along.
#[derive(Debug, Default)]
pub(super) struct RecentCutoffs(Mutex<HashMap<String, Cutoff>>);

#[derive(Clone, Copy, Debug)]
struct Cutoff {
    done: Instant,
    at: DateTime<Utc>,
}

impl RecentCutoffs {
    /// Of a user, or of everybody (the empty user id).
    pub(super) fn note(&self, user_id: &str, at: DateTime<Utc>) {
        let cutoff = Cutoff { done: Instant::now(), at };
        let mut cutoffs = self.cutoffs();
        cutoffs.retain(|_, cutoff| cutoff.done.elapsed() < KEPT);
        cutoffs.insert(user_id.to_owned(), cutoff);
    }

    /// The last one that was done before an authentication began.
    pub(super) fn before(&self, user_id: &str, began: Instant) -> Option<DateTime<Utc>> {
        let cutoffs = self.cutoffs();
        let of = |user_id| {
            cutoffs
                .get(user_id)
                .filter(|cutoff: &&Cutoff| cutoff.done < began)
                .map(|cutoff| cutoff.at)
        };
        of(user_id).max(of(""))
    }

    fn cutoffs(&self) -> MutexGuard<'_, HashMap<String, Cutoff>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
