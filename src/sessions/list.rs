use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
};

use crate::{
    context::{Context, check_user_id},
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
    context: Arc<Context>,
    page: Page,
}

impl UserSessions {
    pub(super) fn new(context: Arc<Context>, user_id: String) -> Self {
        Self { context, page: Page::of_user(user_id) }
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
    pub async fn all(self) -> Result<Vec<SessionInfo>> {
        check_user_id(&self.page.user_id)?;
        self.context.list_all(self.page).await
    }
}

impl IntoFuture for UserSessions {
    type Output = Result<Vec<SessionInfo>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            check_user_id(&self.page.user_id)?;
            self.context.store.list(&self.page).await
        })
    }
}
