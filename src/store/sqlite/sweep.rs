//! Deletes expired rows, and cut-offs that are no longer needed.

use sqlx::{Sqlite, query};

use crate::{
    error::Result,
    store::{
        Swept,
        connections::{Connections, Use},
    },
};

/// Returns the result, and how many rows it wrote.
pub(super) async fn sweep(writer: &Connections<Sqlite>, limit: u32) -> Result<(Swept, u64)> {
    // SQLite's write lock makes sure that one sweeper deletes at a time. Between the two statements, other
    // writers get their turn.
    let connection = writer.take(Use::Write).await?;
    let deleted = connection
        .execute(query!(
            r#"
            delete from sessions where id in (
                select id from sessions
                where expires_at < cast(round(unixepoch('subsec') * 1000) as integer)
                order by expires_at
                limit ?1
            )
            "#,
            limit,
        ))
        .await?
        .rows_affected();
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
            limit,
        ))
        .await?
        .rows_affected();
    let is_all = forgotten < u64::from(limit);
    Ok((if is_all { Swept::Rows(deleted) } else { Swept::More(deleted) }, deleted + forgotten))
}
