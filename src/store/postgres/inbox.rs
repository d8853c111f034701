//! Files events: moves them from the inbox, which has no index, into the log.

use sqlx::query;

use super::{PostgresStore, sweep::SWEEP_LOCK};
use crate::{error::Result, store::Filed};

/// The most pages that a statement reads. All of them may be empty, until a vacuum gives them back.
const PAGES: u32 = 3_000;

/// `from` is a page. Deleted rows stay on their pages until a vacuum. If each statement began at the first page, it would
/// read again all rows that the statements before had filed.
pub(super) async fn file(store: &PostgresStore, from: u64, limit: u32) -> Result<Filed> {
    if store.is_distributed().await? {
        return Ok(Filed::default());
    }
    let begin = u32::try_from(from).unwrap_or(u32::MAX);
    let end = begin.saturating_add(PAGES);
    let (first, last) = (&format!("({begin},0)"), &format!("({end},0)"));
    let filed = store
        .write(|connection| async move {
            // The lock and the setting end with the statement, as in a sweep. If a crash undoes the statement, the events
            // are in the inbox again. The log's index of users takes events in its own order faster.
            let file = query!(
                r#"
                -- Not where the table is distributed.
                with lock as materialized (
                    select pg_try_advisory_xact_lock($4) and set_config('synchronous_commit', 'off', true) = 'off' as held
                ), taken as (
                    delete from sessile.session_event_inbox
                    where ctid = any(array(
                        select ctid from sessile.session_event_inbox
                        where ctid >= $1::text::tid and ctid < $2::text::tid and (select held from lock)
                        limit $3
                        for update skip locked
                    ))
                    returning ctid as place, at, event, realm, session_id, user_id, ip, user_agent, reason, actor
                ), filed as (
                    insert into sessile.session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
                    select at, event, realm, session_id, user_id, ip, user_agent, reason, actor
                    from taken
                    order by user_id, at
                )
                select count(*) as "events!", (max(place)::text::point)[0]::bigint as last_page,
                    pg_relation_size('sessile.session_event_inbox') / current_setting('block_size')::bigint as "pages!"
                from taken
                "#,
                first,
                last,
                i64::from(limit),
                SWEEP_LOCK,
            );
            // Planned each time: a plan for a small inbox would read all of a large one.
            connection.single(async |tx| tx.unnamed().one(file).await).await
        })
        .await?;
    let next = if filed.events >= i64::from(limit) {
        // The page may have more.
        filed.last_page
    } else {
        Some(i64::from(end)).filter(|end| *end < filed.pages)
    };
    Ok(Filed { events: filed.events.unsigned_abs(), next: next.map(i64::unsigned_abs) })
}
