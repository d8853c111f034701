//! What deletes expired rows: by the index while there are few, by their place in the table where
//! there are many.

use std::ops::Range;

use sqlx::{query, query_as};

use super::PostgresStore;
use crate::{
    error::Result,
    store::{Survey, Swept, failure},
};

/// The lock that a sweep holds while it deletes: any constant that no application is likely to
/// have.
const SWEEP_LOCK: i64 = 0x7365_7373_696c_6501;

pub(super) async fn sweep(store: &PostgresStore, limit: u32) -> Result<Swept> {
    // The lock ends with the statement, so that no dropped future and no pooled connection can
    // keep it. So does the setting: a deletion of expired rows that a crash undoes is made again,
    // and nobody need wait for the disk.
    //
    // `for update` asks again for a row that a touch has moved meanwhile, and skips one that is locked: a
    // transaction that somebody forgot would hold up all sweepers. The ids go through an array, of whose
    // length a planner knows nothing: it takes the primary key's index for them, whether nothing has
    // expired when it plans or everything has. A join with the rows that are due, planned while there
    // were none and kept, compared each of them with each.
    if store.is_distributed().await? {
        return distributed(store, limit).await;
    }
    let swept = store
        .write(|connection| {
            connection.optional(query_as!(
                Answer,
                r#"
                -- Not where the table is distributed.
                with lock as materialized (
                    select pg_try_advisory_xact_lock($2) as held, set_config('synchronous_commit', 'off', true)
                ), deleted as (
                    delete from sessile.sessions as s
                    using unnest(array(
                        select id from sessile.sessions
                        where expires_at < now() and (select held from lock)
                        order by expires_at
                        limit $1
                        for update skip locked
                    )) as due (id)
                    where s.id = due.id
                    returning 1
                ), forgotten as (
                    delete from sessile.session_cutoffs as c
                    using unnest(array(
                        select user_id from sessile.session_cutoffs
                        where used_at < now() - interval '1 day' and (select held from lock)
                        order by used_at
                        limit $1
                        for update skip locked
                    )) as old (user_id)
                    where c.user_id = old.user_id
                    returning 1
                )
                select held as "held!", (select count(*) from deleted) as "deleted!",
                    (select count(*) from forgotten) >= $1 as "more!"
                from lock
                "#,
                i64::from(limit),
                SWEEP_LOCK,
            ))
        })
        .await?;
    Ok(swept.map_or(Swept::Busy, Answer::into))
}

struct Answer {
    held: bool,
    deleted: i64,
    more: bool,
}

impl From<Answer> for Swept {
    fn from(answer: Answer) -> Self {
        match (answer.held, answer.more) {
            (true, true) => Self::More(answer.deleted.unsigned_abs()),
            (true, false) => Self::Rows(answer.deleted.unsigned_abs()),
            (false, _) => Self::Busy,
        }
    }
}

/// Where nothing can skip a row that is locked, and nobody knows the plan of each shard.
async fn distributed(store: &PostgresStore, limit: u32) -> Result<Swept> {
    let swept = store
        .write(|connection| {
            connection.optional(query_as!(
                Answer,
                r#"
                with lock as materialized (
                    select pg_try_advisory_xact_lock($2) as held
                ), due as materialized (
                    select id from sessile.sessions
                    where expires_at < now() and (select held from lock)
                    order by expires_at
                    limit $1::int
                ), deleted as (
                    delete from sessile.sessions as s
                    using due
                    where s.id = due.id and s.expires_at < now()
                    returning s.id
                ), old as materialized (
                    select user_id from sessile.session_cutoffs
                    where used_at < now() - interval '1 day' and (select held from lock)
                    order by used_at
                    limit $1::int
                ), forgotten as (
                    delete from sessile.session_cutoffs as c
                    using old
                    where c.user_id = old.user_id and c.used_at < now() - interval '1 day'
                    returning c.user_id
                )
                select held as "held!", (select count(*) from deleted) as "deleted!",
                    (select count(*) from forgotten) >= $1 as "more!"
                from lock
                "#,
                i32::try_from(limit).unwrap_or(i32::MAX),
                SWEEP_LOCK,
            ))
        })
        .await?;
    Ok(swept.map_or(Swept::Busy, Answer::into))
}

