//! What deletes expired rows: by the index while there are few, by their place in the table where
//! there are many.

use std::ops::Range;

use sqlx::query;

use super::PostgresStore;
use crate::{
    error::Result,
    store::{Survey, Swept},
};

/// The lock that a sweep holds while it deletes: any constant that no application is likely to
/// have.
const SWEEP_LOCK: i64 = 0x7365_7373_696c_6501;

pub(super) async fn sweep(store: &PostgresStore, limit: u32) -> Result<Swept> {
    // The lock ends with the statement, so that no dropped future and no pooled connection can
    // keep it. So does the setting: a deletion of expired rows that a crash undoes is made again,
    // and nobody need wait for the disk. `expires_at` is asked again in the DELETE: a touch may
    // have moved it since the CTE read it.
    let swept = store
        .write(|connection| {
            connection.one(query!(
                r#"
                with lock as materialized (
                    select pg_try_advisory_xact_lock($2) as held, set_config('synchronous_commit', 'off', true)
                ), due as materialized (
                    select id from sessile.sessions
                    where expires_at < now() and (select held from lock)
                    order by expires_at
                    limit $1
                ), deleted as (
                    delete from sessile.sessions as s using due
                    where s.id = due.id and s.expires_at < now()
                    returning 1
                ), forgotten as (
                    delete from sessile.session_cutoffs
                    where used_at < now() - interval '1 day' and (select held from lock)
                )
                select held as "held!", (select count(*) from deleted) as "deleted!" from lock
                "#,
                i64::from(limit),
                SWEEP_LOCK,
            ))
        })
        .await?;
    Ok(if swept.held { Swept::Rows(swept.deleted.unsigned_abs()) } else { Swept::Busy })
}

pub(super) async fn survey(store: &PostgresStore) -> Result<Option<Survey>> {
    let found = store
        .write(|connection| {
            connection.one(query!(
                r#"
                select pg_relation_size('sessile.sessions') / current_setting('block_size')::bigint as "pages!",
                    (select count(*) from (
                        select from sessile.sessions where expires_at < now() limit 200000
                    ) as expired) as "expired!"
                "#
            ))
        })
        .await?;
    let pages = u32::try_from(found.pages).unwrap_or(u32::MAX);
    Ok(Some(Survey { pages, expired: found.expired.unsigned_abs() }))
}

pub(super) async fn sweep_pages(store: &PostgresStore, pages: Range<u32>) -> Result<Swept> {
    let (from, to) = (format!("({},0)", pages.start), format!("({},0)", pages.end));
    // Without a CTE and its RETURNING, which cost a third more. The condition without a column is
    // asked once, before anything is read.
    let deleted = store
        .write(|connection| {
            connection.execute(query!(
                r#"
                delete from sessile.sessions
                where ctid >= $1::text::tid and ctid < $2::text::tid and expires_at < now()
                    and (select pg_try_advisory_xact_lock($3) and set_config('synchronous_commit', 'off', true) = 'off')
                "#,
                from,
                to,
                SWEEP_LOCK,
            ))
        })
        .await?
        .rows_affected();
    if deleted == 0 && is_busy(store).await? {
        return Ok(Swept::Busy);
    }
    Ok(Swept::Rows(deleted))
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
