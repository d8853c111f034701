//! The handle that a request holds.

mod end;
mod log_in;
mod state;
mod write;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};

use self::state::{Standing, State, Stored};
pub use self::{end::Device, log_in::LogIn, state::CookieChange};
use crate::{
    client::Client,
    context::{Context, observed},
    data::{self, Data},
    error::{Error, Result},
    token::{Secret, SessionId, Token},
};

/// The session of one request, or of one socket.
///
/// Clones are the same session. Reading is synchronous and asks nobody: it sees the row as it was
/// loaded, and this request's changes.
///
/// - [`insert`](Self::insert), [`remove`](Self::remove) and [`clear`](Self::clear) are recorded,
///   and written when the handler has returned, before its response goes out; or by
///   [`save`](Self::save). What is recorded by a handler that answers 5xx, panics or is dropped is
///   not written.
/// - [`update`](Self::update), and everything that logs in, out or renews, acts at once and is
///   durable when it returns.
///
/// A session has no row and no cookie until something is written. Writes are merged by top-level
/// key with what other requests wrote meanwhile. A session that is ended by somebody else while
/// this request holds it stays ended: writes then fail with
/// [`SessionEnded`](crate::ErrorKind::SessionEnded). One that somebody logs in to meanwhile is
/// theirs: a request with the old cookie does not become them, and its writes fail with
/// [`Superseded`](crate::ErrorKind::Superseded).
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    context: Arc<Context>,
    client: Client,
    /// When the request arrived: no authentication that it makes began earlier.
    opened: Instant,
    state: Mutex<State>,
    /// One write at a time through this handle.
    turn: tokio::sync::Mutex<()>,
}

impl Session {
    pub(crate) async fn open(
        context: Arc<Context>,
        token: Option<Token>,
        client: Client,
        opened: Instant,
    ) -> Result<Self> {
        let (mut standing, mut cookie) = (Standing::Anonymous, CookieChange::Keep);
        if let Some(token) = token {
            match context.store.load(token.id).await? {
                Some(record) if record.secret_hash.matches(&token.secret.hash()) => {
                    standing = Standing::Live(Stored::read(record)?);
                }
                // The cookie stays: it is an old one of a session that was renewed a moment ago,
                // and the browser may have the new one by the time it reads this response.
                Some(_) => observed::refused_token(&token, true),
                None => {
                    observed::refused_token(&token, false);
                    cookie = CookieChange::Remove;
                }
            }
        }
        let state = Mutex::new(State {
            standing,
            changes: data::Changes::default(),
            writing: data::Changes::default(),
            cookie,
        });
        Ok(Self(Arc::new(Inner {
            context,
            client,
            opened,
            state,
            turn: tokio::sync::Mutex::default(),
        })))
    }

    /// The public handle; `None` while nothing was written.
    pub fn id(&self) -> Option<SessionId> {
        self.state().stored().map(|stored| stored.record.id)
    }

    /// Whose session it is; `None` while anonymous.
    pub fn user_id(&self) -> Option<String> {
        self.state().stored().and_then(|stored| stored.record.user_id.clone())
    }

    /// When the user last authenticated.
    pub fn authenticated_at(&self) -> Option<DateTime<Utc>> {
        self.state().stored().and_then(|stored| stored.record.authenticated_at)
    }

    /// When the session was first written.
    pub fn created_at(&self) -> Option<DateTime<Utc>> {
        self.state().stored().map(|stored| stored.record.created_at)
    }

    /// When it ends unless it is seen before, as the row says.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.state().stored().map(|stored| stored.record.lifetime.valid_until)
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// [`WrongType`](crate::ErrorKind::WrongType) if it is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.state().data().get(key)
    }

    /// Whether the key has a value.
    pub fn contains(&self, key: &str) -> bool {
        self.state().data().contains(key)
    }

    /// The keys that have a value, in alphabetical order.
    pub fn keys(&self) -> Vec<String> {
        self.state().data().keys().cloned().collect()
    }

    /// The whole data as one value, for applications that describe their session with a type. `T`
    /// has to take what is missing: `#[serde(default)]`.
    ///
    /// # Errors
    ///
    /// [`WrongType`](crate::ErrorKind::WrongType) if it is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        self.state().data().whole()
    }

    /// Records a new value for a key.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](crate::ErrorKind::InvalidData) if the value is not JSON, too deep, or would make
    /// the data too large. Nothing is recorded then.
    pub fn insert<T: Serialize>(&self, key: &str, value: T) -> Result<()> {
        let limits = self.0.context.rules.limits;
        let value = data::encode(key, &value, limits)?;
        let mut state = self.state();
        let mut changes = state.changes.clone();
        changes.set(key, value);
        let stored = state.stored().map_or_else(Data::default, |stored| stored.data.clone());
        changes.apply(&stored, limits, Some(key))?;
        state.changes = changes;
        Ok(())
    }

    /// Records that a key is to go. Returns whether it had a value.
    pub fn remove(&self, key: &str) -> bool {
        let mut state = self.state();
        let had = state.data().contains(key);
        if had {
            state.changes.remove(key);
        }
        had
    }

    /// Records that all values are to go, whatever other requests write meanwhile.
    pub fn clear(&self) {
        self.state().changes.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and if it did, no state is half-changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds this row from now on, whose secret the browser is to get, and to keep when its window
    /// is closed if the session is remembered.
    fn adopt(&self, stored: Arc<Stored>, secret: Secret, is_remembered: bool) {
        let record = &stored.record;
        let left = (record.lifetime.absolute_expires_at - record.now()).to_std().ok();
        let mut state = self.state();
        state.cookie = CookieChange::Set {
            value: Token { id: record.id, secret }.encode(),
            max_age: left.filter(|_| is_remembered),
        };
        state.standing = Standing::Live(stored);
    }

    fn is_remembered(&self, stored: &Stored) -> bool {
        self.0.context.rules.is_remembered(stored.record.lifetime.idle_timeout)
    }

    /// The row, if there is one. Somebody else's end of the session is told, whatever it is asked
    /// for.
    fn live(&self) -> Result<Option<Arc<Stored>>> {
        match &self.state().standing {
            Standing::Live(stored) => Ok(Some(stored.clone())),
            Standing::Anonymous => Ok(None),
            Standing::Ended => Err(Error::session_ended()),
        }
    }

    fn set_ended(&self) {
        let mut state = self.state();
        if let Some(stored) = state.stored() {
            observed::refused_write(stored.record.id, "ended");
        }
        state.switch_to(Standing::Ended, CookieChange::Remove);
    }

    fn logged_in(&self) -> Result<(Arc<Stored>, String)> {
        let stored = self.live()?.ok_or_else(Error::not_logged_in)?;
        let user_id = stored.record.user_id.clone().ok_or_else(Error::not_logged_in)?;
        Ok((stored, user_id))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id())
            .field("user_id", &self.user_id())
            .finish_non_exhaustive()
    }
}
