use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{CookieChange, Session, Standing, Stored};
use crate::{
    context::check_user_id,
    error::{Error, ErrorKind, Result},
    expiry::{Lifetime, Timeouts},
    policy::Rules,
    store::{self, LogInOutcome, Reauthentication, Renewal, Revocation},
    token::{Secret, SessionId},
};

/// A log-in on its way. Await it.
#[derive(Debug)]
#[must_use = "a log-in does nothing until it is awaited"]
pub struct LogIn<'a> {
    session: &'a Session,
    user_id: String,
    remember_me: bool,
    discard_data: bool,
    began: Instant,
    after: Option<DateTime<Utc>>,
}

impl LogIn<'_> {
    /// With the policy's timeouts for "remember me", and a cookie that outlives the browser's
    /// window.
    pub fn remember_me(mut self, remember_me: bool) -> Self {
        self.remember_me = remember_me;
        self
    }

    /// Drops what the anonymous session held, and what was recorded and not written yet. Default:
    /// the visitor's cart comes along.
    pub fn discard_data(mut self) -> Self {
        self.discard_data = true;
        self
    }

    /// When the authentication began, where that is not when the request arrived: earlier if it
    /// took several requests (a password, then a code), later on a socket. A revocation of the
    /// user's sessions since then refuses the log-in; so does an authentication that began a day
    /// ago.
    pub fn authentication_began(mut self, at: Instant) -> Self {
        self.began = at;
        self
    }

    /// The log-in follows this revocation in the same request, and is not refused for it: "reset
    /// the password, log out everywhere, log in here".
    pub fn after(mut self, revocation: &Revocation) -> Self {
        self.after = revocation.cutoff;
        self
    }
}

impl<'a> IntoFuture for LogIn<'a> {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl Session {
    /// Binds a user to the session, who was just authenticated: gives it a new secret (the old
    /// cookie is dead at once), restarts its time, and enforces the policy's limit of sessions per
    /// user.
    ///
    /// The anonymous session's data comes along unless [`LogIn::discard_data`] says otherwise;
    /// another user's never does. If the session has ended meanwhile, or another request renewed
    /// it, the user gets a new one.
    ///
    /// # Errors
    ///
    /// [`LogInRefused`](ErrorKind::LogInRefused) if the user's sessions were revoked since the
    /// authentication began; [`TooManySessions`](ErrorKind::TooManySessions),
    /// [`InvalidUserId`](ErrorKind::InvalidUserId); [`Configuration`](ErrorKind::Configuration) for
    /// "remember me" where the policy has none. Nothing was changed then.
    pub fn log_in(&self, user_id: impl Into<String>) -> LogIn<'_> {
        LogIn {
            session: self,
            user_id: user_id.into(),
            remember_me: false,
            discard_data: false,
            began: self.0.opened,
            after: None,
        }
    }

    /// Records that the session's user has authenticated again: gives it a new secret and restarts
    /// its time.
    ///
    /// # Errors
    ///
    /// [`NotLoggedIn`](ErrorKind::NotLoggedIn), [`SessionEnded`](ErrorKind::SessionEnded);
    /// [`Superseded`](ErrorKind::Superseded) if another request renewed the session meanwhile
    /// without authenticating.
    pub async fn reauthenticate(&self) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        let (stored, user_id) = self.logged_in()?;
        let now = stored.record.now();
        let timeouts = self.timeouts_again(&stored);
        let secret = Secret::generate()?;
        let to = Reauthentication {
            renewal: self.renewal(&stored, &secret),
            user_id,
            lifetime: Lifetime::begin(now, timeouts),
        };
        if let Some(record) = self.0.context.store.reauthenticate(&to).await? {
            self.adopt(Stored::read(record)?, secret, self.is_remembered(&stored));
            return Ok(());
        }
        let fresh = self.reload(&stored).await?;
        if fresh.record.authenticated_at > stored.record.authenticated_at {
            return Ok(());
        }
        Err(Error::superseded())
    }

    /// Succeeds only if the user authenticated at most this long ago: for what a stolen cookie must
    /// not do.
    ///
    /// # Errors
    ///
    /// [`ReauthenticationRequired`](ErrorKind::ReauthenticationRequired),
    /// [`NotLoggedIn`](ErrorKind::NotLoggedIn).
    pub fn require_recent(&self, within: Duration) -> Result<()> {
        let (stored, _) = self.logged_in()?;
        let within = TimeDelta::from_std(within).unwrap_or(TimeDelta::MAX);
        match stored.record.authenticated_at {
            Some(at) if stored.record.now() - at <= within => Ok(()),
            _ => Err(Error::new(
                ErrorKind::ReauthenticationRequired,
                "the user has to authenticate again before this",
            )),
        }
    }

    /// Gives the session a new secret; the old cookie is dead at once. For changes of privilege
    /// that are not a log-in. Does nothing for a session without a row.
    ///
    /// Where another request renewed it first, that was it: the browser has the other cookie.
    ///
    /// # Errors
    ///
    /// [`SessionEnded`](ErrorKind::SessionEnded).
    pub async fn renew(&self) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        let Some(stored) = self.live()? else {
            return Ok(());
        };
        let secret = Secret::generate()?;
        let renewal = self.renewal(&stored, &secret);
        if self.0.context.store.renew(&renewal, stored.record.user_id.as_deref()).await? {
            let mut stored = stored;
            Arc::make_mut(&mut stored).record.secret_hash = renewal.new_hash;
            let is_remembered = self.is_remembered(&stored);
            self.adopt(stored, secret, is_remembered);
            return Ok(());
        }
        self.reload(&stored).await.map(drop)
    }

    fn renewal(&self, stored: &Stored, secret: &Secret) -> Renewal {
        Renewal {
            id: stored.record.id,
            old_hash: stored.record.secret_hash,
            new_hash: secret.hash(),
            client: self.0.client.clone(),
        }
    }

    /// The timeouts that its log-in gave the session, by today's policy.
    fn timeouts_again(&self, stored: &Stored) -> Timeouts {
        let rules = &self.0.context.rules;
        match rules.remember_me {
            Some(remembered) if rules.is_remembered(stored.record.lifetime.idle_timeout) => {
                remembered
            }
            _ => rules.user,
        }
    }
}

