//! Deletes expired rows: by the index while they are few, by their place in the table if they are many.

use std::{ops::Range, time::Duration};

use sqlx::{Postgres, query, query_as};

use super::PostgresStore;
use crate::{
    error::Result,
    metrics,
    store::{
        Survey, Sweep, Swept,
        connections::{End, Ended, Statements},
        failure,
    },
};

/// The lock that a sweep holds while it deletes: a constant that applications are unlikely to use.
pub(super) const SWEEP_LOCK: i64 = 0x7365_7373_696c_6501;

pub(super) async fn sweep(store: &PostgresStore, sweep: &Sweep) -> Result<Swept> {
    // The lock ends with the statement, so that no dropped future and no pooled connection can keep it. The
    // setting ends with it too. Deletes need not wait for the disk: if a crash undoes a deletion of expired
    // rows, a later sweep repeats it.
    //
    // `for update` checks again a row that a touch has moved meanwhile, and skips a locked row: otherwise a
    // forgotten transaction would delay all sweepers. The ids go through an array, whose length is unknown to
    // the planner. So it uses the index of the primary key, whether nothing or everything has expired when it
    // plans. A join with the expired rows, planned while there were none and then kept, compared each row
    // with each.
    if store.is_distributed().await? {
        return distributed(store, sweep.limit).await;
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
                    returning s.id, s.realm, s.user_id, s.valid_until, s.absolute_expires_at, s.expires_at
                ), recorded as (
                    insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, reason)
                    select now(), 'expired', realm, id, user_id,
                        case when valid_until < absolute_expires_at then 'idle timeout' else 'absolute timeout' end
                    from deleted where $3 and user_id is not null
                ), past as (
                    delete from sessile.session_event_log
                    where ctid = any(array(
                        select ctid from sessile.session_event_log
                        where at < now() - make_interval(secs => $4) and (select held from lock)
                        order by at
                        limit $1
                        for update skip locked
                    ))
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
                    (select extract(epoch from now() - greatest(min(expires_at), 'epoch'))::float8
                        from deleted having count(*) > 0) as "backlog?",
                    greatest((select count(*) from forgotten), (select count(*) from past)) >= $1 as "more!"
                from lock
                "#,
                i64::from(sweep.limit),
                SWEEP_LOCK,
                sweep.is_recorded,
                f64::from(sweep.keeps_events_for),
            ))
        })
        .await?;
    Ok(swept.map_or(Swept::Busy, Answer::into))
}

struct Answer {
    held: bool,
    deleted: i64,
    /// The number of seconds for which the oldest of the deleted rows had been due.
    backlog: Option<f64>,
    more: bool,
}

impl From<Answer> for Swept {
    fn from(answer: Answer) -> Self {
        let backlog = answer.backlog.and_then(|s| Duration::try_from_secs_f64(s).ok());
        if let Some(oldest) = backlog {
            metrics::backlog(oldest);
        }
        match (answer.held, answer.more) {
            (true, true) => Self::More(answer.deleted.unsigned_abs()),
            (true, false) => Self::Rows(answer.deleted.unsigned_abs()),
            (false, _) => Self::Busy,
        }
    }
}

/// For a distributed table: it cannot skip a locked row, and the plan of each shard is unknown.
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
                    null::float8 as "backlog?", (select count(*) from forgotten) >= $1 as "more!"
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
    // The rows of a distributed table are not on the pages of this server.
    if store.is_distributed().await? {
        return Ok(None);
    }
    // In the index's order, and at most as many rows as matter: a planner that expects many expired rows
    // would search the whole table.
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

pub(super) async fn sweep_pages(
    store: &PostgresStore,
    pages: Range<u32>,
    is_recorded: bool,
) -> Result<Swept> {
    match at_once(store, pages.clone(), is_recorded).await? {
        Some(swept) => Ok(swept),
        None => past_locked(store, pages, is_recorded).await,
    }
}

// All statements check expiry with an expression that fits no index (`valid_until` is never after
// `expires_at`). With statistics from before a wave of expiry, the planner would otherwise read all expired
// rows by the index, again for each range of pages. None of them stays prepared, for a similar reason: a
// plan that was made for a small table reads all of it.

