use sqlx::{Connection, Sqlite, SqliteConnection, migrate::Migrator, query};

use crate::{
    error::Result,
    store::{connections::Connections, failure, migrations},
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// All of it in one transaction that holds the write lock from the start: sqlx takes no lock on
/// SQLite, and nodes that start at once would each run what the other one runs.
pub(super) async fn migrate(writer: &Connections<Sqlite>) -> Result<()> {
    let mut connection = writer.take().await?;
    if is_current(&mut connection).await {
        return Ok(());
    }
    let migrator = migrations::migrator(&MIGRATIONS, "_sessile_migrations");
    let mut tx = connection.begin_with("begin immediate").await?;
    migrator.run_direct(None, &mut *tx, false).await.map_err(failure::of_migration)?;
    tx.commit().await?;
    Ok(())
}

/// An error, of a ledger that is not there above all, is for the migrator to meet.
async fn is_current(connection: &mut SqliteConnection) -> bool {
    let applied = query!(r#"select version as "version!", checksum from _sessile_migrations where success order by version"#)
        .map(|row| (row.version, row.checksum))
        .fetch_all(connection)
        .await;
    applied.is_ok_and(|applied| migrations::are_current(&applied, &MIGRATIONS))
}
