use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{CookieChange, Session, Standing, Stored, write::TRIES};
use crate::{
    data::Data,
    error::{Error, ErrorKind, Result},
    expiry::{Lifetime, Timeouts},
    policy::Rules,
    store::{self, Began, LogInOutcome, Reauthentication, Renewal, Revocation},
    token::{Secret, SessionId},
    user_id::{UserId, check_user_id},
};

/// A log-in that has not run yet. Await it.
#[derive(Debug)]
#[must_use = "a log-in does nothing until it is awaited"]
pub struct LogIn<'a> {
    session: &'a Session,
    who: Who,
    remember_me: bool,
    discard_data: bool,
    began: Instant,
    after: Option<DateTime<Utc>>,
}

#[derive(Debug)]
enum Who {
    /// The user has authenticated in this request.
    User(String),
    /// The user completes a log-in of several requests. `None`: the beginning of the log-in named the user.
    Pending(Option<String>),
}

impl LogIn<'_> {
    /// Gives the session the policy's timeouts for "remember me", and a cookie that the browser keeps after it
    /// is closed. Default: no.
    ///
    /// The default policy has "remember me": 30 days. A policy can be without it, as [`Policy::aal2`] is. A log-in
    /// with `remember_me(true)` then fails as [`Configuration`](ErrorKind::Configuration), because the user would
    /// stay logged in for a shorter time than the page promised. So show the box only if
    /// [`Sessions::offers_remember_me`](crate::Sessions::offers_remember_me) is true.
    ///
    /// [`Policy::aal2`]: crate::Policy::aal2
    pub fn remember_me(mut self, remember_me: bool) -> Self {
        self.remember_me = remember_me;
        self
    }

    /// Drops the data of the anonymous session, and the recorded changes that are not written yet. Default: the
    /// session keeps the data, such as the visitor's cart.
    pub fn discard_data(mut self) -> Self {
        self.discard_data = true;
        self
    }

    /// Sets the time at which the authentication began. Default: the arrival of the request. On a socket, the
    /// authentication begins later.
    ///
    /// The log-in is refused if the user's sessions were revoked after this time, or if this time is a day or more ago.
    /// For a log-in of several requests, [`begin_log_in`](Session::begin_log_in) stores the time in the database,
    /// and this setting has no effect.
    pub fn authentication_began(mut self, at: Instant) -> Self {
        self.began = at;
        self
    }

    /// Lets the log-in follow this revocation in the same request, and not be refused because of it: "reset the
    /// password, log out everywhere, log in here".
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
    /// Binds a user to the session. Call it after the user has authenticated.
    ///
    /// The session gets a new secret (the old cookie is dead at once), and its time restarts. The call enforces
    /// the policy's limit of sessions per user.
    ///
    /// The session keeps the data of an anonymous session, unless [`LogIn::discard_data`] drops it. It never keeps
    /// the data of another user. If the session has ended meanwhile, or if another request renewed it, the user
    /// gets a new session.
    ///
    /// A log-in that is sent twice, such as by a double click, gives only one session, if both have the same user
    /// and the same cookie and come less than a minute apart. Each response has a valid secret, so the browser is
    /// logged in with the response that it keeps. A minute later, the first request ends the validity of the other
    /// secret.
    ///
    /// # Cost
    ///
    /// Three round trips on Postgres. One or two more if the policy limits the sessions of a user.
    ///
    /// # Errors
    ///
    /// [`LogInRefused`](ErrorKind::LogInRefused) if the user's sessions were revoked since the
    /// authentication began; [`TooManySessions`](ErrorKind::TooManySessions),
    /// [`InvalidUserId`](ErrorKind::InvalidUserId); [`Configuration`](ErrorKind::Configuration) for
    /// "remember me" if the policy is without it; [`CrossSite`](ErrorKind::CrossSite) for a POST of another site
    /// that arrived without the session's cookie. Nothing was changed then.
    ///
    /// Both refusals can also happen at a *second* try, if the first try succeeded and its answer was lost:
    ///
    /// - `LogInRefused`: the user chose "log out everywhere", here or on another device, after the password was
    ///   sent. Ask for the password again.
    /// - `TooManySessions`: the session of the lost answer may count towards the limit. The user has just
    ///   authenticated, so the application can show [`Sessions::of_user`](crate::Sessions::of_user) and offer to
    ///   end one of these sessions with [`Sessions::revoke`](crate::Sessions::revoke).
    ///   [`OnLimit::EndOldest`](crate::OnLimit) never refuses.
    pub fn log_in(&self, user_id: impl UserId) -> LogIn<'_> {
        self.log_in_of(Who::User(user_id.text().into_owned()))
    }

    /// Completes the log-in of several requests that [`begin_log_in`](Self::begin_log_in) began for a user.
    ///
    /// It works as [`log_in`](Self::log_in), with the same options and errors. But its authentication began at
    /// `begin_log_in`.
    ///
    /// # Errors
    ///
    /// [`NoPendingLogIn`](ErrorKind::NoPendingLogIn) if no log-in was begun, if it has lapsed, or if it was begun
    /// without a user; [`Superseded`](ErrorKind::Superseded) and [`SessionEnded`](ErrorKind::SessionEnded) if the
    /// handle has noticed that it lost its session.
    ///
    /// If the session is lost only during the call, the call goes on as every other log-in does: the user gets a
    /// new session, or is refused after a revocation.
    pub fn complete_log_in(&self) -> LogIn<'_> {
        self.log_in_of(Who::Pending(None))
    }

    /// Completes a log-in that [`begin_log_in`](Self::begin_log_in) began without a user, for example when an
    /// OAuth provider has named the user. Otherwise as [`complete_log_in`](Self::complete_log_in).
    ///
    /// # Errors
    ///
    /// Also [`NoPendingLogIn`](ErrorKind::NoPendingLogIn) if the log-in was begun for another user.
    pub fn complete_log_in_as(&self, user_id: impl UserId) -> LogIn<'_> {
        self.log_in_of(Who::Pending(Some(user_id.text().into_owned())))
    }

    fn log_in_of(&self, who: Who) -> LogIn<'_> {
        LogIn {
            session: self,
            who,
            remember_me: false,
            discard_data: false,
            began: self.0.opened,
            after: None,
        }
    }

    /// Records that the session's user has authenticated again. The session gets a new secret, and its time
    /// restarts with the timeouts of its log-in.
    ///
    /// # Errors
    ///
    /// [`NotLoggedIn`](ErrorKind::NotLoggedIn), [`SessionEnded`](ErrorKind::SessionEnded),
    /// [`Superseded`](ErrorKind::Superseded). Nothing was changed then.
    pub async fn reauthenticate(&self) -> Result<()> {
        let _turn = self.turn().await?;
        let (stored, user_id) = self.logged_in()?;
        let now = stored.record.now();
        let (secret, renewal) = self.renewal(&stored)?;
        let new_hash = renewal.new_hash;
        let lifetime = Lifetime::begin(now, timeouts_again(&stored));
        let is_recorded = self.0.context.rules.records_events;
        let to = Reauthentication { renewal, user_id, lifetime, is_recorded };
        match self.0.context.store.reauthenticate(&to).await? {
            Some(record) => {
                self.adopt(Stored::read(&self.0.context.sealer, record, new_hash)?, secret);
                Ok(())
            }
            None => Err(self.why_not(&stored).await),
        }
    }

    /// Succeeds only if the user authenticated at most this long ago. Use it before an action that a
    /// stolen cookie must not allow.
    ///
    /// The call does not query the database. It reads the session as the request loaded it, or last
    /// wrote it. The next call that acts notices later changes to the session.
    ///
    /// # Errors
    ///
    /// [`ReauthenticationRequired`](ErrorKind::ReauthenticationRequired),
    /// [`NotLoggedIn`](ErrorKind::NotLoggedIn); [`SessionEnded`](ErrorKind::SessionEnded) and
    /// [`Superseded`](ErrorKind::Superseded) if the handle has noticed it.
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

    /// Gives the session a new secret. The old cookie is dead at once. Use it when the user's privileges change
    /// without a log-in. A session without a row stays as it is.
    ///
    /// # Errors
    ///
    /// [`SessionEnded`](ErrorKind::SessionEnded), [`Superseded`](ErrorKind::Superseded). Nothing was
    /// changed then.
    pub async fn renew(&self) -> Result<()> {
        let _turn = self.turn().await?;
        let Some(mut stored) = self.live()? else {
            return Ok(());
        };
        let (secret, renewal) = self.renewal(&stored)?;
        if !self.0.context.store.renew(&renewal, stored.record.user_id.as_deref()).await? {
            return Err(self.why_not(&stored).await);
        }
        let fresh = Arc::make_mut(&mut stored);
        (fresh.record.secret_hash, fresh.hash) = (renewal.new_hash, renewal.new_hash);
        fresh.record.twins.clear();
        self.adopt(stored, secret);
        Ok(())
    }

    /// Binds the user to the row, and returns the row. `None` if the store has no such row.
    async fn bind(&self, request: &store::LogIn) -> Result<Option<Arc<Stored>>> {
        match self.0.context.store.log_in(request).await? {
            LogInOutcome::LoggedIn(record, _) => {
                Stored::read(&self.0.context.sealer, *record, request.new_hash).map(Some)
            }
            LogInOutcome::Absent => Ok(None),
            LogInOutcome::Refused => Err(Error::new(
                ErrorKind::LogInRefused,
                "the user's sessions were ended after this authentication began: authenticate again",
            )),
            LogInOutcome::TooManySessions => Err(Error::new(
                ErrorKind::TooManySessions,
                "the user has as many sessions as are allowed",
            )),
        }
    }

    fn renewal(&self, stored: &Stored) -> Result<(Secret, Renewal)> {
        let secret = Secret::generate()?;
        let renewal = Renewal {
            holder: stored.holder(),
            new_hash: self.hash_for(&secret, &stored.record),
            at: stored.record.now(),
            client: self.client()?,
            pending: None,
        };
        Ok((secret, renewal))
    }
}

