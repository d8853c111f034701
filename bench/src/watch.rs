//! The duration of the library's statements, by the spans that it emits.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

/// The longest of the library's spans: one statement each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Longest(Arc<State>);

#[derive(Debug, Default)]
struct State {
    last_id: AtomicU64,
    open: Mutex<HashMap<u64, Instant>>,
    longest: Mutex<Duration>,
}

impl Longest {
    pub(crate) fn duration(&self) -> Duration {
        *self.0.longest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Longest {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == "sessile"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        let id = self.0.last_id.fetch_add(1, Relaxed) + 1;
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Instant::now());
        Id::from_u64(id)
    }

    fn try_close(&self, id: Id) -> bool {
        let begun =
            self.0.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id.into_u64());
        if let Some(begun) = begun {
            let mut longest = self.0.longest.lock().unwrap_or_else(PoisonError::into_inner);
            *longest = longest.max(begun.elapsed());
        }
        begun.is_some()
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
