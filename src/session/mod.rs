//! The handle that a request holds.

mod begin;
mod end;
mod ended;
mod log_in;
mod open;
mod session_data;
mod state;
mod write;

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OwnedMutexGuard;

pub(crate) use self::open::Presented;
use self::state::{Standing, State, Stored};
pub use self::{
    begin::BeginLogIn, end::Device, log_in::LogIn, session_data::SessionData, state::CookieChange,
};
use crate::{
    client::Client,
    context::{Context, Turn, observed},
    data::{self, Data},
    error::{Error, ErrorKind, Result},
    store::Record,
    store::{Holder, SecretCheck},
    token::{Secret, SecretHash, SessionId, Token},
    user_id::{self, UserId},
};

/// How long a call waits for another call through the same handle that makes no progress. This is longer than a
/// call takes that the database does not answer.
const STALLS_AFTER: Duration = Duration::from_secs(6);

/// The session of one request or one socket.
///
/// Clones share the same session. Reads are synchronous and never query the database: they see the row
/// as it was loaded, plus this request's own changes.
///
/// - [`insert`](Self::insert), [`remove`](Self::remove) and [`clear`](Self::clear) record a change. The
///   layer writes the recorded changes after the handler returns and before it sends the response;
///   [`save`](Self::save) writes them earlier. If the handler answers 5xx, panics or is dropped, the
///   changes are not written.
/// - [`update`](Self::update) and [`take`](Self::take), and all calls that log in, log out or renew, act
///   at once. Their effect is durable when they return.
///
/// A session has no row and no cookie until something is written. If several requests write, the library
/// merges their changes by top-level key.
///
/// # A handle that has lost its session
///
/// Each statement of a handle checks that the row still has the secret that the request came with. If
/// it does not, the statement changes nothing, and the error tells why:
///
/// - [`SessionEnded`](crate::ErrorKind::SessionEnded): the session was logged out or revoked, or it
///   expired. It stays ended.
/// - [`Superseded`](crate::ErrorKind::Superseded): another request logged in, authenticated again or
///   renewed the session, and got a newer cookie. The browser has that cookie, or gets it soon; a thief
///   does not.
///
/// A request is superseded from the start if its secret was replaced less than a minute ago. It reads as
/// anonymous, [`is_superseded`](Self::is_superseded) distinguishes it from a visitor, and its writes
/// fail.
///
/// | call on such a handle | effect |
/// |---|---|
/// | `id`, `user_id`, `authenticated_at`, `created_at`, `expires_at`, `get`, `contains`, `keys`, `data`, `pending_log_in` | They show the row as it was loaded. Once the handle has noticed, they show nothing. |
/// | `insert`, `remove`, `clear` | They record the change without an error. The later write fails, and the layer answers 401 or 409. |
/// | `update`, `take`, `save`, `refresh`, `renew`, `reauthenticate`, `begin_log_in`, `complete_log_in`, `devices`, `log_out_others`, `log_out_everywhere`, `log_out_device` | They fail and change nothing. |
/// | `require_recent` | It uses the row as it was loaded. Once the handle has noticed, it fails. |
/// | `log_out` | If the session ended, it removes the cookie. If it was superseded, it fails. |
/// | `log_in` | It succeeds: a user who has just authenticated gets a session. The cookie of the request does not matter. |
/// | `finish` | It fails if changes are recorded. Otherwise it leaves the cookie as it is. |
/// | `abandon` | It forgets the recorded changes. |
///
/// # A row that cannot be read
///
/// A person may edit the table and leave something there that this library does not write: data that is not a
/// JSON object, a user id of 300 bytes, an idle timeout of zero. The handle of a request with such a session shows
/// nothing: no user, no keys. Every call that needs the row fails with
/// [`WrongType`](crate::ErrorKind::WrongType), also `get` and `data`. The error names the session's id and the column.
/// The browser keeps its cookie, and the session goes on when the row is corrected.
///
/// The user does not have to wait for that. `log_in` and `begin_log_in` make a new session and give the browser
/// its cookie; the unreadable row ends by its timeout. `log_out` ends the row. A page that leads to the log-in must
/// not write to the session, because that write fails too.
///
/// If the object in the column `data` has a key twice, the last value counts, and the next write leaves only that.
///
/// # If the answer to a write is missing
///
/// Every call ends by its deadline ([`SessionsBuilder::deadline`](crate::SessionsBuilder::deadline)). If the
/// database has not answered a write by then, the call fails as
/// [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown): the write may have happened. The library does not
/// repeat it. Every other error means that nothing was written.
///
/// | call | state after an unknown outcome |
/// |---|---|
/// | `save`, `finish` | The row has either all old values or all new ones. The changes stay recorded, and a second call writes them once. |
/// | `update` | As for `save`, but the function may already have been applied. Read the value before you repeat an action that must not happen twice. |
/// | `take` | If the value is still there, a second call returns it. If the write happened, a second call returns `None`, and the value is lost. |
/// | `log_in`, `complete_log_in` | The user can log in again at once, in the same browser. If the first log-in happened, its session is the same one if the browser had a session before. Otherwise it is a second entry in the list of devices, and no browser has its cookie. |
/// | `renew`, `reauthenticate`, `begin_log_in` | The row may have a new secret that the browser never receives. The browser's cookie is then superseded, and anonymous after a minute. A log-in helps at once. |
/// | `log_out`, `log_out_others`, `log_out_everywhere`, `log_out_device`, and `Sessions::revoke…` | The sessions may have ended. It is safe to repeat the call. |
#[derive(Clone)]
pub struct Session(Arc<SessionInner>);

