use sqlx::{Connection, PgPool, migrate::Migrator, query};

use crate::{
    error::Result,
    store::{failure, migrations},
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Under sqlx's advisory lock, which `sqlx migrate run` takes too.
pub(super) async fn migrate(pool: &PgPool) -> Result<()> {
    if is_current(pool).await {
        return Ok(());
    }
    let mut migrator = migrations::migrator(&MIGRATIONS, "sessile._sqlx_migrations");
    migrator.create_schema("sessile");
    // The lock is the connection's, and stays with it when a migration fails: so this one is not
    // given back.
    let mut connection = pool.acquire().await?.detach();
    let result = migrator.run_direct(None, &mut connection, false).await;
    connection.close().await.ok();
    result.map_err(failure::of_migration)
}

/// An error, of a ledger that is not there above all, is for the migrator to meet.
async fn is_current(pool: &PgPool) -> bool {
    let applied = query!(
        "select version, checksum from sessile._sqlx_migrations where success order by version"
    )
    .map(|row| (row.version, row.checksum))
    .fetch_all(pool)
    .await;
    applied.is_ok_and(|applied| migrations::are_current(&applied, &MIGRATIONS))
}
