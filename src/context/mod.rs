//! What a request's handle, the cleanup and the facade share: the observed store, the checked
//! policy, and what this node remembers of its own revocations.

mod cutoffs;
pub(crate) mod observed;

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Utc};

use self::{cutoffs::RecentCutoffs, observed::Observed};
use crate::{
    error::{Error, ErrorKind, Result},
    policy::Rules,
    store::{End, Page, Revocation, Scope, SessionInfo, Store},
    token::SessionId,
};

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) store: Observed,
    pub(crate) rules: Rules,
    cutoffs: RecentCutoffs,
    /// Who writes to a contended session next, on this node: see `Session::write`.
    turns: [tokio::sync::Mutex<()>; 64],
}

impl Context {
    pub(crate) fn new(store: Arc<dyn Store>, rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            store: Observed::new(store),
            rules,
            cutoffs: RecentCutoffs::default(),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
        })
    }

    pub(crate) async fn end(&self, end: End, reason: &'static str) -> Result<bool> {
        self.store.end(end, reason).await
    }

    pub(crate) async fn end_all(&self, scope: Scope, reason: &'static str) -> Result<Revocation> {
        let revocation = self.store.revoke(&scope, reason).await?;
        if let (Scope::User(user_id) | Scope::OthersOf(user_id, _), Some(at)) =
            (&scope, revocation.cutoff)
        {
            self.cutoffs.note(user_id, at);
        } else if let Some(at) = revocation.cutoff {
            self.cutoffs.note("", at);
        }
        Ok(revocation)
    }

    /// All pages of a list, from the given one on.
    pub(crate) async fn list_all(&self, mut page: Page) -> Result<Vec<SessionInfo>> {
        let mut all = Vec::new();
        loop {
            let found = self.store.list(&page).await?;
            let is_last = found.len() < page.limit as usize;
            all.extend(found);
            match all.last() {
                Some(last) if !is_last => page.before = Some(last.id),
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

/// The same for every database: Postgres cannot store U+0000, and a key of an index has a size.
pub(crate) fn check_user_id(user_id: &str) -> Result<()> {
    const MAX: usize = 255;
    let message = if user_id.is_empty() {
        "the user id is empty"
    } else if user_id.len() > MAX {
        "the user id is longer than 255 bytes"
    } else if user_id.contains('\0') {
        "the user id holds U+0000"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidUserId, message))
}
