use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
};

use chrono::SubsecRound;

use super::{Session, Standing};
use crate::{
    error::{Error, Result},
    expiry::seconds,
    store::{NewPendingLogIn, PendingLogIn, Renewal},
    token::Secret,
    user_id::{UserId, check_user_id},
};

/// The beginning of a log-in of several requests, which has not run yet. Await it.
#[derive(Debug)]
#[must_use = "a log-in is not begun until this is awaited"]
pub struct BeginLogIn<'a> {
    session: &'a Session,
    user_id: Option<String>,
}

impl BeginLogIn<'_> {
    /// Names the user, if the user is known: the password was right, and the next page asks for the code.
    /// [`complete_log_in`](Session::complete_log_in) then logs in only this user.
    pub fn user(mut self, user_id: impl UserId) -> Self {
        self.user_id = Some(user_id.text().into_owned());
        self
    }
}

impl<'a> IntoFuture for BeginLogIn<'a> {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl Session {
    /// Begins a log-in that takes several requests: a password and then a code, or the way to an OAuth provider
    /// and back.
    ///
    /// The call creates the session if there is none, gives the session a new secret (the old cookie is dead at
    /// once), and records the database's time.
    ///
    /// The pending log-in grants nothing. The session stays as it was until
    /// [`complete_log_in`](Self::complete_log_in), which is refused if the user's sessions were revoked in between.
    /// The pending log-in lapses after the policy's
    /// [`pending_log_in_timeout`](crate::Policy::pending_log_in_timeout). It survives a restart, other nodes can
    /// complete it, and it belongs to the browser that has the cookie. The next log-in of the session ends it, also
    /// the log-in of another user. A second `begin_log_in` replaces it.
    ///
    /// ```no_run
    /// # async fn example(session: sessile::Session, is_right: bool) -> Result<(), sessile::Error> {
    /// // The password was right:
    /// session.begin_log_in().user("ada").await?;
    /// // In a later request, when the code that was sent to ada is right:
    /// # let _ = is_right;
    /// if let Some(pending) = session.pending_log_in() {
    ///     // … check the code against pending.user_id, then:
    ///     session.complete_log_in().await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # A link that is opened elsewhere
    ///
    /// A user may open a link in a mail ("magic link") in another browser, which has no cookie and so no pending
    /// log-in. Put a token of the application into the link, valid once and for some minutes, and call
    /// [`log_in`](Self::log_in) in the browser that opens the link: that browser has authenticated. Before that,
    /// ask the user to confirm, because mail programs and virus scanners open links too.
    ///
    /// # Cost
    ///
    /// One statement.
    ///
    /// # Errors
    ///
    /// [`SessionEnded`](crate::ErrorKind::SessionEnded); [`Superseded`](crate::ErrorKind::Superseded), unless the
    /// browser sent the same beginning twice and the newer secret comes from the other request;
    /// [`InvalidUserId`](crate::ErrorKind::InvalidUserId). Nothing was changed then.
    pub fn begin_log_in(&self) -> BeginLogIn<'_> {
        BeginLogIn { session: self, user_id: None }
    }

    /// The log-in of several requests that this browser has begun and can complete, as it was read from the row.
    /// `None` if there is none, or if it has lapsed.
    pub fn pending_log_in(&self) -> Option<PendingLogIn> {
        self.state().stored().and_then(|stored| stored.record.pending().cloned())
    }
}

impl BeginLogIn<'_> {
    async fn run(self) -> Result<()> {
        let session = self.session;
        if let Some(user_id) = &self.user_id {
            check_user_id(user_id)?;
        }
        let _turn = session.turn().await?;
        let stored = match &session.state().standing {
            Standing::Anonymous | Standing::Unreadable(_) => None,
            Standing::Ended => return Err(Error::session_ended()),
            Standing::Live(stored) | Standing::Superseded(stored) => Some(stored.clone()),
        };
        let lapses_after = session.0.context.rules.pending_log_in;
        let Some(stored) = stored else {
            let pending = NewPendingLogIn { user_id: self.user_id, lapses_after };
            return session.create(crate::data::Data::default(), Some(pending)).await;
        };
        // To the millisecond, because not every database stores more.
        let (secret, began_at) = (Secret::generate()?, stored.record.now().trunc_subsecs(3));
        let pending = PendingLogIn {
            user_id: self.user_id,
            began_at,
            lapses_at: began_at + seconds(lapses_after),
        };
        let renewal = Renewal {
            holder: stored.holder(),
            new_hash: session.hash_for(&secret, &stored.record),
            at: began_at,
            client: session.client()?,
            pending: Some(pending),
        };
        if !session.0.context.store.renew(&renewal, None).await? {
            return Err(session.why_not(&stored).await);
        }
        let mut begun = Arc::unwrap_or_clone(stored);
        begun.hash = renewal.new_hash;
        if session.is_superseded() {
            // The browser sent the same beginning twice. This handle has not read the session's data yet.
            session.adopt(session.reload(&begun).await?, secret);
            return Ok(());
        }
        begun.record.secret_hash = renewal.new_hash;
        begun.record.twins.clear();
        begun.record.pending = renewal.pending;
        session.adopt(Arc::new(begun), secret);
        Ok(())
    }
}
