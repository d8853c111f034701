//! The verbs that can be batched: how a statement over many rows answers each of them.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use crate::{
    error::Result,
    store::{End as EndRow, NewSession, Record, Save as SaveRow, Store},
    token::SessionId,
};

pub(super) trait Verb: Debug + Send + Sync + 'static {
    type Item: Clone + Debug + Send + Sync;
    type Output: Debug + Send;

    /// Whether items of the same id can be in one statement: else the second waits for the next
    /// one.
    const SHARES: bool;
    /// Whether an item is carried out though its caller is gone.
    const OUTLIVES_ITS_CALLER: bool = false;

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
        let mut records = in_order(self.0.load(&ids).await?).peekable();
        let answer = |(i, id): (usize, &SessionId)| {
            let is_last_of_id = items.get(i + 1) != Some(id);
            match is_last_of_id {
                true => records.next_if(|record| record.id == *id),
                false => records.peek().filter(|record| record.id == *id).cloned(),
            }
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
        let mut records = in_order(self.0.create(items).await?).peekable();
        let answer = |item: &NewSession| records.next_if(|record| record.id == item.id);
        Ok(items.iter().map(answer).collect())
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
        save.holder.id
    }

    fn bytes(save: &SaveRow) -> usize {
        save.data.len()
    }

    async fn run(&self, items: &[SaveRow]) -> Result<Vec<Option<SessionId>>> {
        let written: HashSet<SessionId> = self.0.save(items).await?.into_iter().collect();
        Ok(items.iter().map(|item| written.get(&item.holder.id).copied()).collect())
    }
}

#[derive(Debug)]
pub(super) struct End(pub(super) Arc<dyn Store>);

impl Verb for End {
    type Item = EndRow;
    /// The id, if it was live.
    type Output = Option<SessionId>;
    const SHARES: bool = false;
    const OUTLIVES_ITS_CALLER: bool = true;

    fn id(end: &EndRow) -> SessionId {
        end.id
    }

    fn bytes(end: &EndRow) -> usize {
        end.user_id.as_ref().map_or(0, String::len)
    }

    async fn run(&self, items: &[EndRow]) -> Result<Vec<Option<SessionId>>> {
        let ended: HashSet<SessionId> = self.0.end(items).await?.into_iter().collect();
        Ok(items.iter().map(|item| ended.get(&item.id).copied()).collect())
    }
}

/// By their ids, as the items are: so that both are walked side by side.
fn in_order(mut records: Vec<Record>) -> std::vec::IntoIter<Record> {
    records.sort_unstable_by_key(|record| record.id);
    records.into_iter()
}
