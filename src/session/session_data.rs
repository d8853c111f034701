use std::{sync::Arc, time::Instant};

use serde::{Serialize, de::DeserializeOwned};

use super::{Presented, Session, Standing, Stored};
use crate::{
    client::Client,
    context::Context,
    error::{Error, ErrorKind, Result},
    store::Record,
    token::SessionId,
};

/// The data of a session, for jobs and admin pages: [`Sessions::data`](crate::Sessions::data).
///
/// It reads and writes values and can do nothing else: no log-in, no log-out, no new secret. Reads never query
/// the database: they show the session as it was last read or written here. Each write acts at once. It merges
/// with concurrent requests of the session, and does not prolong the session. If the session gets a new secret
/// meanwhile, the write goes on.
///
/// ```no_run
/// # async fn example(sessions: sessile::Sessions, id: sessile::SessionId) -> Result<(), sessile::Error> {
/// if let Some(mut data) = sessions.data(id).await? {
///     let cart: Option<Vec<String>> = data.get("cart")?;
///     data.set("notice", "Your order has been sent").await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SessionData {
    session: Session,
    id: SessionId,
}

impl SessionData {
    pub(crate) async fn open(context: Arc<Context>, record: Record) -> Result<Self> {
        let session =
            Session::open(context, &Presented::default(), Client::new(), Instant::now()).await?;
        session.set_activity(false);
        let data = Self { session, id: record.id };
        data.hold(record)?;
        Ok(data)
    }

    /// Takes the row with its present secret, because no browser is behind this handle.
    fn hold(&self, record: Record) -> Result<()> {
        let hash = record.secret_hash;
        self.session.state().standing =
            Standing::Live(Stored::read(&self.session.0.context.sealer, record, hash)?);
        Ok(())
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The id of the session's user, as text. `None` while the session is anonymous.
    pub fn user_id(&self) -> Option<String> {
        self.session.user_id()
    }

    /// The value of a key. As [`Session::get`].
    ///
    /// # Errors
    ///
    /// [`WrongType`](ErrorKind::WrongType) if the value is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.session.get(key)
    }

    /// Whether the key has a value.
    pub fn contains(&self, key: &str) -> bool {
        self.session.contains(key)
    }

    /// The keys that have a value, in alphabetical order.
    pub fn keys(&self) -> Vec<String> {
        self.session.keys()
    }

    /// The whole data as one value. As [`Session::data`].
    ///
    /// # Errors
    ///
    /// [`WrongType`](ErrorKind::WrongType) if the data is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        self.session.data()
    }

    /// Sets the value of a key. The value is durable when the call returns.
    ///
    /// # Errors
    ///
    /// As [`Session::insert`] and [`update`](Self::update).
    pub async fn set<T: Serialize>(&mut self, key: &str, value: T) -> Result<()> {
        self.session.insert(key, value)?;
        self.save().await
    }

    /// Removes a key. Returns whether the key had a value, as far as this handle had read it.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub async fn remove(&mut self, key: &str) -> Result<bool> {
        let had = self.session.remove(key);
        self.save().await?;
        Ok(had)
    }

    /// Changes the value of a key with a function, atomically. As [`Session::update`].
    ///
    /// # Errors
    ///
    /// [`SessionEnded`](ErrorKind::SessionEnded) if the session has ended, or if another user has logged in to
    /// it; [`InvalidData`](ErrorKind::InvalidData), [`WrongType`](ErrorKind::WrongType),
    /// [`Contention`](ErrorKind::Contention). Nothing was written then.
    pub async fn update<T, R>(
        &mut self,
        key: &str,
        mut change: impl FnMut(&mut T) -> R + Send,
    ) -> Result<R>
    where
        T: Serialize + DeserializeOwned + Default,
        R: Send,
    {
        let user_id = self.user_id();
        loop {
            match self.session.update(key, &mut change).await {
                Err(error) if error.kind() == ErrorKind::Superseded => {
                    self.read_again(user_id.as_deref()).await?;
                }
                result => return result,
            }
        }
    }

    /// Writes the data as it is, so that it is sealed again.
    #[cfg(feature = "encryption")]
    pub(crate) async fn write_again(&self) -> Result<()> {
        let user_id = self.user_id();
        loop {
            match self.session.write_again().await {
                Err(error) if error.kind() == ErrorKind::Superseded => {
                    self.read_again(user_id.as_deref()).await?;
                }
                result => return result,
            }
        }
    }

    async fn save(&self) -> Result<()> {
        let user_id = self.user_id();
        // The next call must not write a change that a failed or dropped call has recorded.
        let _recorded = Recorded(&self.session);
        loop {
            match self.session.save().await {
                Err(error) if error.kind() == ErrorKind::Superseded => {
                    self.read_again(user_id.as_deref()).await?;
                }
                result => return result,
            }
        }
    }

    /// The session has a new secret: takes the row as it is now, if it still belongs to the same user.
    async fn read_again(&self, user_id: Option<&str>) -> Result<()> {
        let record = self.session.0.context.store.load_now(self.id).await?;
        let is_same_user =
            |record: &Record| user_id.is_none() || record.user_id.as_deref() == user_id;
        self.hold(record.filter(is_same_user).ok_or_else(Error::session_ended)?)
    }
}

struct Recorded<'a>(&'a Session);

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