struct SessionInner {
    context: Arc<Context>,
    client: Client,
    /// When the request arrived: no authentication that it makes began earlier.
    opened: Instant,
    /// Whether the request had a cookie of the session's name, valid or not.
    brought_cookie: bool,
    /// Live sessions whose cookies the request brought without getting their session: it brought several, or the
    /// only one cannot be read.
    rivals: Vec<Holder>,
    /// Whether another site sent the request, so that the browser withheld the cookie. No session begins then.
    is_cookie_withheld: AtomicBool,
    /// Whether the request shows that the user is there.
    is_activity: AtomicBool,
    state: Mutex<State>,
    /// One write at a time through this handle.
    turn: Turn,
}

impl Session {
    /// The session's public id. `None` while the session has no row.
    pub fn id(&self) -> Option<SessionId> {
        self.state().stored().map(|stored| stored.record.id)
    }

    /// The id of the logged-in user, as text. `None` while the session is anonymous.
    pub fn user_id(&self) -> Option<String> {
        self.state().stored().and_then(|stored| stored.record.user_id.clone())
    }

    /// The id of the logged-in user, as the type that the application uses: `session.user_id_as::<i64>()?`.
    /// `None` while the session is anonymous.
    ///
    /// # Errors
    ///
    /// [`WrongType`](crate::ErrorKind::WrongType) if the text is not the [text](UserId::text) of a `T`: `007` is
    /// not an `i64`, because `log_in(7)` stores `7`.
    pub fn user_id_as<T: UserId + FromStr>(&self) -> Result<Option<T>> {
        self.user_id().as_deref().map(user_id::parse).transpose()
    }

    /// The id of the logged-in user, or an error while the session is anonymous. For a handler that needs a user:
    /// `let user: i64 = session.require_user()?;`.
    ///
    /// # Errors
    ///
    /// [`NotLoggedIn`](crate::ErrorKind::NotLoggedIn); [`SessionEnded`](crate::ErrorKind::SessionEnded) and
    /// [`Superseded`](crate::ErrorKind::Superseded) if the handle has noticed it; [`WrongType`](crate::ErrorKind::WrongType)
    /// as [`user_id_as`](Self::user_id_as).
    pub fn require_user<T: UserId + FromStr>(&self) -> Result<T> {
        let (_, user_id) = self.logged_in()?;
        user_id::parse(&user_id)
    }

    /// Whether another request has given the session a new secret since this request left the browser, or while
    /// it runs. The browser is logged in, but this request is not. Answer "reload" or 409, not with the log-in
    /// page.
    pub fn is_superseded(&self) -> bool {
        matches!(self.state().standing, Standing::Superseded(_))
    }

