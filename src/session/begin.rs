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

/// The beginning of a log-in of several requests. Await it.
#[derive(Debug)]
#[must_use = "a log-in is not begun until this is awaited"]
pub struct BeginLogIn<'a> {
    session: &'a Session,
    user_id: Option<String>,
}

impl BeginLogIn<'_> {
    /// Who is about to log in, where that is known: the password was right, the code is asked for
    /// next. [`complete_log_in`](Session::complete_log_in) then logs in nobody else.
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
    /// Begins a log-in that takes several requests: a password and then a code, or the way to an
    /// OAuth provider and back. Makes the session if there is none, gives it a new secret (the old
    /// cookie is dead at once), and records the database's time.
    ///
    /// It grants nothing: the session stays what it was until
    /// [`complete_log_in`](Self::complete_log_in), which is refused if the user's sessions were
    /// revoked in between. It lapses after the policy's
    /// [`pending_log_in_timeout`](crate::Policy::pending_log_in_timeout), survives a restart, goes
    /// on at another node, and belongs to the browser that has the cookie. The next log-in of the
    /// session ends it, whoever's it is; beginning once more begins anew.
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
    /// A link in a mail ("magic link") may be opened in another browser, which has no cookie and so
    /// no pending log-in. Let the link carry a token of the application's own, good once and for
    /// some minutes, and let the browser in which it is opened [`log_in`](Self::log_in): it is the
    /// one that has authenticated. Ask there whether the person wants that, since mail programs and
    /// virus scanners open links too.
    ///
    /// # Cost
    ///
    /// One statement.
    ///
    /// # Errors
    ///
    /// [`SessionEnded`](crate::ErrorKind::SessionEnded) and
    /// [`Superseded`](crate::ErrorKind::Superseded), unless the newer secret is of this same log-in,
    /// sent twice; [`InvalidUserId`](crate::ErrorKind::InvalidUserId). Nothing was changed then.
    pub fn begin_log_in(&self) -> BeginLogIn<'_> {
        BeginLogIn { session: self, user_id: None }
    }

    /// The log-in of several requests that this browser has begun and may complete now, as it was
    /// read. `None` if there is none, or if it has lapsed.
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
        // As exact as every database keeps it.
        let (secret, began_at) = (Secret::generate()?, stored.record.now().trunc_subsecs(3));
        let pending = PendingLogIn {
            user_id: self.user_id,
            began_at,
            lapses_at: began_at + seconds(lapses_after),
        };
        let renewal = Renewal {
            holder: stored.holder(),
            new_hash: secret.hash(),
            at: began_at,
            client: session.0.client.clone(),
            pending: Some(pending),
        };
        if !session.0.context.store.renew(&renewal, None).await? {
            return Err(session.why_not(&stored).await);
        }
        let mut begun = Arc::unwrap_or_clone(stored);
        begun.hash = renewal.new_hash;
        if session.is_superseded() {
            // The same beginning, sent twice: this handle saw nothing of the session so far.
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
