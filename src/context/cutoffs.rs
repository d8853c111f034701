use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

/// How long this node remembers its own cut-offs: far longer than the uncertainty about the beginning of an
/// authentication.
const KEPT: Duration = Duration::from_secs(60);

/// The cut-offs that this node made recently.
///
/// The library knows the beginning of an authentication by the database's clock only to within the time that
/// the answer took, and refuses the log-in in doubt. There is no doubt about a revocation by this node,
/// because one monotonic clock measured both times. So a log-in right after "log out everywhere" is not
/// refused.
#[derive(Debug, Default)]
pub(super) struct RecentCutoffs(Mutex<HashMap<String, Cutoff>>);

#[derive(Clone, Copy, Debug)]
struct Cutoff {
    done: Instant,
    at: DateTime<Utc>,
}

impl RecentCutoffs {
    /// Remembers the cut-off of a user, or of all users (the empty user id).
    pub(super) fn note(&self, user_id: &str, at: DateTime<Utc>) {
        let cutoff = Cutoff { done: Instant::now(), at };
        let mut cutoffs = self.cutoffs();
        cutoffs.retain(|_, cutoff| cutoff.done.elapsed() < KEPT);
        cutoffs.insert(user_id.to_owned(), cutoff);
    }

    /// The last cut-off that was completed before the authentication began.
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
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
