use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout};

use super::{CookieChange, Session, Standing, Stored};
use crate::{
    context::observed,
    data::{self, Changes, Data},
    error::{Error, ErrorKind, Result},
    expiry::Lifetime,
    store::{NewPendingLogIn, NewSession, Save, Touch},
    token::{Secret, SessionId},
};

/// How often a write is tried if other requests keep writing first.
pub(super) const TRIES: u32 = 100;
/// How long a write is tried at most, with the wait for its turn among the requests of this node.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long a write waits for a turn that makes no progress. Then it goes on without a turn, because turns only
/// keep the requests of this node from colliding.
const STALLS_AFTER: Duration = Duration::from_millis(500);
/// The longest pause between two tries. Pauses begin at a millisecond and double.
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

impl Session {
    /// Changes the value of a key with a function, atomically. No concurrent change of another request is
    /// lost. The new value is durable when the call returns. If the key has no value, the function gets
    /// `T::default()`.
    ///
    /// The function may run several times, each time on the newest value, so it must have no other side
    /// effects. The call returns the result of the run that was written. If that result is an `Err`, the
    /// call still writes the value that the function left.
    ///
    /// An `Option` that is `None` at the end removes the key.
    ///
    /// ```no_run
    /// # async fn example(session: sessile::Session) -> Result<(), sessile::Error> {
    /// let visits = session.update("visits", |n: &mut u64| { *n += 1; *n }).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Cost
    ///
    /// One statement, and two more for each write of another request in between.
    ///
    /// # Errors
    ///
    /// [`SessionEnded`](ErrorKind::SessionEnded), [`Superseded`](ErrorKind::Superseded),
    /// [`InvalidData`](ErrorKind::InvalidData), [`WrongType`](ErrorKind::WrongType);
    /// [`Contention`](ErrorKind::Contention) if other requests wrote first a hundred times, or for ten seconds.
    /// Nothing was written then.
    pub async fn update<T, R>(
        &self,
        key: &str,
        mut change: impl FnMut(&mut T) -> R + Send,
    ) -> Result<R>
    where
        T: Serialize + DeserializeOwned + Default,
        R: Send,
    {
        let _turn = self.turn().await?;
        let limits = self.0.context.rules.limits;
        let taken = self.begin_write(|changes| changes.take_for(key));
        let mut returned = None;
        self.write(&mut |data| {
            let mut changes = taken.changes.clone();
            let mut value: T = changed(&changes, data, key)?.unwrap_or_default();
            returned = Some(change(&mut value));
            match data::encode(key, &value, limits)? {
                null if null.get() == "null" => changes.remove(key),
                value => changes.set(key, value),
            }
            changes.apply(data, limits, Some(key)).map(Some)
        })
        .await?;
        taken.written();
        Ok(returned.expect("a write was made of the function's result"))
    }

    /// Removes a key and returns its value, atomically. If several requests take the key at once, only one
    /// of them gets the value. Use it for a value that must be shown or used once. The removal is durable
    /// when the call returns. It returns `None` if the key has no value, or if another request was faster.
    ///
    /// ```no_run
    /// # async fn example(session: sessile::Session) -> Result<(), sessile::Error> {
    /// session.insert("flash", "Your address has been saved")?;
    /// // In the next request:
    /// let flash: Option<String> = session.take("flash").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Cost
    ///
    /// As [`update`](Self::update) if the session had the key when the request loaded it. Otherwise the call
    /// does not query the database, so it does not see a value that another request has stored since.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update). The key keeps its value then, unless the outcome is unknown.
    pub async fn take<T>(&self, key: &str) -> Result<Option<T>>
    where
        T: DeserializeOwned + Send,
    {
        let _turn = self.turn().await?;
        self.live()?;
        if !self.contains(key) {
            return Ok(None);
        }
        let limits = self.0.context.rules.limits;
        let taken = self.begin_write(|changes| changes.take_for(key));
        let mut value = None;
        self.write(&mut |data| {
            let mut changes = taken.changes.clone();
            value = changed(&changes, data, key)?;
            changes.remove(key);
            let is_there = value.is_some();
            is_there.then(|| changes.apply(data, limits, Some(key))).transpose()
        })
        .await?;
        if value.is_some() {
            taken.written();
        }
        Ok(value)
    }

