//! The events that nothing else writes, and the log of cleanup runs.

use sqlx::query;

use super::PostgresStore;
use crate::{
    error::Result,
    store::{CleanupRun, SupersededUse},
};

pub(super) async fn cleanup(store: &PostgresStore, run: &CleanupRun) -> Result<()> {
    if store.is_distributed().await? {
        return Ok(());
    }
    let (sessions, statements) = (run.sessions.cast_signed(), run.statements.cast_signed());
    store
        .write(|connection| {
            connection.execute(query!(
                r#"
                -- Not where the table is distributed.
                with old as (
                    delete from sessile.session_cleanup_log where ended_at < now() - make_interval(secs => $5)
                )
                insert into sessile.session_cleanup_log (started_at, ended_at, sessions, statements, error)
                values (now() - make_interval(secs => $1), now(), $2, $3, $4)
                "#,
                run.elapsed.as_secs_f64(),
                sessions,
                statements,
                run.error,
                f64::from(run.keeps_runs_for),
            ))
        })
        .await?;
    Ok(())
}

/// The index allows one a minute.
pub(super) async fn superseded(store: &PostgresStore, used: &SupersededUse) -> Result<()> {
    if store.is_distributed().await? {
        return Ok(());
    }
    store
        .write(|connection| {
            connection.execute(query!(
                r#"
                -- Not where the table is distributed.
                insert into sessile.session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason)
                values (now(), 'superseded', $1, $2, $3, $4::text::inet, $5, $6)
                on conflict do nothing
                "#,
                used.realm.as_str(),
                used.id.as_uuid(),
                used.user_id,
                used.client.address(),
                used.client.user_agent,
                used.reason,
            ))
        })
        .await?;
    Ok(())
}
