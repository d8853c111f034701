use std::time::Duration;

use sqlx::{Connection, PgPool, migrate::Migrator, query};

use crate::{
    error::Result,
    store::{
        failure,
        migrations::{self, Schema},
    },
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Between two tries, so that those that wait for the table get their turn.
const PAUSE: Duration = Duration::from_millis(300);
/// How often it is tried to lock the table, for a second each time: see the migrations.
const TRIES: u32 = 20;

/// Under sqlx's advisory lock, which `sqlx migrate run` takes too.
pub(super) async fn migrate(pool: &PgPool) -> Result<()> {
    match schema(pool).await {
        Schema::Current => return Ok(()),
        Schema::Newer => return check_newer(pool).await,
        Schema::Other => {}
    }
    let mut migrator = migrations::migrator(&MIGRATIONS, "sessile._sqlx_migrations");
    migrator.create_schema("sessile");
    let mut tries = 1;
    loop {
        // The lock is the connection's, and stays with it when a migration fails: so this one is
        // not given back.
        let mut connection = pool.acquire().await?.detach();
        let result = migrator.run_direct(None, &mut connection, false).await;
        connection.close().await.ok();
        match result.map_err(failure::of_migration) {
            Err(error) if error.is_transient() && tries < TRIES => tries += 1,
            result => return result,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// An error, of a ledger that is not there above all, is for the migrator to meet.
async fn schema(pool: &PgPool) -> Schema {
    let applied = query!(
        "select version, checksum from sessile._sqlx_migrations where success order by version"
    )
    .map(|row| (row.version, row.checksum))
    .fetch_all(pool)
    .await;
    applied.map_or(Schema::Other, |applied| Schema::of_ledger(&applied, &MIGRATIONS))
}

async fn check_newer(pool: &PgPool) -> Result<()> {
    let needs = query!("select needs_migration, needs_release from sessile.session_schema")
        .fetch_optional(pool)
        .await?;
    let needs = needs.as_ref().map(|row| (row.needs_migration, row.needs_release.as_str()));
    migrations::check_newer(&MIGRATIONS, needs)
}
