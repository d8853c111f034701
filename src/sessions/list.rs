use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
};

use crate::{
    context::Context,
    error::Result,
    store::{Page, PageKey, SessionInfo},
    user_id::{UserId, check_user_id},
};

/// A page of a user's live sessions, the newest log-in first, by the database's clock. Await it.
///
/// A page ends at a [`PageKey`], not at an offset. So sessions that begin or end between two pages do not shift the
/// list. A session whose user authenticates again in between moves to the front.
#[derive(Clone, Debug)]
#[must_use = "a query does nothing until it is awaited"]
pub struct UserSessions {
    context: Arc<Context>,
    page: Page,
}

impl UserSessions {
    pub(super) fn new(context: Arc<Context>, user_id: &impl UserId) -> Self {
        let page = context.first_page(user_id.text().into_owned());
        Self { context, page }
    }

    /// Goes on after the page that ended with this key: the [`SessionInfo::page_key`] of its last session.
    pub fn after(mut self, key: PageKey) -> Self {
        self.page.after = Some(key);
        self
    }

    /// The most sessions of a page. Default: 100.
    pub fn limit(mut self, limit: u32) -> Self {
        self.page.limit = limit;
        self
    }

    /// All sessions, read page by page.
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
            self.context.list(&self.page).await
        })
    }
}
