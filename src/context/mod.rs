//! What a request's handle, the cleanup and the facade share: the observed store, the checked
//! policy, and what this node remembers of its own revocations.

mod cutoffs;
mod endings;
pub(crate) mod observed;
mod turns;

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Utc};

use self::{cutoffs::RecentCutoffs, observed::Observed, turns::Turns};
pub(crate) use self::{
    endings::{Endings, LOOK_EVERY},
    turns::Turn,
};
use crate::{
    error::Result,
    policy::Rules,
    realm::Realm,
    store::{Page, Revocation, Revoke, SessionInfo, Store},
};

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) store: Observed,
    pub(crate) realm: Realm,
    pub(crate) rules: Rules,
    cutoffs: RecentCutoffs,
    endings: Arc<Endings>,
    /// Who writes to a contended session next, on this node: see `Session::write`.
    pub(crate) turns: Turns,
}

impl Context {
    /// `endings` may hear of changes from the store, too.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        realm: Realm,
        rules: Rules,
        endings: Arc<Endings>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store: Observed::new(store, realm.clone(), endings.clone()),
            endings,
            realm,
            rules,
            cutoffs: RecentCutoffs::default(),
            turns: Turns::default(),
        })
    }

    /// Ends what `revoke` says, and remembers when. `None` where its holder does not hold.
    pub(crate) async fn revoke(
        &self,
        revoke: &Revoke,
        reason: &'static str,
    ) -> Result<Option<Revocation>> {
        let revocation = self.store.revoke(revoke, reason).await?;
        if let Some(at) = revocation.and_then(|revocation| revocation.cutoff) {
            self.cutoffs.note(revoke.scope.user_id().unwrap_or_default(), at);
        }
        Ok(revocation)
    }

    /// The newest of a user's sessions in this realm.
    pub(crate) fn first_page(&self, user_id: String) -> Page {
        Page { realm: self.realm.clone(), user_id, after: None, limit: 100, by: None }
    }

    /// All pages of a list, from the given one on.
    pub(crate) async fn list_all(&self, mut page: Page) -> Result<Vec<SessionInfo>> {
        let mut all = Vec::new();
        loop {
            let found = self.store.list(&page).await?;
            let is_last = found.len() < page.limit as usize;
            all.extend(found);
            match all.last().and_then(SessionInfo::page_key) {
                Some(last) if !is_last => page.after = Some(last),
                _ => return Ok(all),
            }
        }
    }

    /// The last cut-off of this node's that an authentication which began then has followed.
    pub(crate) fn cutoff_before(&self, user_id: &str, began: Instant) -> Option<DateTime<Utc>> {
        self.cutoffs.before(user_id, began)
    }
}
