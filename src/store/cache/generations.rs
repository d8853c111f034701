use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hash},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{store::Invalidation, token::SessionId};

/// The last invalidations, as values of a counter that every invalidation increases by one.
///
/// A copy carries the value from before its load began, and is invalid after any later invalidation that
/// concerns it. So a slow load never brings an old record back, and no copy has to be found to be dropped.
/// Sessions and users share entries by hash, so an invalidation of one sometimes also invalidates copies of
/// another.
pub(super) struct Generations {
    clock: AtomicU64,
    sessions: Box<[AtomicU64]>,
    users: Box<[AtomicU64]>,
    /// The last invalidation of any user: for a load in flight, whose user is not known yet.
    any_user: AtomicU64,
    all: AtomicU64,
    hasher: RandomState,
}

const ENTRIES: usize = 4096;

impl Default for Generations {
    fn default() -> Self {
        let entries = || (0..ENTRIES).map(|_| AtomicU64::default()).collect();
        Self {
            clock: AtomicU64::default(),
            sessions: entries(),
            users: entries(),
            any_user: AtomicU64::default(),
            all: AtomicU64::default(),
            hasher: RandomState::new(),
        }
    }
}

impl Generations {
    pub(super) fn now(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    /// Called after the change: a load that begins later sees the change.
    pub(super) fn invalidate(&self, invalidation: &Invalidation) {
        let now = self.clock.fetch_add(1, Ordering::AcqRel) + 1;
        let set = |entry: &AtomicU64| {
            entry.fetch_max(now, Ordering::AcqRel);
        };
        match invalidation {
            Invalidation::Session(id) => set(self.entry(&self.sessions, id)),
            Invalidation::User(user_id) => {
                set(self.entry(&self.users, user_id.as_str()));
                set(&self.any_user);
            }
            Invalidation::All => set(&self.all),
        }
    }

    /// Whether a copy whose load began at `then` is still valid. `user` is `None` while the load is in
    /// flight, and afterwards `Some` of the record's user.
    pub(super) fn holds_since(&self, then: u64, id: SessionId, user: Option<Option<&str>>) -> bool {
        let is_before = |entry: &AtomicU64| entry.load(Ordering::Acquire) <= then;
        let user_is_before = match user {
            None => is_before(&self.any_user),
            Some(None) => true,
            Some(Some(user_id)) => is_before(self.entry(&self.users, user_id)),
        };
        user_is_before && is_before(&self.all) && is_before(self.entry(&self.sessions, id))
    }

    fn entry<'a>(&self, entries: &'a [AtomicU64], key: impl Hash) -> &'a AtomicU64 {
        &entries[(self.hasher.hash_one(key) as usize) % ENTRIES]
    }
}

impl fmt::Debug for Generations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generations").field("clock", &self.clock).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalidation_reaches_what_was_loaded_before_it() {
        let generations = Generations::default();
        let id = SessionId::generate();
        let cases = [
            (Invalidation::Session(id), [false, false, false]),
            (Invalidation::User("ada".to_owned()), [false, false, true]),
            (Invalidation::All, [false, false, false]),
            (Invalidation::Session(SessionId::generate()), [true, true, true]),
        ];
        for (invalidation, holds) in cases {
            let then = generations.now();
            generations.invalidate(&invalidation);
            let users = [None, Some(Some("ada")), Some(None)];
            assert_eq!(
                users.map(|user| generations.holds_since(then, id, user)),
                holds,
                "{invalidation:?}"
            );
            let after = generations.now();
            assert!(users.into_iter().all(|user| generations.holds_since(after, id, user)));
        }
    }

    #[test]
    fn its_debug_output_is_the_clock_and_not_the_tables() {
        let shown = format!("{:?}", Generations::default());
        assert!(shown.contains("clock") && shown.len() < 100, "{shown}");
    }
}
