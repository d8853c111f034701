//! What a request's handle, the cleanup and the facade share: the observed store, the checked
//! policy, and what this node remembers of its own revocations.

mod cutoffs;
pub(crate) mod observed;

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Utc};

use self::{cutoffs::RecentCutoffs, observed::Observed};
use crate::{
    error::Result,
    policy::Rules,
    realm::Realm,
    store::{Page, Revocation, Revoke, SessionInfo, Store},
    token::SessionId,
};

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) store: Observed,
    pub(crate) realm: Realm,
    pub(crate) rules: Rules,
    cutoffs: RecentCutoffs,
    /// Who writes to a contended session next, on this node: see `Session::write`.
    turns: [tokio::sync::Mutex<()>; 64],
}

impl Context {
    pub(crate) fn new(store: Arc<dyn Store>, realm: Realm, rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            store: Observed::new(store, realm.clone()),
            realm,
            rules,
            cutoffs: RecentCutoffs::default(),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
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

    /// A node's turn to write to a session that others keep changing. Sessions may share one.
    pub(crate) fn turn(&self, id: SessionId) -> &tokio::sync::Mutex<()> {
        // The end of a UUIDv7 is random.
        &self.turns[usize::from(id.as_uuid().as_bytes()[15]) % 64]
    }
}
