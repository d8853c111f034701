//! The events that stand alone, and the log of cleanup runs.

use sqlx::{Sqlite, query};
use uuid::Uuid;

use crate::{
    error::Result,
    store::{
        CleanupRun, SupersededUse,
        connections::{Connections, Statements, Use},
    },
};

pub(super) async fn cleanup(writer: &Connections<Sqlite>, run: &CleanupRun) -> Result<()> {
    let elapsed = i64::try_from(run.elapsed.as_millis()).unwrap_or(i64::MAX);
    let (sessions, statements) = (run.sessions.cast_signed(), run.statements.cast_signed());
    let connection = writer.take(Use::Write).await?;
    connection
        .execute(query!(
            r#"
            insert into session_cleanup_log (started_at, ended_at, sessions, statements, error)
            select now - ?1, now, ?2, ?3, ?4
            from (select cast(round(unixepoch('subsec') * 1000) as integer) as now)
            "#,
            elapsed,
            sessions,
            statements,
            run.error,
        ))
        .await?;
    let connection = writer.take(Use::Write).await?;
    connection
        .execute(query!(
            "delete from session_cleanup_log where ended_at < cast(round(unixepoch('subsec') * 1000) as integer) - 1000 * ?1",
            run.keeps_runs_for,
        ))
        .await?;
    Ok(())
}

/// The index allows one a minute.
pub(super) async fn superseded(writer: &Connections<Sqlite>, used: &SupersededUse) -> Result<()> {
    let (id, realm, ip) = (used.id.as_uuid(), used.realm.as_str(), used.client.address());
    let connection = writer.take(Use::Write).await?;
    connection
        .execute(query!(
            r#"
            insert into session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason)
            values (cast(round(unixepoch('subsec') * 1000) as integer), 'superseded', ?1, ?2, ?3, ?4, ?5, ?6)
            on conflict do nothing
            "#,
            realm,
            id,
            used.user_id,
            ip,
            used.client.user_agent,
            used.reason,
        ))
        .await?;
    Ok(())
}

pub(super) async fn reauthenticated(
    tx: &mut Statements<'_, Sqlite>,
    id: Uuid,
) -> Result<(), sqlx::Error> {
    tx.execute(query!(
        r#"
        insert into session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, actor)
        select cast(round(unixepoch('subsec') * 1000) as integer), 'reauthenticated', realm, id, user_id, ip, user_agent, 'user'
        from sessions where id = ?1
        "#,
        id,
    ))
    .await?;
    Ok(())
}