pub(super) async fn survey(store: &PostgresStore) -> Result<Option<Survey>> {
    // The rows of a distributed table are not on pages of this server.
    if store.is_distributed().await? {
        return Ok(None);
    }
    // In the index's order, and at most as many as matter: a planner that takes expired rows for many would
    // look for them in the whole table.
    let found = store
        .read(|connection| {
            connection.one(query!(
                r#"
                -- Not where the table is distributed.
                with size as materialized (
                    select pg_relation_size('sessile.sessions') / current_setting('block_size')::bigint as pages
                )
                select pages as "pages!",
                    (select count(*) from (
                        select from sessile.sessions
                        where expires_at < now()
                        order by expires_at
                        limit (select least(pages / 4 + 1, 200000) from size)
                    ) as expired) as "expired!"
                from size
                "#
            ))
        })
        .await?;
    let pages = u32::try_from(found.pages).unwrap_or(u32::MAX);
    Ok(Some(Survey { pages, expired: found.expired.unsigned_abs() }))
}

pub(super) async fn sweep_pages(store: &PostgresStore, pages: Range<u32>) -> Result<Swept> {
    let deleted = match at_once(store, &pages).await? {
        Some(deleted) => deleted,
        None => past_locked(store, &pages).await?,
    };
    if deleted == 0 && is_busy(store).await? {
        return Ok(Swept::Busy);
    }
    Ok(Swept::Rows(deleted))
}

// Both statements ask for expiry in words that fit no index (`valid_until` is never after `expires_at`):
// statistics from before a wave of expiry would have the planner read all expired rows by the index, for
// each range of pages anew. Neither is kept prepared, for the like of it: a plan that was made for a
// small table reads the whole of it. The condition without a column is asked once, before anything is read.

/// Without a CTE and without locks before the deletion, which cost two thirds more. `None` if a row
/// was locked.
async fn at_once(store: &PostgresStore, pages: &Range<u32>) -> Result<Option<u64>> {
    let (from, to) = (format!("({},0)", pages.start), format!("({},0)", pages.end));
    let (from, to) = (&from, &to);
    store
        .write(|connection| async move {
            let delete = query!(
                r#"
                -- Not where the table is distributed.
                delete from sessile.sessions
                where ctid >= $1::text::tid and ctid < $2::text::tid and greatest(expires_at, valid_until) < now()
                    and (select pg_try_advisory_xact_lock($3) and set_config('synchronous_commit', 'off', true) = 'off'
                        and set_config('lock_timeout', '50ms', true) = '50ms')
                "#,
                from,
                to,
                SWEEP_LOCK,
            );
            match connection.execute(delete.persistent(false)).await {
                Ok(done) => Ok(Some(done.rows_affected())),
                Err(error) if failure::is_locked(&error) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
}

/// All but the rows that are locked.
async fn past_locked(store: &PostgresStore, pages: &Range<u32>) -> Result<u64> {
    let (from, to) = (format!("({},0)", pages.start), format!("({},0)", pages.end));
    let (from, to) = (&from, &to);
    let done = store
        .write(|connection| async move {
            let delete = query!(
                r#"
                -- Not where the table is distributed.
                delete from sessile.sessions as s
                using unnest(array(
                    select id from sessile.sessions
                    where ctid >= $1::text::tid and ctid < $2::text::tid and greatest(expires_at, valid_until) < now()
                        and (select pg_try_advisory_xact_lock($3) and set_config('synchronous_commit', $4, true) = 'off')
                    for update skip locked
                )) as due (id)
                where s.id = due.id
                "#,
                from,
                to,
                SWEEP_LOCK,
                "off",
            );
            connection.execute(delete.persistent(false)).await
        })
        .await?;
    Ok(done.rows_affected())
}

/// Whether another sweeper is at work. Should it have ended just before this question, it is soon
/// back for the next of its pages.
async fn is_busy(store: &PostgresStore) -> Result<bool> {
    let lock = store
        .write(|connection| {
            connection
                .one(query!(r#"select pg_try_advisory_xact_lock($1) as "is_free!""#, SWEEP_LOCK,))
        })
        .await?;
    Ok(!lock.is_free)
}
