//! What deletes expired rows.

use sqlx::{Sqlite, query};

use crate::{
    error::Result,
    store::{
        Swept,
        connections::{Connections, Use},
    },
};

pub(super) async fn sweep(writer: &Connections<Sqlite>, limit: u32) -> Result<Swept> {
    // SQLite's write lock is the lock that one sweeper at a time holds.
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
    connection
        .execute(query!(
            "delete from session_cutoffs where used_at < cast(round(unixepoch('subsec') * 1000) as integer) - 86400000"
        ))
        .await?;
    Ok(Swept::Rows(deleted))
}
