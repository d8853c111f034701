use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{CookieChange, Session, Standing, Stored};
use crate::{
    error::{Error, ErrorKind, Result},
    store::{End, Holder, Page, Revocation, Revoke, Scope, SessionInfo},
    token::SessionId,
};

/// One of the user's sessions, for "Your devices".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Device {
    /// The session's public id.
    pub id: SessionId,
    /// Whether this session is the session of the request.
    pub current: bool,
    /// The client's address when the session was last seen.
    pub ip: Option<IpAddr>,
    /// The client's user agent at the last creation, log-in or renewal.
    pub user_agent: Option<String>,
    /// When the session was first written.
    pub created_at: DateTime<Utc>,
    /// When the user last authenticated.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// When the session was last seen, to about a [`touch_interval`](crate::Policy::touch_interval).
    pub last_seen_at: DateTime<Utc>,
    /// When the session will end, unless it is seen before.
    pub expires_at: DateTime<Utc>,
}

impl Session {
    /// Ends this session, at once and on every node, and removes its cookie. A later write begins a new session.
    ///
    /// If the request brought the cookies of several live sessions, it has none of them as its session, and all of
    /// them end. A session whose row cannot be read ends too.
    ///
    /// # Errors
    ///
    /// [`Superseded`](crate::ErrorKind::Superseded) if another request has given the session a new secret. Nothing
    /// has ended then, and the browser keeps its new cookie. Let the browser try again.
    pub async fn log_out(&self) -> Result<Revocation> {
        let _turn = self.turn().await?;
        let held = match &self.state().standing {
            Standing::Live(stored) => Some(stored.clone()),
            Standing::Superseded(_) => return Err(Error::superseded()),
            Standing::Anonymous | Standing::Ended | Standing::Unreadable(_) => None,
        };
        let Some(stored) = held else {
            let mut ended = 0;
            for rival in &self.0.rivals {
                ended += u64::from(self.end_itself(*rival).await?);
            }
            let cookie =
                if self.0.brought_cookie { CookieChange::Remove } else { CookieChange::Keep };
            self.state().leave(cookie);
            return Ok(Revocation::new(ended, None));
        };
        let was_live = self.end_itself(stored.holder()).await?;
        if !was_live {
            let error = self.why_not(&stored).await;
            if error.kind() != ErrorKind::SessionEnded {
                return Err(error);
            }
        }
        self.state().leave(CookieChange::Remove);
        Ok(Revocation::new(u64::from(was_live), None))
    }

    async fn end_itself(&self, holder: Holder) -> Result<bool> {
        let realm = self.0.context.realm.clone();
        let cause = self.0.context.cause("user", None);
        let end = End { id: holder.id, realm, user_id: None, by: Some(holder), cause };
        self.0.context.store.end(end, "logged out").await
    }

    /// Ends the user's other sessions, and refuses log-ins that are in flight.
    ///
    /// # Errors
    ///
    /// [`NotLoggedIn`](crate::ErrorKind::NotLoggedIn),
    /// [`SessionEnded`](crate::ErrorKind::SessionEnded),
    /// [`Superseded`](crate::ErrorKind::Superseded). Nothing has ended then.
    pub async fn log_out_others(&self) -> Result<Revocation> {
        let _turn = self.turn().await?;
        let (stored, user_id) = self.logged_in()?;
        let scope = Scope::OthersOf(user_id, stored.record.id);
        self.revoke(&stored, scope, "logged out others").await
    }

    /// Ends all sessions of the user, this one too, and refuses log-ins that are in flight. When the call
    /// returns, no request gets into any of these sessions.
    ///
    /// # Errors
    ///
    /// [`NotLoggedIn`](crate::ErrorKind::NotLoggedIn),
    /// [`SessionEnded`](crate::ErrorKind::SessionEnded),
    /// [`Superseded`](crate::ErrorKind::Superseded). Nothing has ended then.
    pub async fn log_out_everywhere(&self) -> Result<Revocation> {
        let _turn = self.turn().await?;
        let (stored, user_id) = self.logged_in()?;
        let revocation =
            self.revoke(&stored, Scope::User(user_id), "logged out everywhere").await?;
        self.state().leave(CookieChange::Remove);
        Ok(revocation)
    }

    async fn revoke(
        &self,
        stored: &Stored,
        scope: Scope,
        reason: &'static str,
    ) -> Result<Revocation> {
        let realm = self.0.context.realm.clone();
        let cause = self.0.context.cause("user", Some(reason));
        let revoke = Revoke { realm, scope, by: Some(stored.holder()), cause };
        match self.0.context.revoke(&revoke, reason).await? {
            Some(revocation) => Ok(revocation),
            None => Err(self.why_not(stored).await),
        }
    }

    /// Ends one of the user's sessions. Returns whether it was live. The id of another user's session ends
    /// nothing, and the call returns `false`.
    ///
    /// # Errors
    ///
    /// [`NotLoggedIn`](crate::ErrorKind::NotLoggedIn),
    /// [`SessionEnded`](crate::ErrorKind::SessionEnded),
    /// [`Superseded`](crate::ErrorKind::Superseded). Nothing has ended then.
    pub async fn log_out_device(&self, id: SessionId) -> Result<bool> {
        let _turn = self.turn().await?;
        let (stored, user_id) = self.logged_in()?;
        let realm = self.0.context.realm.clone();
        let reason = "logged out from another device";
        let cause = self.0.context.cause("user", (id != stored.record.id).then_some(reason));
        let end = End { id, realm, user_id: Some(user_id), by: Some(stored.holder()), cause };
        let was_live = self.0.context.store.end(end, reason).await?;
        if !was_live {
            // Either the user has no such device, or this handle has lost its session.
            self.reload(&stored).await?;
        } else if stored.record.id == id {
            self.state().leave(CookieChange::Remove);
        }
        Ok(was_live)
    }

    /// The user's live sessions, the newest log-in first, by the database's clock.
    ///
    /// # Cost
    ///
    /// One statement for any number of sessions.
    ///
    /// # Errors
    ///
    /// [`NotLoggedIn`](crate::ErrorKind::NotLoggedIn),
    /// [`SessionEnded`](crate::ErrorKind::SessionEnded),
    /// [`Superseded`](crate::ErrorKind::Superseded).
    pub async fn devices(&self) -> Result<Vec<Device>> {
        let (stored, user_id) = self.logged_in()?;
        let by = Some(stored.holder());
        let page = Page { by, limit: u32::MAX, ..self.0.context.first_page(user_id) };
        let sessions = self.0.context.list(&page).await?;
        if sessions.is_empty() {
            // The list would contain this session if it were live.
            return Err(self.why_not(&stored).await);
        }
        let device = |info: SessionInfo| Device {
            id: info.id,
            current: info.id == stored.record.id,
            ip: info.ip,
            user_agent: info.user_agent,
            created_at: info.created_at,
            authenticated_at: info.authenticated_at,
            last_seen_at: info.last_seen_at,
            expires_at: info.expires_at,
        };
        Ok(sessions.into_iter().map(device).collect())
    }
}
