//! Deletes expired rows, and cut-offs and events that are no longer needed.

use std::time::Duration;

use sqlx::{Sqlite, query};

use crate::{
    error::Result,
    metrics,
    store::{
        Sweep, Swept,
        connections::{Connections, Statements, Use},
        failure,
    },
};

/// Returns the result, and how many rows it wrote.
pub(super) async fn sweep(writer: &Connections<Sqlite>, sweep: &Sweep) -> Result<(Swept, u64)> {
    // SQLite's write lock makes sure that one sweeper deletes at a time. Between the statements, other writers
    // get their turn.
    let connection = writer.take(Use::Write).await?;
    let deleted = super::in_transaction(connection, async |tx| delete(tx, sweep).await).await;
    let (deleted, backlog) = deleted.map_err(failure::of_write)?;
    if let Some(oldest) = backlog {
        metrics::backlog(oldest);
    }
    let connection = writer.take(Use::Write).await?;
    let forgotten = connection
        .execute(query!(
            r#"
            delete from session_cutoffs where user_id in (
                select user_id from session_cutoffs
                where used_at < cast(round(unixepoch('subsec') * 1000) as integer) - 86400000
                order by used_at
                limit ?1
            )
            "#,
            sweep.limit,
        ))
        .await?
        .rows_affected();
    let connection = writer.take(Use::Write).await?;
    let past = connection
        .execute(query!(
            r#"
            delete from session_event_log where rowid in (
                select rowid from session_event_log
                where at < cast(round(unixepoch('subsec') * 1000) as integer) - 1000 * ?2
                order by at
                limit ?1
            )
            "#,
            sweep.limit,
            sweep.keeps_events_for,
        ))
        .await?
        .rows_affected();
    let is_all = forgotten.max(past) < u64::from(sweep.limit);
    let swept = if is_all { Swept::Rows(deleted) } else { Swept::More(deleted) };
    Ok((swept, deleted + forgotten + past))
}

/// Returns how many rows it deleted, and how long the oldest of them had been due.
async fn delete(
    tx: &mut Statements<'_, Sqlite>,
    sweep: &Sweep,
) -> Result<(u64, Option<Duration>), sqlx::Error> {
    // Each statement has its own time, and both must find the same rows.
    let due = query!(
        r#"
        select cast(round(unixepoch('subsec') * 1000) as integer) as "now!: i64",
            (select min(expires_at) from sessions) as "oldest: i64"
        "#
    );
    let due = tx.one(due).await?;
    let now = due.now;
    let past = due.oldest.map(|oldest| now.saturating_sub(oldest.max(0)));
    let backlog = past.and_then(|past| u64::try_from(past).ok()).filter(|past| *past > 0);
    if sweep.is_recorded {
        tx.execute(query!(
            r#"
            insert into session_event_inbox (at, event, realm, session_id, user_id, reason)
            select ?2, 'expired', realm, id, user_id, iif(valid_until < absolute_expires_at, 'idle timeout', 'absolute timeout')
            from sessions where id in (select id from sessions where expires_at < ?2 order by expires_at limit ?1)
                and user_id is not null
            "#,
            sweep.limit,
            now,
        ))
        .await?;
    }
    let deleted = tx.execute(query!(
        r#"
        delete from sessions where id in (select id from sessions where expires_at < ?2 order by expires_at limit ?1)
        "#,
        sweep.limit,
        now,
    ));
    Ok((deleted.await?.rows_affected(), backlog.map(Duration::from_millis)))
}