    /// Whether another site made the browser send this request, and the browser therefore withheld the
    /// session's `SameSite=Lax` cookie. The request reads as anonymous. Its writes and log-ins fail as
    /// [`CrossSite`](crate::ErrorKind::CrossSite), because a new session would replace the one that the browser
    /// has. See [`CrossSiteLayer`](crate::CrossSiteLayer).
    pub fn is_cross_site(&self) -> bool {
        self.0.is_cookie_withheld.load(Ordering::Relaxed)
    }

    #[cfg(feature = "http")]
    pub(crate) fn refuse_to_begin(&self) {
        self.0.is_cookie_withheld.store(true, Ordering::Relaxed);
    }

    /// An error if this request must not begin a session.
    fn may_begin(&self) -> Result<()> {
        match self.is_cross_site() {
            true => Err(Error::cookie_withheld()),
            false => Ok(()),
        }
    }

    /// When the user last authenticated, as the row was read.
    pub fn authenticated_at(&self) -> Option<DateTime<Utc>> {
        self.state().stored().and_then(|stored| stored.record.authenticated_at)
    }

    /// When the session was first written.
    pub fn created_at(&self) -> Option<DateTime<Utc>> {
        self.state().stored().map(|stored| stored.record.created_at)
    }

    /// When the session will end, unless it is seen before. As the row was read.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.state().stored().map(|stored| stored.record.lifetime.valid_until)
    }

    /// The value of a key. The cost depends on the size of the value, not on the number of keys.
    ///
    /// # Errors
    ///
    /// [`WrongType`](crate::ErrorKind::WrongType) if the value is not a `T`, or if the row cannot be read.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        // Parsed after the lock is free: the application's `Deserialize` may use the session.
        let value = self.state().readable()?.value(key).map(ToOwned::to_owned);
        value.map(|value| data::parse(key, &value)).transpose()
    }

    /// Whether the key has a value.
    pub fn contains(&self, key: &str) -> bool {
        self.state().value(key).is_some()
    }

    /// The keys that have a value, in alphabetical order.
    pub fn keys(&self) -> Vec<String> {
        self.state().data().keys().cloned().collect()
    }

    /// The whole data as one value, for applications that describe their session with a type. `T` must accept
    /// missing keys: `#[serde(default)]`.
    ///
    /// # Errors
    ///
    /// [`WrongType`](crate::ErrorKind::WrongType) if the data is not a `T`, or if the row cannot be read.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        let data = self.state().readable()?.data();
        data.whole()
    }

    /// Records a new value for a key.
    ///
    /// An accepted value reads back unchanged: integers of every size, floats to the last bit, maps with strings,
    /// integers, booleans or characters as keys, and enums in all of serde's representations. There is one
    /// exception, which is a limit of serde: inside `#[serde(flatten)]`, `#[serde(untagged)]` and
    /// `#[serde(tag = "…")]`, integers beyond 64 bits and integer keys fail to read back, as
    /// [`WrongType`](crate::ErrorKind::WrongType).
    ///
    /// # Errors
    ///
    /// [`InvalidData`](crate::ErrorKind::InvalidData) if the value cannot be written as JSON, if it would not read
    /// back unchanged (a float that is NaN or infinite, a `Some(None)`), if it nests too deep, or if it would make
    /// the data too large. Nothing is recorded then.
    pub fn insert<T: Serialize>(&self, key: &str, value: T) -> Result<()> {
        let limits = self.0.context.rules.limits;
        let value = data::encode(key, &value, limits)?;
        let mut state = self.state();
        let stored = state.stored_data();
        state.changes.record(&stored, key, Some(value), limits)
    }

    /// Records the removal of a key. Returns whether the key had a value.
    pub fn remove(&self, key: &str) -> bool {
        let mut state = self.state();
        let had = state.value(key).is_some();
        if had {
            let (stored, limits) = (state.stored_data(), self.0.context.rules.limits);
            // A removal is within every limit.
            state.changes.record(&stored, key, None, limits).ok();
        }
        had
    }

    /// Records the removal of all values, also of those that other requests write meanwhile.
    pub fn clear(&self) {
        self.state().changes.clear();
    }

    /// Whether this request counts as activity of the user: `false` for a poll or a prefetch, which a browser
    /// sends by itself. Such a request reads and writes the session like any other, but does not prolong it.
    /// [`log_in`](Self::log_in) and [`reauthenticate`](Self::reauthenticate) restart the session's time in any
    /// case.
    ///
    /// Default: the result of [`SessionLayer::activity`](crate::SessionLayer::activity), or `true` without it.
    pub fn set_activity(&self, is_activity: bool) {
        self.0.is_activity.store(is_activity, Ordering::Relaxed);
    }

    fn is_activity(&self) -> bool {
        self.0.is_activity.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held. Even after a panic, no state would be half-changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other call writes through this handle. The wait is bounded, because the other call may wait
    /// for this one: the response waits for its body, and the body for an update.
    async fn turn(&self) -> Result<OwnedMutexGuard<()>> {
        self.0.turn.wait(STALLS_AFTER).await.ok_or_else(|| {
            let message = "another call through this handle has not come to its end, or is not polled any more: nothing was done. A response cannot wait for what its own body does";
            Error::new(ErrorKind::Contention, message)
        })
    }

    /// Makes this row the handle's session, and hands its secret to the browser.
    fn adopt(&self, stored: Arc<Stored>, secret: Secret) {
        let record = &stored.record;
        let left = (record.lifetime.absolute_expires_at - record.now()).to_std().ok();
        let mut state = self.state();
        state.cookie = CookieChange::Set {
            value: Token { id: record.id, secret }.encode(),
            max_age: left.filter(|_| stored.is_persistent(&self.0.context.rules)),
        };
        state.standing = Standing::Live(stored);
    }

    /// The client as rows and events get it.
    fn client(&self) -> Result<Client> {
        self.0.context.client(&self.0.client)
    }

    /// Data as the row of a session gets it.
    fn sealed(&self, id: SessionId, user_id: Option<&str>, data: &Data) -> Result<String> {
        let context = &self.0.context;
        context.sealer.seal(&context.realm, id, user_id, data)
    }

    /// The hash of a new secret for a row, which keeps its user.
    fn hash_for(&self, secret: &Secret, record: &Record) -> SecretHash {
        let hasher = &self.0.context.hasher;
        hasher.hash(secret, &record.realm, record.id, record.user_id.as_deref())
    }

    /// The row, if there is one. An error if the handle has lost its session.
    fn live(&self) -> Result<Option<Arc<Stored>>> {
        match &self.state().standing {
            Standing::Live(stored) => Ok(Some(stored.clone())),
            Standing::Anonymous => Ok(None),
            Standing::Ended => Err(Error::session_ended()),
            Standing::Superseded(_) => Err(Error::superseded()),
            Standing::Unreadable(error) => Err(error.clone()),
        }
    }

    /// Reads the row again. If the row still has this handle's secret, the handle takes the row over. Otherwise
    /// the error tells why the handle has lost its session.
    async fn reload(&self, stored: &Stored) -> Result<Arc<Stored>> {
        let Some(fresh) = self.0.context.store.load_now(stored.record.id).await? else {
            observed::refused_write(stored.record.id, "ended");
            self.state().standing = Standing::Ended;
            return Err(Error::session_ended());
        };
        let binds_user = self.0.context.hasher.binds_user();
        let is_others = binds_user && fresh.user_id != stored.record.user_id;
        if is_others || fresh.check(&stored.hash) != SecretCheck::Current {
            observed::refused_write(fresh.id, "superseded");
            self.state().standing = Standing::Superseded(Stored::hidden(fresh, stored.hash));
            return Err(Error::superseded());
        }
        let fresh = Stored::read(&self.0.context.sealer, fresh, stored.hash)?;
        self.state().standing = Standing::Live(fresh.clone());
        Ok(fresh)
    }

    /// The error of a call that did nothing because the row did not have the handle's secret.
    async fn why_not(&self, stored: &Stored) -> Error {
        match self.reload(stored).await {
            // The row had another secret for a moment, such as that of a transaction that was rolled back.
            Ok(_) => Error::superseded(),
            Err(error) => error,
        }
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
