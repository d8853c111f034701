use std::{pin::Pin, sync::Arc};

use super::Sessions;
use crate::{
    context::Context,
    error::{Error, ErrorKind, Result},
    store::{self, Cause, End, Revocation, Scope},
    token::SessionId,
    user_id::{UserId, checked},
};

/// The longest reason and the longest actor, in bytes.
const LONGEST: usize = 500;

/// Sessions that the application ends: see [`Sessions::revoke`] and [`Sessions::revoke_user`]. Nothing ends before it
/// is awaited. For one session, the result is whether it was live, otherwise a [`Revocation`].
///
/// ```
/// # async fn example(sessions: sessile::Sessions) -> Result<(), sessile::Error> {
/// sessions.revoke_user("ada").reason("the password was changed").actor("support:grace").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing ends before it is awaited"]
pub struct Revoke<Of = Scope> {
    context: Arc<Context>,
    /// An invalid user id is reported when it is awaited, as every other error.
    of: Result<Of>,
    cause: Cause,
}

impl Sessions {
    /// Ends one session, at once and on every node. Returns whether it was live.
    pub fn revoke(&self, id: SessionId) -> Revoke<SessionId> {
        Revoke::new(self, Ok(id))
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
        Revoke::new(self, checked(&user_id).map(Scope::User))
    }

    /// Ends all sessions of a user except one, as [`revoke_user`](Self::revoke_user) does.
    pub fn revoke_others(&self, user_id: impl UserId, keep: SessionId) -> Revoke {
        let others_of = |user_id| Scope::OthersOf(user_id, keep);
        Revoke::new(self, checked(&user_id).map(others_of))
    }

    /// Ends every session of this realm, anonymous ones too, and refuses every log-in that is in
    /// flight.
    pub fn revoke_all(&self) -> Revoke {
        Revoke::new(self, Ok(Scope::All))
    }
}

impl<Of> Revoke<Of> {
    fn new(sessions: &Sessions, of: Result<Of>) -> Self {
        Self { context: sessions.0.clone(), of, cause: Cause::application() }
    }

    /// Why, in words, for the [events](crate::Policy::record_events). At most 500 bytes, without control characters;
    /// anything else fails as [`InvalidData`](ErrorKind::InvalidData), and nothing is done.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.cause.reason = Some(reason.into());
        self
    }

    /// Who does it, for the events, with the same limits. Default: `application`.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.cause.actor = actor.into();
        self
    }

    fn check(&self) -> Result<()> {
        let reason = self.cause.reason.as_deref().unwrap_or_default();
        for (name, text) in [("reason", reason), ("actor", &self.cause.actor)] {
            if text.len() > LONGEST || text.contains(char::is_control) {
                let message = format!(
                    "the {name} of a revocation has at most {LONGEST} bytes and no control characters"
                );
                return Err(Error::new(ErrorKind::InvalidData, message));
            }
        }
        Ok(())
    }

    /// The cause as the log of events gets it, and its words for the application's log.
    fn cause(&self) -> (Option<Cause>, &str) {
        let recorded = self.context.rules.records_events.then(|| self.cause.clone());
        (recorded, self.cause.reason.as_deref().unwrap_or("revoked"))
    }
}

impl Revoke<SessionId> {
    async fn run(self) -> Result<bool> {
        self.check()?;
        let (cause, reason) = self.cause();
        let (id, realm) = (self.of.clone()?, self.context.realm.clone());
        let end = End { id, realm, user_id: None, by: None, cause };
        self.context.store.end(end, reason).await
    }
}

impl Revoke {
    async fn run(self) -> Result<Revocation> {
        self.check()?;
        let (cause, reason) = self.cause();
        let (scope, realm) = (self.of.clone()?, self.context.realm.clone());
        let revoke = store::Revoke { realm, scope, by: None, cause };
        // The store returns `None` only for a holder that has lost its session, and here is no holder.
        Ok(self.context.revoke(&revoke, reason).await?.unwrap_or_default())
    }
}

impl IntoFuture for Revoke<SessionId> {
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
