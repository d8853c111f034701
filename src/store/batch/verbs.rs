//! The verbs that can be batched: how a statement over many rows answers each of them.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::Arc,
};

use crate::{
    error::Result,
    store::{NewSession, Record, Save as SaveRow, Store},
    token::SessionId,
};

pub(super) trait Verb: Debug + Send + Sync + 'static {
    type Item: Clone + Debug + Send + Sync;
    type Output: Debug + Send;

    /// Whether items of the same id can be in one statement: else the second waits for the next
    /// one.
    const SHARES: bool;

    fn id(item: &Self::Item) -> SessionId;

    /// How much of a statement the item takes.
    fn bytes(item: &Self::Item) -> usize;

    /// An answer for each of `items`, which are in the order of their ids.
    fn run(&self, items: &[Self::Item]) -> impl Future<Output = Result<Vec<Self::Output>>> + Send;
}

#[derive(Debug)]
pub(super) struct Load(pub(super) Arc<dyn Store>);

impl Verb for Load {
    type Item = SessionId;
    type Output = Option<Record>;
    const SHARES: bool = true;

    fn id(id: &SessionId) -> SessionId {
        *id
    }

    fn bytes(_: &SessionId) -> usize {
        size_of::<SessionId>()
    }

    async fn run(&self, items: &[SessionId]) -> Result<Vec<Option<Record>>> {
        let mut ids = items.to_vec();
        ids.dedup();
        let mut records = by_id(self.0.load(&ids).await?);
        let answer = |(i, id): (usize, &SessionId)| {
            let is_last_of_id = items.get(i + 1) != Some(id);
            if is_last_of_id { records.remove(id) } else { records.get(id).cloned() }
        };
        Ok(items.iter().enumerate().map(answer).collect())
    }
}

#[derive(Debug)]
pub(super) struct Create(pub(super) Arc<dyn Store>);

impl Verb for Create {
    type Item = NewSession;
    type Output = Option<Record>;
    const SHARES: bool = false;

    fn id(session: &NewSession) -> SessionId {
        session.id
    }

    fn bytes(session: &NewSession) -> usize {
        session.data.len()
    }

    async fn run(&self, items: &[NewSession]) -> Result<Vec<Option<Record>>> {
        let mut records = by_id(self.0.create(items).await?);
        Ok(items.iter().map(|item| records.remove(&item.id)).collect())
    }
}

/// Two saves of one session cannot share a statement: only one of them finds its revision.
#[derive(Debug)]
pub(super) struct Save(pub(super) Arc<dyn Store>);

impl Verb for Save {
    type Item = SaveRow;
    /// The id, if it was written.
    type Output = Option<SessionId>;
    const SHARES: bool = false;

    fn id(save: &SaveRow) -> SessionId {
        save.id
    }

    fn bytes(save: &SaveRow) -> usize {
        save.data.len()
    }

    async fn run(&self, items: &[SaveRow]) -> Result<Vec<Option<SessionId>>> {
        let written: HashSet<SessionId> = self.0.save(items).await?.into_iter().collect();
        Ok(items.iter().map(|item| written.get(&item.id).copied()).collect())
    }
}

fn by_id(records: Vec<Record>) -> HashMap<SessionId, Record> {
    records.into_iter().map(|record| (record.id, record)).collect()
}
