use std::{
    future::{Future, IntoFuture},
    pin::Pin,
};

use super::{Sessions, check_user_id};
use crate::{
    error::Result,
    store::{Page, SessionInfo},
    token::SessionId,
};

/// A page of a user's live sessions, newest first. Await it.
///
/// The key of the page is the id, not an offset: sessions that come and go between two pages move
/// nothing.
#[derive(Clone, Debug)]
#[must_use = "a query does nothing until it is awaited"]
pub struct UserSessions {
    sessions: Sessions,
    page: Page,
}

impl UserSessions {
    pub(super) fn new(sessions: Sessions, user_id: String) -> Self {
        Self { sessions, page: Page { user_id, before: None, limit: 100 } }
    }

    /// Only sessions created before this one: the last id of the page before.
    pub fn before(mut self, id: SessionId) -> Self {
        self.page.before = Some(id);
        self
    }

    /// At most this many. Default: 100.
    pub fn limit(mut self, limit: u32) -> Self {
        self.page.limit = limit;
        self
    }

    /// All of them, page after page.
    pub async fn all(mut self) -> Result<Vec<SessionInfo>> {
        let mut all = Vec::new();
        loop {
            let page = self.clone().await?;
            let is_last = page.len() < self.page.limit as usize;
            all.extend(page);
            match all.last() {
                Some(last) if !is_last => self.page.before = Some(last.id),
                _ => return Ok(all),
            }
        }
    }
}

impl IntoFuture for UserSessions {
    type Output = Result<Vec<SessionInfo>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            check_user_id(&self.page.user_id)?;
            self.sessions.store().list(&self.page).await
        })
    }
}