/// The events and the deletion see one snapshot and one `now()`, so they agree on the rows. If a row has been
/// changed since then, the deletion fails, and its events are undone with it.
const IN_ONE_SNAPSHOT: &str = "begin isolation level repeatable read; set local synchronous_commit = off; set local lock_timeout = '50ms'; set local idle_in_transaction_session_timeout = '2s'";

/// Each statement sees the latest rows.
const PAST_LOCKED: &str = "begin isolation level read committed; set local synchronous_commit = off; set local idle_in_transaction_session_timeout = '2s'";

/// Reads the rows once for the events and once more to delete them: to return the deleted rows to the part of a
/// statement that writes the events takes longer. `None` if a row was locked, or was changed meanwhile. The kind of event is
/// a parameter, because two statements that write must not have parameters of the same types.
async fn at_once(
    store: &PostgresStore,
    pages: Range<u32>,
    is_recorded: bool,
) -> Result<Option<Swept>> {
    let (from, to) = (i64::from(pages.start), i64::from(pages.end));
    store
        .transaction(|connection| async move {
            let ended = connection.transaction(IN_ONE_SNAPSHOT, async |tx| {
                if !may_sweep(tx).await? {
                    return Ok(End::Rollback(Some(Swept::Busy)));
                }
                let mut tx = tx.unnamed();
                if is_recorded {
                    let record = query!(
                        r#"
                        -- Not where the table is distributed.
                        insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, reason)
                        select now(), $3, realm, id, user_id,
                            case when valid_until < absolute_expires_at then 'idle timeout' else 'absolute timeout' end
                        from sessile.sessions
                        where ctid >= ('(' || $1::bigint || ',0)')::tid and ctid < ('(' || $2::bigint || ',0)')::tid and greatest(expires_at, valid_until) < now()
                            and user_id is not null
                        "#,
                        from,
                        to,
                        "expired",
                    );
                    tx.execute(record).await?;
                }
                let delete = query!(
                    r#"
                    -- Not where the table is distributed.
                    delete from sessile.sessions
                    where ctid >= ('(' || $1::bigint || ',0)')::tid and ctid < ('(' || $2::bigint || ',0)')::tid and greatest(expires_at, valid_until) < now()
                    "#,
                    from,
                    to,
                );
                Ok(End::Commit(Some(Swept::Rows(tx.execute(delete).await?.rows_affected()))))
            });
            match ended.await {
                Err(error) if failure::is_locked(&error) || failure::is_outdated(&error) => {
                    Ok(Ended::As(None))
                }
                ended => ended,
            }
        })
        .await
}

/// Deletes the rows that are not locked.
async fn past_locked(store: &PostgresStore, pages: Range<u32>, is_recorded: bool) -> Result<Swept> {
    let (from, to) = (i64::from(pages.start), i64::from(pages.end));
    store
        .transaction(|connection| {
            connection.transaction(PAST_LOCKED, async |tx| {
                if !may_sweep(tx).await? {
                    return Ok(End::Rollback(Swept::Busy));
                }
                let delete = query!(
                    r#"
                    -- Not where the table is distributed.
                    with deleted as (
                        delete from sessile.sessions as s
                        using unnest(array(
                            select id from sessile.sessions
                            where ctid >= ('(' || $1::bigint || ',0)')::tid and ctid < ('(' || $2::bigint || ',0)')::tid and greatest(expires_at, valid_until) < now()
                            for update skip locked
                        )) as due (id)
                        where s.id = due.id
                        returning s.id, s.realm, s.user_id, s.valid_until, s.absolute_expires_at, s.expires_at
                    ), recorded as (
                        insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, reason)
                        select now(), 'expired', realm, id, user_id,
                            case when valid_until < absolute_expires_at then 'idle timeout' else 'absolute timeout' end
                        from deleted where $3 and user_id is not null
                    )
                    select count(*) as "deleted!" from deleted
                    "#,
                    from,
                    to,
                    is_recorded,
                );
                let done = tx.unnamed().one(delete).await?;
                Ok(End::Commit(Swept::Rows(done.deleted.unsigned_abs())))
            })
        })
        .await
}

/// Takes the lock for the rest of the transaction, unless another sweeper has it.
async fn may_sweep(tx: &mut Statements<'_, Postgres>) -> Result<bool, sqlx::Error> {
    let lock = query!(r#"select pg_try_advisory_xact_lock($1) as "is_taken!""#, SWEEP_LOCK);
    Ok(tx.one(lock).await?.is_taken)
}
