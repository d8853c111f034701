//! The room that a session takes.

use anyhow::Result;
use sqlx::Row;

use crate::{
    figure::{Figure, row},
    peers::{Backend, Contender, Home, Name},
    postgres::Database,
    scale::Scale,
};

/// Of a store that was just filled and vacuumed. The raw stores have sessile's table.
pub(crate) async fn of(backend: Backend, store: &Contender, scale: &Scale) -> Result<Vec<Figure>> {
    let is_sessiles =
        matches!(store.name, Name::RawSqlx | Name::RawTokioPostgres | Name::SessileCached);
    let case = format!("{}, {backend}", store.name);
    Ok(match &store.home {
        Home::Postgres(database) if !is_sessiles => {
            postgres(database, &case, scale.postgres_sessions as f64).await?
        }
        Home::File(path) if !is_sessiles => {
            let bytes = std::fs::metadata(path)?.len() as f64;
            row("size", case, [("bytes a session", bytes / scale.sqlite_sessions as f64)])
        }
        _ => Vec::new(),
    })
}

async fn postgres(database: &Database, case: &str, sessions: f64) -> Result<Vec<Figure>> {
    // The largest table contains the sessions.
    let sizes = sqlx::query(
        "select pg_table_size(c.oid)::float8 as heap,
             coalesce(sum(pg_relation_size(i.indexrelid)) filter (where i.indisprimary), 0)::float8
                 as primary_key,
             coalesce(sum(pg_relation_size(i.indexrelid)) filter (where not i.indisprimary), 0)::float8
                 as others
         from pg_class as c left join pg_index as i on i.indrelid = c.oid
         where c.relkind = 'r' group by c.oid order by heap desc limit 1",
    )
    .fetch_one(&database.pool)
    .await?;
    let a_session =
        |column: &str| Ok::<_, sqlx::Error>(sizes.try_get::<f64, _>(column)? / sessions);
    let (heap, key, others) = (a_session("heap")?, a_session("primary_key")?, a_session("others")?);
    Ok(row(
        "size",
        case,
        [
            ("bytes a session", heap + key + others),
            ("table", heap),
            ("primary key", key),
            ("other indexes", others),
        ],
    ))
}