    /// Writes the recorded changes now: for streams and sockets, which go on after the response.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update). The changes stay recorded, so the response fails too, unless
    /// [`abandon`](Self::abandon) drops them.
    pub async fn save(&self) -> Result<()> {
        let _turn = self.turn().await?;
        let limits = self.0.context.rules.limits;
        let taken = self.begin_write(std::mem::take);
        if taken.changes.is_empty() {
            return Ok(());
        }
        self.write(&mut |data| taken.changes.apply(data, limits, None).map(Some)).await?;
        taken.written();
        Ok(())
    }

    /// Reads the row again, and records that the session was seen. For a message on a socket, because a socket may
    /// stay open for longer than the idle timeout. To learn that the session has ended, use
    /// [`ended`](Self::ended), which does not prolong the session.
    ///
    /// # Errors
    ///
    /// [`SessionEnded`](ErrorKind::SessionEnded) if the session was logged out or revoked, or has expired;
    /// [`Superseded`](ErrorKind::Superseded).
    pub async fn refresh(&self) -> Result<()> {
        let _turn = self.turn().await?;
        if let Some(stored) = self.live()? {
            self.reload(&stored).await?;
            self.touch().await?;
        }
        Ok(())
    }

    /// Finishes a request. The layer calls it after the handler returns.
    ///
    /// It writes the recorded changes. If there are none, it records that the session was seen, if that is due. It
    /// returns the change that the response must make to the cookie.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save), if recorded changes could not be written.
    pub async fn finish(&self) -> Result<CookieChange> {
        self.save().await?;
        // A failed touch was logged, and does not make the response wrong.
        self.touch().await.ok();
        Ok(self.abandon())
    }

    /// Drops the recorded changes. The layer calls it after the handler fails. The effects of calls that act at
    /// once stay, and so does their change of the cookie, which it returns.
    pub fn abandon(&self) -> CookieChange {
        let mut state = self.state();
        state.changes = Changes::default();
        std::mem::take(&mut state.cookie)
    }

    /// Whether [`finish`](Self::finish) has anything to do.
    #[cfg(feature = "http")]
    pub(crate) fn is_pending(&self) -> bool {
        let state = self.state();
        let touch_due = state.stored().is_some_and(|stored| self.touch_due(stored));
        !state.changes.is_empty() || state.cookie != CookieChange::Keep || touch_due
    }

    async fn touch(&self) -> Result<()> {
        let Some(stored) = self.live()? else {
            return Ok(());
        };
        if !self.touch_due(&stored) {
            return Ok(());
        }
        let (lifetime, ip) = self.seen(&stored);
        let settles = stored.settles();
        let touch = Touch { holder: stored.holder(), lifetime, ip, settles };
        self.0.context.store.touch(touch).await?;
        if let Standing::Live(stored) = &mut self.state().standing {
            let stored = Arc::make_mut(stored);
            stored.record.lifetime = lifetime;
            if settles {
                stored.record.secret_hash = stored.hash;
                stored.record.twins.clear();
            }
        }
        Ok(())
    }

    /// Whether a touch is worth a write.
    fn touch_due(&self, stored: &Stored) -> bool {
        let record = &stored.record;
        let is_due =
            || record.lifetime.touch_due(record.now(), self.0.context.rules.touch_interval);
        stored.settles() || (self.is_activity() && is_due())
    }

    /// The times and the client's address that a write records.
    fn seen(&self, stored: &Stored) -> (Lifetime, Option<IpAddr>) {
        let record = &stored.record;
        match self.is_activity() {
            true => (record.lifetime.seen(record.now()), self.0.context.seen_ip(&self.0.client)),
            false => (record.lifetime, None),
        }
    }

    #[cfg(feature = "encryption")]
    pub(super) async fn write_again(&self) -> Result<()> {
        let _turn = self.turn().await?;
        self.write(&mut |data| Ok(Some(data.clone()))).await
    }