/// The timeouts that the session got at its log-in. They come from the row, so that a later policy does not
/// change them.
fn timeouts_again(stored: &Stored) -> Timeouts {
    let (record, lifetime) = (&stored.record, &stored.record.lifetime);
    let begun = record.authenticated_at.unwrap_or(record.created_at);
    let absolute = (lifetime.absolute_expires_at - begun).num_seconds();
    Timeouts::new(lifetime.idle_timeout, u32::try_from(absolute).unwrap_or(lifetime.idle_timeout))
}

impl LogIn<'_> {
    async fn run(self) -> Result<()> {
        let session = self.session;
        let context = &session.0.context;
        let timeouts = self.timeouts(&context.rules)?;
        let _turn = session.turn().await?;
        let (user_id, began) = self.user()?;
        check_user_id(&user_id)?;
        let secret = Secret::generate()?;

        let mut before = match &session.state().standing {
            Standing::Live(stored) | Standing::Superseded(stored) => Some(stored.clone()),
            Standing::Anonymous | Standing::Ended | Standing::Unreadable(_) => None,
        };
        if before.is_none() {
            session.may_begin()?;
        }
        let is_others = |stored: &Arc<Stored>| {
            stored.record.user_id.as_ref().is_some_and(|other| *other != user_id)
        };
        let drops_data = self.discard_data || before.as_ref().is_some_and(is_others);
        let replaces_user = before
            .as_ref()
            .filter(|stored| is_others(stored))
            .and_then(|stored| stored.record.user_id.clone());
        let after = match began {
            Began::Here(instant) => context.cutoff_before(&user_id, instant),
            Began::At(_) => None,
        };
        let id = before.as_ref().map_or_else(SessionId::generate, |stored| stored.record.id);
        let hash =
            |id, user_id: &str| context.hasher.hash(&secret, &context.realm, id, Some(user_id));
        let mut request = store::LogIn {
            id,
            realm: context.realm.clone(),
            old_hash: before.as_ref().map(|stored| stored.hash),
            new_hash: hash(id, &user_id),
            user_id,
            data: None,
            of_revision: None,
            timeouts,
            remembered: self.remember_me,
            client: session.client()?,
            began,
            after: self.after.max(after),
            limit: context.rules.sessions_per_user,
            replaces_user,
            is_recorded: context.rules.records_events,
        };
        let was_superseded = session.is_superseded();
        let none = Data::default();
        let mut tries = 0;
        let mut bound = loop {
            let seal = |data| session.sealed(request.id, Some(&request.user_id), data);
            (request.data, request.of_revision) = match &before {
                _ if drops_data => (Some(seal(&none)?), None),
                None => (Some(seal(&none)?), None),
                // The data is bound to the session's user, who changes now.
                Some(stored) if context.sealer.binds_user() && !was_superseded => {
                    (Some(seal(&stored.data)?), Some(stored.record.revision))
                }
                Some(_) => (None, None),
            };
            let bound = session.bind(&request).await;
            let (Ok(None), Some(stored)) = (&bound, &before) else { break bound };
            match session.reload(stored).await {
                // Another request has written to the session since. What it wrote must not be lost.
                Ok(fresh) if request.of_revision.is_some() && tries < TRIES => {
                    before = Some(fresh);
                    tries += 1;
                }
                Ok(_) if request.of_revision.is_some() => {
                    let message = "other requests kept changing the session";
                    return Err(Error::new(ErrorKind::Contention, message));
                }
                // The row had another secret for a moment, such as that of a transaction that was rolled back.
                Ok(_) => break Err(Error::superseded()),
                Err(error) => break Err(error),
            }
        };
        if let (Err(error), Some(stored)) = (&bound, before) {
            // The session has ended, cannot be read, or has a newer secret, which this request's browser may not
            // have. The user gets a new session. If the old session still lives, the new session gets the data
            // that this request was allowed to see.
            let keeps_data = match error.kind() {
                ErrorKind::Superseded => !drops_data && !was_superseded,
                ErrorKind::SessionEnded | ErrorKind::WrongType => false,
                ErrorKind::LogInRefused | ErrorKind::TooManySessions => {
                    // Whatever caused the refusal may have ended this session too. A store may not have looked.
                    session.reload(&stored).await.ok();
                    return Err(error.clone());
                }
                _ => return Err(error.clone()),
            };
            request.id = SessionId::generate();
            request.new_hash = hash(request.id, &request.user_id);
            request.old_hash = None;
            request.replaces_user = None;
            let data = if keeps_data { &stored.data } else { &none };
            request.data = Some(session.sealed(request.id, Some(&request.user_id), data)?);
            request.of_revision = None;
            bound = session.bind(&request).await;
        }
        // The store never reports a new id as absent.
        let stored = bound?.ok_or_else(Error::session_ended)?;
        if drops_data {
            session.state().leave(CookieChange::Keep);
        }
        session.adopt(stored, secret);
        Ok(())
    }

    /// The user, and the beginning of the authentication.
    fn user(&self) -> Result<(String, Began)> {
        let named = match &self.who {
            Who::User(user_id) => return Ok((user_id.clone(), Began::Here(self.began))),
            Who::Pending(named) => named.as_ref(),
        };
        let stored = self.session.live()?;
        let Some(pending) = stored.as_ref().and_then(|stored| stored.record.pending()) else {
            let message = "no log-in is under way: none was begun here, or it has lapsed";
            return Err(Error::new(ErrorKind::NoPendingLogIn, message));
        };
        let user_id = match (&pending.user_id, named) {
            (Some(begun), Some(named)) if begun != named => {
                let message = "the log-in that was begun is another user's";
                return Err(Error::new(ErrorKind::NoPendingLogIn, message));
            }
            (Some(user_id), _) | (None, Some(user_id)) => user_id.clone(),
            (None, None) => {
                let message = "the log-in was begun for no user: use complete_log_in_as";
                return Err(Error::new(ErrorKind::NoPendingLogIn, message));
            }
        };
        Ok((user_id, Began::At(pending.began_at)))
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
}
