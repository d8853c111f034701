//! The state that all handles, the cleanup and the facade share: the observed store, the checked policy, and this
//! node's memory of its own revocations.

mod cutoffs;
mod endings;
pub(crate) mod observed;
mod superseded;
mod turns;

use std::{net::IpAddr, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};

use self::{cutoffs::RecentCutoffs, observed::Observed, superseded::RecentUses, turns::Turns};
pub(crate) use self::{
    endings::{Endings, LOOK_EVERY},
    turns::Turn,
};
use crate::{
    client::Client,
    error::Result,
    hasher::Hasher,
    policy::Rules,
    realm::Realm,
    sealer::Sealer,
    store::{Cause, Page, Revocation, Revoke, SessionInfo, Store},
};

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) store: Observed,
    pub(crate) realm: Realm,
    pub(crate) rules: Rules,
    pub(crate) sealer: Sealer,
    pub(crate) hasher: Hasher,
    cutoffs: RecentCutoffs,
    superseded_uses: RecentUses,
    endings: Arc<Endings>,
    /// The order of this node's writes to a contended session: see `Session::write`.
    pub(crate) turns: Turns,
}

impl Context {
    /// The store may report changes to `endings`, too.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        realm: Realm,
        rules: Rules,
        sealer: Sealer,
        hasher: Hasher,
        endings: Arc<Endings>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store: Observed::new(store, realm.clone(), endings.clone()),
            endings,
            realm,
            rules,
            sealer,
            hasher,
            cutoffs: RecentCutoffs::default(),
            superseded_uses: RecentUses::default(),
            turns: Turns::default(),
        })
    }

    /// The cause of an end, if the policy records events.
    pub(crate) fn cause(&self, actor: &str, reason: Option<&str>) -> Option<Cause> {
        let cause = || Cause { actor: actor.to_owned(), reason: reason.map(str::to_owned) };
        self.rules.records_events.then(cause)
    }

    /// Ends the sessions that `revoke` names, and remembers the cut-off. `None` if the holder has lost its session.
    pub(crate) async fn revoke(&self, revoke: &Revoke, reason: &str) -> Result<Option<Revocation>> {
        let revocation = self.store.revoke(revoke, reason).await?;
        if let Some(at) = revocation.and_then(|revocation| revocation.cutoff) {
            self.cutoffs.note(revoke.scope.user_id().unwrap_or_default(), at);
        }
        Ok(revocation)
    }

    /// The first page of a user's sessions in this realm, the newest log-in first.
    pub(crate) fn first_page(&self, user_id: String) -> Page {
        Page { realm: self.realm.clone(), user_id, after: None, limit: 100, by: None }
    }

    /// The client of a request, as rows and events get it.
    pub(crate) fn client(&self, client: &Client) -> Result<Client> {
        match self.rules.records_clients {
            true => self.sealer.seal_client(&self.realm, client),
            false => Ok(Client::new()),
        }
    }

    /// The address that a row gets when its session is seen.
    pub(crate) fn seen_ip(&self, client: &Client) -> Option<IpAddr> {
        client.ip.filter(|_| self.rules.records_clients && !self.sealer.seals_clients())
    }

    /// A page of sessions, with their clients.
    pub(crate) async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>> {
        let found = self.store.list(page).await?;
        Ok(found.into_iter().map(|info| self.sealer.open_info(&self.realm, info)).collect())
    }

    /// All sessions of a list, from the given page on.
    pub(crate) async fn list_all(&self, mut page: Page) -> Result<Vec<SessionInfo>> {
        let mut all = Vec::new();
        loop {
            let found = self.list(&page).await?;
            let is_last = found.len() < page.limit as usize;
            all.extend(found);
            match all.last().and_then(SessionInfo::page_key) {
                Some(last) if !is_last => page.after = Some(last),
                _ => return Ok(all),
            }
        }
    }

    /// The last cut-off by this node that was completed before the authentication began.
    pub(crate) fn cutoff_before(&self, user_id: &str, began: Instant) -> Option<DateTime<Utc>> {
        self.cutoffs.before(user_id, began)
    }
}