    /// Applies `change` to the data and writes the result. If another request has written the row since it was
    /// read, it reads the row again and tries again. Empty data creates no row.
    async fn write(
        &self,
        change: &mut (dyn FnMut(&Data) -> Result<Option<Data>> + Send),
    ) -> Result<()> {
        let mut pause = Duration::from_millis(1);
        let mut turn = None;
        let (turns, begun) = (&self.0.context.turns, Instant::now());
        for _ in 0..TRIES {
            if begun.elapsed() > LONGEST_WAIT {
                break;
            }
            let Some(stored) = self.live()? else {
                return match change(&Data::default())?.filter(|data| !data.is_empty()) {
                    Some(data) => self.create(data, None).await,
                    None => Ok(()),
                };
            };
            let Some(data) = change(&stored.data)? else {
                return Ok(());
            };
            if self.try_save(&stored, data).await? {
                return Ok(());
            }
            if turn.is_none() {
                // Writes of this node that have lost once go one after the other, so that only nodes compete.
                let next = turns.of(stored.record.id);
                match timeout(LONGEST_WAIT, next.wait(STALLS_AFTER)).await {
                    Ok(taken) => turn = Some((taken, next)),
                    Err(_) => break,
                }
            } else {
                // A random pause, because the same requests would collide again at once.
                sleep(pause.mul_f64(rand::random())).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            self.reload(&stored).await?;
            observed::conflict();
        }
        Err(Error::new(ErrorKind::Contention, "other requests kept changing the session"))
    }

    async fn try_save(&self, stored: &Stored, data: Data) -> Result<bool> {
        let (lifetime, ip) = self.seen(stored);
        let save = Save {
            holder: stored.holder(),
            revision: stored.record.revision,
            data: self.sealed(stored.record.id, stored.record.user_id.as_deref(), &data)?,
            lifetime,
            ip,
        };
        let written = self.0.context.store.save(save).await?;
        if written && let Standing::Live(stored) = &mut self.state().standing {
            let stored = Arc::make_mut(stored);
            stored.record.revision = stored.record.next_revision();
            stored.record.lifetime = lifetime;
            stored.data = data;
        }
        Ok(written)
    }

    pub(super) async fn create(&self, data: Data, pending: Option<NewPendingLogIn>) -> Result<()> {
        self.may_begin()?;
        let context = &self.0.context;
        let (id, secret) = (SessionId::generate(), Secret::generate()?);
        let hash = context.hasher.hash(&secret, &context.realm, id, None);
        let new = NewSession {
            id,
            realm: self.0.context.realm.clone(),
            secret_hash: hash,
            data: self.sealed(id, None, &data)?,
            timeouts: self.0.context.rules.anonymous,
            client: self.client()?,
            pending,
        };
        let record = self.0.context.store.create(new).await?.ok_or_else(Error::session_ended)?;
        self.adopt(Stored::read(&self.0.context.sealer, record, hash)?, secret);
        Ok(())
    }

    fn begin_write(&self, take: impl FnOnce(&mut Changes) -> Changes) -> Taken<'_> {
        let mut state = self.state();
        let changes = take(&mut state.changes);
        state.writing = changes.clone();
        Taken { session: self, changes }
    }
}

/// The value of a key after the changes.
fn changed<T: DeserializeOwned>(changes: &Changes, data: &Data, key: &str) -> Result<Option<T>> {
    let value = changes.get(key).unwrap_or_else(|| data.get(key));
    value.map(|value| data::parse(key, value)).transpose()
}

/// Recorded changes that a call is writing. If the write fails, or if its future is dropped, they become recorded
/// changes again.
struct Taken<'a> {
    session: &'a Session,
    changes: Changes,
}

impl Taken<'_> {
    fn written(mut self) {
        self.changes = Changes::default();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.session.state();
        state.writing = Changes::default();
        let mut changes = std::mem::take(&mut self.changes);
        changes.then(std::mem::take(&mut state.changes));
        state.changes = changes;
    }
}
