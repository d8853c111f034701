//! Files events: moves them from the inbox, which has no index, into the log.

use sqlx::{Sqlite, query};

use crate::{
    error::Result,
    store::{
        Filed,
        connections::{Connections, Statements, Use},
        failure,
    },
};

/// `from` is the row after which the statements begin.
pub(super) async fn file(writer: &Connections<Sqlite>, from: u64, limit: u32) -> Result<Filed> {
    let connection = writer.take(Use::Write).await?;
    let filed = super::in_transaction(connection, async |tx| move_events(tx, from, limit).await);
    filed.await.map_err(failure::of_write)
}

async fn move_events(
    tx: &mut Statements<'_, Sqlite>,
    from: u64,
    limit: u32,
) -> Result<Filed, sqlx::Error> {
    let from = from.cast_signed();
    let last = query!(
        r#"
        select max(place) as "place: i64" from (
            select rowid as place from session_event_inbox where rowid > ?1 order by rowid limit ?2
        )
        "#,
        from,
        limit,
    );
    let Some(last) = tx.one(last).await?.place else { return Ok(Filed::default()) };
    // The log's index of users takes events in its own order faster.
    tx.execute(query!(
        r#"
        insert into session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
        select at, event, realm, session_id, user_id, ip, user_agent, reason, actor
        from session_event_inbox where rowid > ?1 and rowid <= ?2
        order by user_id, at
        "#,
        from,
        last,
    ))
    .await?;
    let filed = tx
        .execute(query!(
            "delete from session_event_inbox where rowid > ?1 and rowid <= ?2",
            from,
            last,
        ))
        .await?;
    let events = filed.rows_affected();
    Ok(Filed { events, next: (events >= u64::from(limit)).then_some(last.cast_unsigned()) })
}
