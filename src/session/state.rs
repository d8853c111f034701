use std::{fmt, sync::Arc, time::Duration};

use serde_json::value::RawValue;

use crate::{
    data::{Changes, Data},
    error::{Error, ErrorKind, Result},
    policy::Rules,
    store::{Holder, Record},
    token::SecretHash,
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
    /// Somebody else ended it while this handle held it. Only a new log-in writes anything.
    Ended,
    /// Another request replaced the secret that this one came with: the row as it was read last,
    /// which shows nothing. Only a new log-in writes anything.
    Superseded(Arc<Stored>),
    /// The row is this request's and cannot be read, as the error says: a person has edited it. Only a new log-in
    /// writes anything, to another row.
    Unreadable(Error),
}

/// A row as it was last read or written through this handle.
#[derive(Clone)]
pub(super) struct Stored {
    /// Its `data` is empty: it was moved to the other field.
    pub(super) record: Record,
    /// Of the secret that makes the row this handle's: the record's, or one of its twins.
    pub(super) hash: SecretHash,
    pub(super) data: Data,
}

impl Stored {
    pub(super) fn read(mut record: Record, hash: SecretHash) -> Result<Arc<Self>> {
        check_readable(&record)?;
        let data = Data::decode(&std::mem::take(&mut record.data))
            .map_err(|source| unreadable(&record, "data").with_source(source))?;
        Ok(Arc::new(Self { record, hash, data }))
    }

    /// Of a row that shows nothing: it need not be readable.
    pub(super) fn hidden(mut record: Record, hash: SecretHash) -> Arc<Self> {
        record.data = Arc::default();
        Arc::new(Self { record, hash, data: Data::default() })
    }

    pub(super) fn holder(&self) -> Holder {
        Holder { id: self.record.id, secret_hash: self.hash }
    }

    /// Whether this request shows which secret the browser kept, of several that a log-in which was
    /// sent twice has handed out.
    pub(super) fn settles(&self) -> bool {
        !self.record.twins.is_empty() && self.record.is_settled()
    }

    /// Whether the cookie outlives the browser's window.
    pub(super) fn is_persistent(&self, rules: &Rules) -> bool {
        match (&self.record.user_id, self.record.remembered) {
            (None, _) => rules.persistent_anonymous_cookie,
            (Some(_), Some(remembered)) => remembered,
            (Some(_), None) => rules.was_remembered(self.record.lifetime.idle_timeout),
        }
    }
}

/// An error if a person has made something of a column that is no value.
pub(super) fn check_readable(record: &Record) -> Result<()> {
    record.unreadable.map_or(Ok(()), |column| Err(unreadable(record, column)))
}

fn unreadable(record: &Record, column: &str) -> Error {
    let message = format!(
        "the session {} cannot be read: its row has something in the column {column} that this library does not write there. Correct the row, or delete it; a log-in or a log-out helps the user",
        record.id
    );
    Error::new(ErrorKind::WrongType, message)
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

    /// The data of the row as it was read. Shared.
    pub(super) fn stored_data(&self) -> Data {
        self.stored().map_or_else(Data::default, |stored| stored.data.clone())
    }

    /// The data as this request sees it.
    pub(super) fn data(&self) -> Data {
        self.changes.preview(&self.writing.preview(&self.stored_data()))
    }

    /// No session any more: what was recorded for the one before is not for the next one.
    pub(super) fn leave(&mut self, cookie: CookieChange) {
        *self = Self::new(cookie);
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
