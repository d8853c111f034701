//! The verbs that can be batched, and how a statement over many rows answers each row's caller.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use crate::{
    error::Result,
    store::{Changed, End as EndRow, NewSession, Record, Save as SaveRow, Store},
    token::SessionId,
};

pub(super) trait Verb: Debug + Send + Sync + 'static {
    type Item: Clone + Debug + Send + Sync;
    type Output: Debug + Send;

    /// The name, for metrics.
    const NAME: &'static str;
    /// Whether items with the same id can share a statement. If not, the second item waits for the next
    /// statement.
    const SHARES: bool;
    /// Whether the verb writes: then the outcome of a statement without an answer is unknown.
    const WRITES: bool;

    fn id(item: &Self::Item) -> SessionId;

    /// The bytes of data that the item adds to a statement.
    fn bytes(item: &Self::Item) -> usize;

    /// Returns an answer for each of `items`, which are sorted by id.
    fn run(
        &self,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<Answer<Self::Output>>>> + Send;
}

/// A statement's answer for one of its items.
#[derive(Debug)]
pub(super) enum Answer<T> {
    Done(T),
    /// Another transaction has locked the row. Nothing was done.
    Locked,
}

#[derive(Debug)]
pub(super) struct Load(pub(super) Arc<dyn Store>);

impl Verb for Load {
    type Item = SessionId;
    type Output = Option<Record>;
    const NAME: &'static str = "load";
    const SHARES: bool = true;
    const WRITES: bool = false;

    fn id(id: &SessionId) -> SessionId {
        *id
    }

    fn bytes(_: &SessionId) -> usize {
        size_of::<SessionId>()
    }

    async fn run(&self, items: &[SessionId]) -> Result<Vec<Answer<Option<Record>>>> {
        let mut ids = items.to_vec();
        ids.dedup();
        let mut records = in_order(self.0.load(&ids).await?).peekable();
        let answer = |(i, id): (usize, &SessionId)| {
            let is_last_of_id = items.get(i + 1) != Some(id);
            Answer::Done(match is_last_of_id {
                true => records.next_if(|record| record.id == *id),
                false => records.peek().filter(|record| record.id == *id).cloned(),
            })
        };
        Ok(items.iter().enumerate().map(answer).collect())
    }
}

#[derive(Debug)]
pub(super) struct Create(pub(super) Arc<dyn Store>);

impl Verb for Create {
    type Item = NewSession;
    type Output = Option<Record>;
    const NAME: &'static str = "create";
    const SHARES: bool = false;
    const WRITES: bool = true;

    fn id(session: &NewSession) -> SessionId {
        session.id
    }

    fn bytes(session: &NewSession) -> usize {
        session.data.len()
    }

    async fn run(&self, items: &[NewSession]) -> Result<Vec<Answer<Option<Record>>>> {
        let mut made = in_order(self.0.create(items).await?).peekable();
        let answer = |item: &NewSession| Answer::Done(made.next_if(|made| made.id == item.id));
        Ok(items.iter().map(answer).collect())
    }
}

/// If several saves of one session wait together, only one of them can find its revision. The others are
/// answered without a statement: otherwise a thousand saves would cost a thousand statements.
#[derive(Debug)]
pub(super) struct Save(pub(super) Arc<dyn Store>);

impl Verb for Save {
    type Item = SaveRow;
    /// Whether the data was written.
    type Output = bool;
    const NAME: &'static str = "save";
    const SHARES: bool = true;
    const WRITES: bool = true;

    fn id(save: &SaveRow) -> SessionId {
        save.holder.id
    }

    fn bytes(save: &SaveRow) -> usize {
        save.data.len()
    }

    async fn run(&self, items: &[SaveRow]) -> Result<Vec<Answer<bool>>> {
        let of_one = || items.chunk_by(|a, b| a.holder.id == b.holder.id);
        // The first save with the newest revision.
        let best = |same: &[SaveRow]| (0..same.len()).rev().max_by_key(|&i| same[i].revision);
        let asked: Vec<_> = of_one().filter_map(|same| Some(same[best(same)?].clone())).collect();
        let changed = self.0.save(&asked).await?;
        let answers = of_each(&changed, asked.iter().map(|save| save.holder.id));
        let for_all = of_one().zip(answers).flat_map(|(same, answer)| {
            let best = best(same);
            (0..same.len()).map(move |i| match answer {
                Answer::Locked => Answer::Locked,
                Answer::Done(is_written) => Answer::Done(is_written && Some(i) == best),
            })
        });
        Ok(for_all.collect())
    }
}

#[derive(Debug)]
pub(super) struct End(pub(super) Arc<dyn Store>);

impl Verb for End {
    type Item = EndRow;
    /// Whether the session was live.
    type Output = bool;
    const NAME: &'static str = "end";
    const SHARES: bool = false;
    const WRITES: bool = true;

    fn id(end: &EndRow) -> SessionId {
        end.id
    }

    fn bytes(end: &EndRow) -> usize {
        end.user_id.as_ref().map_or(0, String::len)
    }

    async fn run(&self, items: &[EndRow]) -> Result<Vec<Answer<bool>>> {
        Ok(of_each(&self.0.end(items).await?, items.iter().map(|end| end.id)))
    }
}

fn of_each(changed: &Changed, ids: impl Iterator<Item = SessionId>) -> Vec<Answer<bool>> {
    let set = |ids: &[SessionId]| ids.iter().copied().collect::<HashSet<_>>();
    let (done, locked) = (set(&changed.done), set(&changed.locked));
    let answer = |id| match locked.contains(&id) {
        true => Answer::Locked,
        false => Answer::Done(done.contains(&id)),
    };
    ids.map(answer).collect()
}

/// Sorts the records by id, as the items are, so that both can be walked side by side.
fn in_order(mut records: Vec<Record>) -> std::vec::IntoIter<Record> {
    records.sort_unstable_by_key(|record| record.id);
    records.into_iter()
}
