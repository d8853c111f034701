use sqlx::{SqlitePool, migrate::Migrator};

use crate::{error::Result, store::failure};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// All of it in one transaction that holds the write lock from the start: sqlx takes no lock on SQLite, and nodes
/// that start at once would each run what the other one runs.
pub(super) async fn migrate(pool: &SqlitePool) -> Result<()> {
    let mut migrator = Migrator { migrations: MIGRATIONS.migrations.clone(), ..Migrator::DEFAULT };
    migrator.dangerous_set_table_name("_sessile_migrations");
    let mut tx = pool.begin_with("begin immediate").await?;
    migrator.run_direct(None, &mut *tx, false).await.map_err(failure::of_migration)?;
    tx.commit().await?;
    Ok(())
}
