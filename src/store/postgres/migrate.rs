use sqlx::{Connection, PgPool, migrate::Migrator};

use crate::{error::Result, store::failure};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Under sqlx's advisory lock, which `sqlx migrate run` takes too.
pub(super) async fn migrate(pool: &PgPool) -> Result<()> {
    let mut migrator = Migrator { migrations: MIGRATIONS.migrations.clone(), ..Migrator::DEFAULT };
    migrator.dangerous_set_table_name("sessile._sqlx_migrations");
    migrator.create_schema("sessile");
    // The lock is the connection's, and stays with it when a migration fails: so this one is not given back.
    let mut connection = pool.acquire().await?.detach();
    let result = migrator.run_direct(None, &mut connection, false).await;
    connection.close().await.ok();
    result.map_err(failure::of_migration)
}
