use std::{fmt, sync::Arc, time::Duration};

use crate::{
    data::{Changes, Data},
    error::Result,
    store::Record,
};

/// What the handle knows and has to do.
pub(super) struct State {
    pub(super) standing: Standing,
    /// What was recorded and is not written yet.
    pub(super) changes: Changes,
    /// What is being written: it was recorded, and no read loses sight of it.
    pub(super) writing: Changes,
    pub(super) cookie: CookieChange,
}

pub(super) enum Standing {
    /// There is no row.
    Anonymous,
    Live(Arc<Stored>),
    /// Somebody else ended it while this handle held it: nothing is written any more, but by a new
    /// log-in.
    Ended,
}

/// A row as it was last read or written through this handle.
#[derive(Clone)]
pub(super) struct Stored {
    /// Its `data` is empty: it was moved to the other field.
    pub(super) record: Record,
    pub(super) data: Data,
}

impl Stored {
    pub(super) fn read(mut record: Record) -> Result<Arc<Self>> {
        let data = Data::decode(&std::mem::take(&mut record.data))?;
        Ok(Arc::new(Self { record, data }))
    }

    /// Whether it is worth a write that the session was seen.
    pub(super) fn touch_due(&self) -> bool {
        self.record.lifetime.touch_due(self.record.now())
    }
}

impl State {
    pub(super) fn stored(&self) -> Option<&Arc<Stored>> {
        match &self.standing {
            Standing::Live(stored) => Some(stored),
            Standing::Anonymous | Standing::Ended => None,
        }
    }

    /// The data as this request sees it.
    pub(super) fn data(&self) -> Data {
        let stored = self.stored().map_or_else(Data::default, |stored| stored.data.clone());
        self.changes.preview(&self.writing.preview(&stored))
    }

    /// Another session, or none: what was recorded for the one before is not for it.
    pub(super) fn switch_to(&mut self, standing: Standing, cookie: CookieChange) {
        self.standing = standing;
        self.changes = Changes::default();
        self.cookie = cookie;
    }
}

/// What the response has to do to the browser's cookie.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookieChange {
    /// Nothing.
    #[default]
    Keep,
    /// Set it.
    #[non_exhaustive]
    Set {
        /// The token: a credential. Not shown by `Debug`.
        value: String,
        /// How long the browser is to keep it; `None`: until it is closed.
        max_age: Option<Duration>,
    },
    /// Remove it.
    Remove,
}

impl fmt::Debug for CookieChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("Keep"),
            Self::Set { max_age, .. } => {
                f.debug_struct("Set").field("max_age", max_age).finish_non_exhaustive()
            }
            Self::Remove => f.write_str("Remove"),
        }
    }
}
