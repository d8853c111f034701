use std::{fmt, sync::Arc, time::Duration};

use serde_json::value::RawValue;

use crate::{
    data::{Changes, Data},
    error::{Error, Result},
    policy::Rules,
    sealer::{Sealer, unreadable},
    store::{Holder, Record},
    token::SecretHash,
};

/// The state of a handle.
pub(super) struct State {
    pub(super) standing: Standing,
    /// The recorded changes that are not written yet.
    pub(super) changes: Changes,
    /// The recorded changes that a running call writes. Reads still see them.
    pub(super) writing: Changes,
    pub(super) cookie: CookieChange,
}

pub(super) enum Standing {
    /// There is no row.
    Anonymous,
    Live(Arc<Stored>),
    /// The session ended while this handle held it. Only a new log-in writes anything.
    Ended,
    /// Another request replaced the secret of this request. The row is as it was last read, and reads show
    /// nothing of it. Only a new log-in writes anything.
    Superseded(Arc<Stored>),
    /// The row of this request cannot be read, because a person has edited it. The error names the column. Only a
    /// new log-in writes anything, to another row.
    Unreadable(Error),
}

/// A row as it was last read or written through this handle.
#[derive(Clone)]
pub(super) struct Stored {
    /// Its `data` is empty, because the data is in the field `data` below.
    pub(super) record: Record,
    /// The hash of this handle's secret: the record's hash, or the hash of one of its twins.
    pub(super) hash: SecretHash,
    pub(super) data: Data,
}

impl Stored {
    pub(super) fn read(sealer: &Sealer, mut record: Record, hash: SecretHash) -> Result<Arc<Self>> {
        check_readable(&record)?;
        let text = std::mem::take(&mut record.data);
        let data = sealer.open(&record.realm, record.id, record.user_id.as_deref(), &text)?;
        Ok(Arc::new(Self { record, hash, data }))
    }

    /// A row of which reads show nothing. So it does not have to be readable.
    pub(super) fn hidden(mut record: Record, hash: SecretHash) -> Arc<Self> {
        record.data = Arc::default();
        Arc::new(Self { record, hash, data: Data::default() })
    }

    pub(super) fn holder(&self) -> Holder {
        Holder { id: self.record.id, secret_hash: self.hash }
    }

    /// Whether this request shows which secret the browser kept. A log-in that was sent twice hands out several.
    pub(super) fn settles(&self) -> bool {
        !self.record.twins.is_empty() && self.record.is_settled()
    }

    /// Whether the browser keeps the cookie after it is closed.
    pub(super) fn is_persistent(&self, rules: &Rules) -> bool {
        match (&self.record.user_id, self.record.remembered) {
            (None, _) => rules.persistent_anonymous_cookie,
            (Some(_), Some(remembered)) => remembered,
            (Some(_), None) => rules.was_remembered(self.record.lifetime.idle_timeout),
        }
    }
}

/// An error if a person has put something into a column that the library cannot read.
pub(super) fn check_readable(record: &Record) -> Result<()> {
    record.unreadable.map_or(Ok(()), |column| Err(unreadable(record.id, column)))
}

impl State {
    pub(super) fn new(cookie: CookieChange) -> Self {
        Self {
            standing: Standing::Anonymous,
            changes: Changes::default(),
            writing: Changes::default(),
            cookie,
        }
    }

    pub(super) fn stored(&self) -> Option<&Arc<Stored>> {
        match &self.standing {
            Standing::Live(stored) => Some(stored),
            Standing::Anonymous
            | Standing::Ended
            | Standing::Superseded(_)
            | Standing::Unreadable(_) => None,
        }
    }

    /// An error if the row cannot be read.
    pub(super) fn readable(&self) -> Result<&Self> {
        match &self.standing {
            Standing::Unreadable(error) => Err(error.clone()),
            _ => Ok(self),
        }
    }

    /// A value as this request sees it.
    pub(super) fn value(&self, key: &str) -> Option<&RawValue> {
        let recorded = self.changes.get(key).or_else(|| self.writing.get(key));
        recorded.unwrap_or_else(|| self.stored()?.data.get(key))
    }

    /// The data of the row as it was read. The clone shares the values.
    pub(super) fn stored_data(&self) -> Data {
        self.stored().map_or_else(Data::default, |stored| stored.data.clone())
    }

    /// The data as this request sees it.
    pub(super) fn data(&self) -> Data {
        self.changes.preview(&self.writing.preview(&self.stored_data()))
    }

    /// Leaves the session. Changes that were recorded for it do not go into the next session.
    pub(super) fn leave(&mut self, cookie: CookieChange) {
        *self = Self::new(cookie);
    }
}

/// The change that the response must make to the browser's cookie.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookieChange {
    /// No change.
    #[default]
    Keep,
    /// Set the cookie.
    #[non_exhaustive]
    Set {
        /// The token. It is a credential, so `Debug` does not show it.
        value: String,
        /// How long the browser must keep the cookie. `None`: until the browser is closed.
        max_age: Option<Duration>,
    },
    /// Remove the cookie.
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
