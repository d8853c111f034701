//! Statements over several rows, some of which another transaction may have locked.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{Postgres, query};
use uuid::Uuid;

use super::{PostgresStore, SHORT};
use crate::{
    error::{ErrorKind, Result},
    store::{
        Changed,
        connections::{End, Statements},
    },
};

/// When a statement last met a row that another transaction had locked.
#[derive(Clone, Debug, Default)]
pub(super) struct LockedRows(Arc<Mutex<Option<Instant>>>);

impl LockedRows {
    /// For this long, statements check first which rows are locked.
    const LATELY: Duration = Duration::from_secs(10);

    fn were_met_lately(&self) -> bool {
        let met = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        met.is_some_and(|met| met.elapsed() < Self::LATELY)
    }

    fn meet(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Runs a statement over several rows so that it waits for none of them. The statement returns the ids of the
/// rows that it changed, and gives up after 50 ms if a row is locked. After that, and for a while, another
/// statement first locks the rows and skips those that another transaction has locked.
///
/// If the table is distributed, no statement can skip a locked row: the call fails as a whole.
pub(super) async fn passing_by<T>(
    store: &PostgresStore,
    rows: &[T],
    id: impl Fn(&T) -> Uuid,
    statement: impl AsyncFn(&mut Statements<'_, Postgres>, &[&T]) -> Result<Vec<Uuid>, sqlx::Error>,
) -> Result<Changed> {
    let all: &Vec<&T> = &rows.iter().collect();
    let statement = &statement;
    if !store.locked_rows.were_met_lately() || store.is_distributed().await? {
        let begun = Instant::now();
        let done =
            store.write(|connection| connection.single(async |tx| statement(tx, all).await)).await;
        match done {
            // A longer wait was not for a row's lock but for the whole table's. It must not happen twice.
            Err(error)
                if error.kind() == ErrorKind::Contention
                    && begun.elapsed() < Duration::from_secs(1)
                    && !store.is_distributed().await? =>
            {
                store.locked_rows.meet();
            }
            Err(error) => return Err(error),
            Ok(done) => return Ok(changed(done, Vec::new())),
        }
    }
    let (ids, id): (&Vec<Uuid>, _) = (&rows.iter().map(&id).collect(), &id);
    store
        .write(|connection| async move {
            let ended = connection.transaction(SHORT, async |tx| {
                let (free, locked) = lock(tx, ids).await?;
                let free: Vec<&T> = rows.iter().filter(|row| free.contains(&id(row))).collect();
                let done = if free.is_empty() { Vec::new() } else { statement(tx, &free).await? };
                Ok(End::Commit(changed(done, locked)))
            });
            ended.await?.into_result()
        })
        .await
}

/// Returns the rows that this transaction has locked now, and the rows that another transaction has locked.
async fn lock(
    tx: &mut Statements<'_, Postgres>,
    ids: &[Uuid],
) -> Result<(HashSet<Uuid>, Vec<Uuid>), sqlx::Error> {
    let rows = tx
        .all(query!(
            r#"
            -- Not where the table is distributed.
            with free as materialized (
                select id from sessile.sessions
                where id = any((select $1::uuid[])::uuid[])
                for update skip locked
            )
            select id as "id!", true as "is_free!" from free
            union all
            select id, false from sessile.sessions
            where id = any((select $1::uuid[])::uuid[]) and id not in (select id from free)
            "#,
            ids,
        ))
        .await?;
    let (free, locked): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_free);
    Ok((
        free.into_iter().map(|row| row.id).collect(),
        locked.into_iter().map(|row| row.id).collect(),
    ))
}

fn changed(done: Vec<Uuid>, locked: Vec<Uuid>) -> Changed {
    let ids = |ids: Vec<Uuid>| ids.into_iter().map(Into::into).collect();
    Changed { done: ids(done), locked: ids(locked) }
}
