use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{CookieChange, Session, Standing};
use crate::{
    error::Result,
    store::{End, Page, Revocation, Scope},
    token::SessionId,
};

/// One of the user's sessions, for "Your devices".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Device {
    /// The session's public handle.
    pub id: SessionId,
    /// Whether it is the one that asks.
    pub current: bool,
    /// The address at creation, log-in or renewal, whichever was last.
    pub ip: Option<IpAddr>,
    /// The user agent, likewise.
    pub user_agent: Option<String>,
    /// When it was first written.
    pub created_at: DateTime<Utc>,
    /// When its user last authenticated.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// When it was last seen, to about a twentieth of its idle timeout.
    pub last_seen_at: DateTime<Utc>,
    /// When it ends unless it is seen before.
    pub expires_at: DateTime<Utc>,
}

impl Session {
    /// Ends this session, at once and on every node, and removes its cookie. What is written
    /// afterwards begins a new one.
    pub async fn log_out(&self) -> Result<Revocation> {
        let _turn = self.0.turn.lock().await;
        let Some(stored) = self.state().stored().cloned() else {
            return Ok(Revocation::default());
        };
        let end = End { id: stored.record.id, user_id: None };
        let was_live = self.0.context.end(end, "logged out").await?;
        self.has_gone();
        Ok(Revocation::new(u64::from(was_live), None))
    }

    /// Ends the user's other sessions, and refuses log-ins that are in flight.
    ///
    /// # Errors
    ///
    /// [`NotLoggedIn`](crate::ErrorKind::NotLoggedIn).
    pub async fn log_out_others(&self) -> Result<Revocation> {
        let (stored, user_id) = self.logged_in()?;
        self.0
            .context
            .end_all(Scope::OthersOf(user_id, stored.record.id), "logged out others")
            .await
    }

    /// Ends all sessions of the user, this one too, and refuses log-ins that are in flight. When it
    /// returns, no request gets into any of them.
    ///
    /// # Errors
    ///
    /// [`NotLoggedIn`](crate::ErrorKind::NotLoggedIn).
    pub async fn log_out_everywhere(&self) -> Result<Revocation> {
        let _turn = self.0.turn.lock().await;
        let (_, user_id) = self.logged_in()?;
        let revocation =
            self.0.context.end_all(Scope::User(user_id), "logged out everywhere").await?;
        self.has_gone();
        Ok(revocation)
    }

    /// Ends one of the user's sessions. Returns whether there was one: an id of somebody else's is
    /// none.
    ///
    /// # Errors
    ///
    /// [`NotLoggedIn`](crate::ErrorKind::NotLoggedIn).
    pub async fn log_out_device(&self, id: SessionId) -> Result<bool> {
        let _turn = self.0.turn.lock().await;
        let (stored, user_id) = self.logged_in()?;
        let end = End { id, user_id: Some(user_id) };
        let was_live = self.0.context.end(end, "logged out from another device").await?;
        if stored.record.id == id {
            self.has_gone();
        }
        Ok(was_live)
    }

    /// The user's live sessions, newest first.
    ///
    /// # Errors
    ///
    /// [`NotLoggedIn`](crate::ErrorKind::NotLoggedIn).
    pub async fn devices(&self) -> Result<Vec<Device>> {
        let (stored, user_id) = self.logged_in()?;
        let sessions = self.0.context.list_all(Page::of_user(user_id)).await?;
        let device = |info: crate::SessionInfo| Device {
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

    fn has_gone(&self) {
        self.state().switch_to(Standing::Anonymous, CookieChange::Remove);
    }
}
