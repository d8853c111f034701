use std::{marker::PhantomData, pin::Pin};

use super::Sessions;
use crate::{
    error::{Error, ErrorKind, Result},
    store::{Cause, End, Revocation, Scope},
    token::SessionId,
    user_id::{UserId, checked},
};

/// The longest reason and the longest actor, in bytes.
const LONGEST: usize = 500;

/// Sessions that the application ends: see [`Sessions::revoke`] and [`Sessions::revoke_user`]. Nothing ends before it
/// is awaited. The result is whether the session was live, or a [`Revocation`].
///
/// ```
/// # async fn example(sessions: sessile::Sessions) -> Result<(), sessile::Error> {
/// sessions.revoke_user("ada").reason("the password was changed").actor("support:grace").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing ends before it is awaited"]
pub struct Revoke<T = Revocation> {
    sessions: Sessions,
    /// An invalid user id is reported when it is awaited, as every other error.
    of: Result<Of>,
    actor: String,
    reason: Option<String>,
    result: PhantomData<fn() -> T>,
}

#[derive(Clone, Debug)]
enum Of {
    One(SessionId),
    Scope(Scope),
}

impl Sessions {
    /// Ends one session, at once and on every node. Returns whether it was live.
    pub fn revoke(&self, id: SessionId) -> Revoke<bool> {
        Revoke::new(self, Ok(Of::One(id)))
    }

    /// Ends all sessions of a user. When the call returns, no request gets into any of them. The user's log-ins
    /// whose authentication began before the call are refused.
    ///
    /// To end them in a transaction with other changes, see
    /// [`store::postgres`](crate::store::postgres::revoke_user) and
    /// [`store::sqlite`](crate::store::sqlite::revoke_user).
    ///
    /// # Errors
    ///
    /// [`InvalidUserId`](ErrorKind::InvalidUserId). Nothing was done then.
    pub fn revoke_user(&self, user_id: impl UserId) -> Revoke {
        Revoke::new(self, checked(&user_id).map(|user_id| Of::Scope(Scope::User(user_id))))
    }

    /// Ends all sessions of a user except one, as [`revoke_user`](Self::revoke_user) does.
    pub fn revoke_others(&self, user_id: impl UserId, keep: SessionId) -> Revoke {
        let scope = |user_id| Of::Scope(Scope::OthersOf(user_id, keep));
        Revoke::new(self, checked(&user_id).map(scope))
    }

    /// Ends every session of this realm, anonymous ones too, and refuses every log-in that is in
    /// flight.
    pub fn revoke_all(&self) -> Revoke {
        Revoke::new(self, Ok(Of::Scope(Scope::All)))
    }
}

impl<T> Revoke<T> {
    fn new(sessions: &Sessions, of: Result<Of>) -> Self {
        Self {
            sessions: sessions.clone(),
            of,
            actor: "application".to_owned(),
            reason: None,
            result: PhantomData,
        }
    }

    /// Why, in words, for the [events](crate::Policy::record_events). At most 500 bytes, without control characters;
    /// anything else fails as [`InvalidData`](ErrorKind::InvalidData), and nothing is done.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Who does it, for the events, with the same limits. Default: `application`.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    fn checked(self) -> Result<(Sessions, Of, Cause)> {
        for (name, text) in [("reason", self.reason.as_deref()), ("actor", Some(&*self.actor))] {
            let text = text.unwrap_or_default();
            if text.len() > LONGEST || text.contains(char::is_control) {
                let message = format!(
                    "the {name} of a revocation has at most {LONGEST} bytes and no control characters"
                );
                return Err(Error::new(ErrorKind::InvalidData, message));
            }
        }
        Ok((self.sessions, self.of?, Cause { actor: self.actor, reason: self.reason }))
    }
}

impl Revoke<bool> {
    async fn run(self) -> Result<bool> {
        let (sessions, of, cause) = self.checked()?;
        let Of::One(id) = of else { return Ok(false) };
        let context = &sessions.0;
        let reason = cause.reason.clone();
        let cause = context.rules.records_events.then_some(cause);
        let end = End { id, realm: context.realm.clone(), user_id: None, by: None, cause };
        context.store.end(end, reason.as_deref().unwrap_or("revoked")).await
    }
}

impl Revoke {
    async fn run(self) -> Result<Revocation> {
        let (sessions, of, cause) = self.checked()?;
        let Of::Scope(scope) = of else { return Ok(Revocation::default()) };
        let context = &sessions.0;
        let reason = cause.reason.clone();
        let cause = context.rules.records_events.then_some(cause);
        let revoke = crate::store::Revoke { realm: context.realm.clone(), scope, by: None, cause };
        // The store returns `None` only for a holder that has lost its session, and here is no holder.
        let revocation = context.revoke(&revoke, reason.as_deref().unwrap_or("revoked")).await?;
        Ok(revocation.unwrap_or_default())
    }
}

impl IntoFuture for Revoke<bool> {
    type Output = Result<bool>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl IntoFuture for Revoke {
    type Output = Result<Revocation>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