impl LogIn<'_> {
    async fn run(self) -> Result<()> {
        let session = self.session;
        check_user_id(&self.user_id)?;
        let timeouts = self.timeouts(&session.0.context.rules)?;
        let _turn = session.0.turn.lock().await;
        let secret = Secret::generate()?;

        let before = session.state().stored().cloned();
        let is_others = before.as_ref().is_some_and(|stored| self.is_others(stored));
        let drops_data = self.discard_data || is_others;
        let mut request = store::LogIn {
            id: before.as_ref().map_or_else(SessionId::generate, |stored| stored.record.id),
            old_hash: before.as_ref().map(|stored| stored.record.secret_hash),
            new_hash: secret.hash(),
            user_id: self.user_id.clone(),
            data: drops_data.then(|| "{}".to_owned()),
            timeouts,
            client: session.0.client.clone(),
            began: self.began,
            after: self.after.max(session.0.context.cutoff_before(&self.user_id, self.began)),
            limit: session.0.context.rules.sessions_per_user,
        };
        let mut outcome = session.0.context.store.log_in(&request).await?;
        if let (LogInOutcome::Absent, Some(stored)) = (&outcome, before) {
            // It has ended, or has another secret by now, which this request's browser may never
            // have had. The user gets a session of their own, with what this request was allowed to
            // see if the other one still lives.
            let has_ended = match session.reload(&stored).await {
                Ok(_) => false,
                Err(error) if error.kind() == ErrorKind::Superseded => false,
                Err(error) if error.kind() == ErrorKind::SessionEnded => true,
                Err(error) => return Err(error),
            };
            request.data = (!drops_data && !has_ended).then(|| stored.data.encode());
            request.id = SessionId::generate();
            request.old_hash = None;
            outcome = session.0.context.store.log_in(&request).await?;
        }
        match outcome {
            LogInOutcome::LoggedIn(record, _) => {
                let stored = Stored::read(*record)?;
                if drops_data {
                    session.state().switch_to(Standing::Anonymous, CookieChange::Keep);
                }
                session.adopt(stored, secret, self.remember_me);
                Ok(())
            }
            LogInOutcome::Refused => Err(Error::new(
                ErrorKind::LogInRefused,
                "the user's sessions were ended after this authentication began: authenticate again",
            )),
            LogInOutcome::TooManySessions => Err(Error::new(
                ErrorKind::TooManySessions,
                "the user has as many sessions as are allowed",
            )),
            // An insert under an id of its own.
            LogInOutcome::Absent => Err(Error::session_ended()),
        }
    }

    fn timeouts(&self, rules: &Rules) -> Result<Timeouts> {
        if !self.remember_me {
            return Ok(rules.user);
        }
        rules.remember_me.ok_or_else(|| {
            Error::new(
                ErrorKind::Configuration,
                "the policy has no \"remember me\": set Policy::remember_me",
            )
        })
    }

    fn is_others(&self, stored: &Stored) -> bool {
        stored.record.user_id.as_ref().is_some_and(|user_id| *user_id != self.user_id)
    }
}
