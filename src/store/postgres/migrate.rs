//! The migrations, in one transaction under the lock that sqlx's own migrator takes.
//!
//! Through a pooler, a statement must leave nothing behind on a connection, and must not be mistaken for another
//! one. So no statement here is prepared under a name, and each statement outside a transaction is one message.

mod lock;
mod rights;
#[cfg(test)]
mod tests;

use std::time::Duration;

use sqlx::{
    Connection, PgConnection, PgPool, Row,
    error::DatabaseError,
    migrate::{MigrateError, Migration, Migrator},
    query, raw_sql,
};
use tokio::time::Instant;

use self::rights::Rights;
use crate::{
    error::{Error, Result},
    store::{
        failure,
        migrations::{self, Applied, Schema},
    },
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The pause between two tries. Statements that wait for the table run meanwhile.
const PAUSE: Duration = Duration::from_millis(300);
/// How many times the migrations try to lock the table, for a second each time: see the migrations.
const TRIES: u32 = 20;
/// How long a migrator waits for another one.
const WAIT: Duration = Duration::from_secs(60);

/// This release's migrations, for an application that runs them itself or needs their text.
///
/// [`Sessions::migrate`](crate::Sessions::migrate) does not need this function. It does more than sqlx's
/// migrator. It waits for a locked table without making other statements wait, needs no unnecessary right, and names
/// a missing right. Both use the same ledger, `sessile._sqlx_migrations`, so one can continue after the other.
///
/// The migrator creates the schema `sessile` if it is missing. Its statement needs `create` on the database even if
/// the schema exists.
///
/// # Examples
///
/// Beside the application's own migrations, with sessile's ledger:
///
/// ```no_run
/// # async fn run(pool: sqlx::PgPool) -> Result<(), sqlx::migrate::MigrateError> {
/// sessile::store::postgres::migrator().run(&pool).await?;
/// # Ok(()) }
/// ```
///
/// As files, for sqlx-cli or for reading. `docs/operations.md` tells how to run them.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// for migration in sessile::store::postgres::migrator().iter() {
///     let name = migration.description.replace(' ', "_");
///     let suffix = migration.migration_type.suffix(); // ".up.sql" or ".down.sql"
///     let file = folder.join(format!("{}_{name}{suffix}", migration.version));
///     std::fs::write(file, migration.sql.as_str())?;
/// }
/// # assert!(folder.join("20261123000001_sessions.up.sql").exists());
/// # Ok(()) }
/// ```
pub fn migrator() -> Migrator {
    let mut migrator = migrations::migrator(&MIGRATIONS, "sessile._sqlx_migrations");
    migrator.create_schema("sessile");
    migrator
}

pub(super) async fn migrate(pool: &PgPool) -> Result<()> {
    migrate_within(pool, WAIT).await
}

async fn migrate_within(pool: &PgPool, wait: Duration) -> Result<()> {
    let found = find(&mut *pool.acquire().await?).await?;
    if found.lacks.is_empty() {
        return Ok(());
    }
    let key = lock::key(&found.rights.database);
    let deadline = Instant::now() + wait;
    let mut tries = 1;
    loop {
        // Detached and always closed, so that a dropped future gives no open transaction back to the pool.
        let mut connection = pool.acquire().await?.detach();
        let result = in_one_transaction(&mut connection, key, deadline).await;
        connection.close().await.ok();
        match result {
            Err(error) if error.is_transient() && tries < TRIES && Instant::now() < deadline => {
                tries += 1;
            }
            result => return result,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn in_one_transaction(
    connection: &mut PgConnection,
    key: i64,
    deadline: Instant,
) -> Result<()> {
    loop {
        // Not the role's default level, because this transaction must see the commits of other nodes.
        let mut tx = connection.begin_with("begin isolation level read committed").await?;
        if lock::take(&mut tx, key).await? {
            let limits = "set local statement_timeout = 0; set local lock_timeout = '900ms'";
            raw_sql(limits).execute(&mut *tx).await?;
            if let Err(error) = run(&mut tx).await {
                // Rolls back now, not when the server notices the closed connection: another node may wait for
                // the lock.
                tx.rollback().await.ok();
                return Err(error);
            }
            return Ok(tx.commit().await?);
        }
        if Instant::now() >= deadline {
            return Err(lock::is_held(&mut tx, key).await);
        }
        // The transaction must end before the pause. The other migrator may run `create index concurrently`,
        // which waits for every open transaction.
        tx.rollback().await?;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn run(tx: &mut PgConnection) -> Result<()> {
    // Another node may have migrated before this one got the lock.
    let Found { lacks, rights } = find(tx).await?;
    if lacks.is_empty() {
        return Ok(());
    }
    rights.to_migrate()?;
    if !rights.has_schema {
        create(tx, &rights, "create schema sessile").await?;
    }
    if !rights.has_ledger {
        // The same ledger as sqlx creates.
        let ledger = "create table sessile._sqlx_migrations (
                version bigint primary key,
                description text not null,
                installed_on timestamptz not null default now(),
                success boolean not null,
                checksum bytea not null,
                execution_time bigint not null
            )";
        create(tx, &rights, ledger).await?;
    }
    for migration in lacks {
        let Err(error) = apply(tx, migration).await else { continue };
        let code = error.as_database_error().and_then(DatabaseError::code);
        return Err(match code.as_deref() {
            Some(rights::REFUSED) => rights.refused(error),
            _ => failure::of_migration(MigrateError::ExecuteMigration(error, migration.version)),
        });
    }
    Ok(())
}

async fn create(tx: &mut PgConnection, rights: &Rights, statement: &'static str) -> Result<()> {
    let Err(error) = raw_sql(statement).execute(tx).await else { return Ok(()) };
    let code = error.as_database_error().and_then(DatabaseError::code);
    match code.as_deref() {
        Some(rights::REFUSED) => Err(rights.refused(error)),
        // sqlx-cli creates the schema and the ledger before it takes the lock. It was faster: the next try finds
        // them.
        Some("42P06" | "42P07" | "23505") => Err(Error::from(error).transient()),
        _ => Err(error.into()),
    }
}

/// Runs a migration as sqlx does, but in the transaction of the caller.
async fn apply(tx: &mut PgConnection, migration: &Migration) -> Result<(), sqlx::Error> {
    let begun = Instant::now();
    raw_sql(migration.sql.clone()).execute(&mut *tx).await?;
    let insert = "insert into sessile._sqlx_migrations (version, description, success, checksum, execution_time)
        values ($1, $2, true, $3, $4)";
    let took = i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX);
    query(insert)
        .bind(migration.version)
        .bind(&*migration.description)
        .bind(&*migration.checksum)
        .bind(took)
        .persistent(false)
        .execute(tx)
        .await?;
    Ok(())
}

/// The missing migrations, and the rights of the role.
struct Found {
    lacks: Vec<&'static Migration>,
    rights: Rights,
}

/// Needs only the right to read the ledger. An error if the schema does not fit this release.
async fn find(connection: &mut PgConnection) -> Result<Found> {
    let rights = Rights::of_role(connection).await?;
    rights.check_encoding()?;
    rights.to_read()?;
    let ledger = "select version, checksum, success from sessile._sqlx_migrations order by version";
    let rows = match rights.has_ledger {
        true => raw_sql(ledger).fetch_all(&mut *connection).await?,
        false => Vec::new(),
    };
    let applied = rows.iter().map(|row| {
        Ok(Applied {
            version: row.try_get("version")?,
            checksum: row.try_get("checksum")?,
            success: row.try_get("success")?,
        })
    });
    let applied: Vec<_> = applied.collect::<Result<_, sqlx::Error>>()?;
    let lacks = match Schema::of_ledger(&applied, &MIGRATIONS).map_err(failure::of_migration)? {
        Schema::Lacks(lacks) => lacks,
        Schema::Current => Vec::new(),
        Schema::Newer => {
            rights.to_read_needs()?;
            check_newer(connection).await?;
            Vec::new()
        }
    };
    Ok(Found { lacks, rights })
}

async fn check_newer(connection: &mut PgConnection) -> Result<()> {
    let needs = "select needs_migration, needs_release from sessile.session_schema";
    let row = raw_sql(needs).fetch_optional(connection).await?;
    let needs: Option<(i64, String)> = match &row {
        Some(row) => Some((row.try_get("needs_migration")?, row.try_get("needs_release")?)),
        None => None,
    };
    migrations::check_newer(&MIGRATIONS, needs.as_ref().map(|(at, by)| (*at, by.as_str())))
}
