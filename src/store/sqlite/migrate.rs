use sqlx::{Connection, Sqlite, SqliteConnection, migrate::Migrator, query};

use crate::{
    error::Result,
    store::{
        connections::{Connections, Use},
        failure,
        migrations::{self, Schema},
    },
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// All of it in one transaction that holds the write lock from the start: sqlx takes no lock on
/// SQLite, and nodes that start at once would each run what the other one runs.
pub(super) async fn migrate(writer: &Connections<Sqlite>) -> Result<()> {
    let mut connection = writer.take(Use::Write).await?;
    match schema(&mut connection).await {
        Schema::Current => return Ok(()),
        Schema::Newer => return check_newer(&mut connection).await,
        Schema::Other => {}
    }
    let migrator = migrations::migrator(&MIGRATIONS, "_sessile_migrations");
    let mut tx = connection.begin_with("begin immediate").await?;
    migrator.run_direct(None, &mut *tx, false).await.map_err(failure::of_migration)?;
    tx.commit().await?;
    Ok(())
}

/// An error, of a ledger that is not there above all, is for the migrator to meet.
async fn schema(connection: &mut SqliteConnection) -> Schema {
    let applied = query!(r#"select version as "version!", checksum from _sessile_migrations where success order by version"#)
        .map(|row| (row.version, row.checksum))
        .fetch_all(connection)
        .await;
    applied.map_or(Schema::Other, |applied| Schema::of_ledger(&applied, &MIGRATIONS))
}

async fn check_newer(connection: &mut SqliteConnection) -> Result<()> {
    let needs = query!(
        r#"select needs_migration as "migration!", needs_release as "release!" from session_schema"#
    )
    .fetch_optional(connection)
    .await?;
    let needs = needs.as_ref().map(|row| (row.migration, row.release.as_str()));
    migrations::check_newer(&MIGRATIONS, needs)
}
