use std::collections::BTreeSet;

use sqlx::{
    AssertSqlSafe, Connection, Sqlite, SqliteConnection,
    migrate::{Migration, Migrator},
    query, query_scalar,
};

use crate::{
    error::{Error, ErrorKind, Result},
    store::{
        connections::{Connections, Use},
        failure,
        migrations::{self, Applied, Schema},
    },
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a node waits for another node's migration, in milliseconds. This is longer than a request waits.
const WAIT: u32 = 60_000;

/// This release's migrations, for an application that runs them itself or needs their text.
///
/// [`Sessions::migrate`](crate::Sessions::migrate) does not need this function. It does more than sqlx's
/// migrator. Nodes that start at once wait for each other, and the call refuses a file with tables of the application
/// under sessile's names before it changes anything. Both use the same ledger, `_sessile_migrations`, so one can
/// continue after the other.
///
/// # Examples
///
/// Beside the application's own migrations, with sessile's ledger. sqlx takes no lock on SQLite, so run it in one
/// process at a time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::SqlitePool::connect("sqlite::memory:").await?;
/// sessile::store::sqlite::migrator().run(&pool).await?;
/// # Ok(()) }
/// ```
///
/// As files, for sqlx-cli or for reading. `docs/operations.md` tells how to run them.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// for migration in sessile::store::sqlite::migrator().iter() {
///     let name = migration.description.replace(' ', "_");
///     let suffix = migration.migration_type.suffix(); // ".up.sql" or ".down.sql"
///     let file = folder.join(format!("{}_{name}{suffix}", migration.version));
///     std::fs::write(file, migration.sql.as_str())?;
/// }
/// # assert!(folder.join("20261123000001_sessions.up.sql").exists());
/// # Ok(()) }
/// ```
pub fn migrator() -> Migrator {
    migrations::migrator(&MIGRATIONS, "_sessile_migrations")
}

pub(super) async fn migrate(writer: &Connections<Sqlite>) -> Result<()> {
    let mut connection = writer.take(Use::Transaction).await?;
    let used = connection.begin_use();
    let before: u32 = query_scalar("pragma busy_timeout").fetch_one(&mut *used).await?;
    wait_for(used, WAIT).await?;
    let result = run(used).await;
    wait_for(used, before).await?;
    connection.end_use();
    result
}

/// Sets how long a statement of this connection waits for the lock of another connection.
async fn wait_for(connection: &mut SqliteConnection, millis: u32) -> Result<(), sqlx::Error> {
    let set = format!("pragma busy_timeout = {millis}");
    query(AssertSqlSafe(set)).execute(connection).await.map(drop)
}

/// Runs all missing migrations in one transaction that holds the write lock from the start. sqlx takes no lock on
/// SQLite, so without this, nodes that start at once would run the same migrations.
async fn run(connection: &mut SqliteConnection) -> Result<()> {
    if lacks(connection).await?.is_empty() {
        return Ok(());
    }
    let mut tx = connection.begin_with("begin immediate").await?;
    let lacks = lacks(&mut tx).await?;
    check_names(&mut tx, &lacks).await?;
    if !lacks.is_empty() {
        migrator().run_direct(None, &mut *tx, false).await.map_err(failure::of_migration)?;
    }
    Ok(tx.commit().await?)
}

/// The missing migrations. An error if the schema does not fit this release.
async fn lacks(connection: &mut SqliteConnection) -> Result<Vec<&'static Migration>> {
    let ledger = query!(
        r#"select count(*) as "tables!: i64" from sqlite_schema where name = '_sessile_migrations'"#
    );
    let mut applied = Vec::new();
    if ledger.fetch_one(&mut *connection).await?.tables > 0 {
        applied = query!(r#"select version as "version!", checksum, success from _sessile_migrations order by version"#)
            .map(|row| Applied { version: row.version, checksum: row.checksum, success: row.success })
            .fetch_all(&mut *connection)
            .await?;
    }
    match Schema::of_ledger(&applied, &MIGRATIONS).map_err(failure::of_migration)? {
        Schema::Lacks(lacks) => Ok(lacks),
        Schema::Current => Ok(Vec::new()),
        Schema::Newer => check_newer(connection).await.map(|()| Vec::new()),
    }
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

/// An error if the file has an object of the application under a name that a migration is about to use. Unlike
/// Postgres, SQLite has no schemas that keep the two apart.
async fn check_names(connection: &mut SqliteConnection, lacks: &[&Migration]) -> Result<()> {
    let new: BTreeSet<_> = lacks.iter().flat_map(|one| new_names(one.sql.as_str())).collect();
    for new in new {
        let found = query!(
            r#"select type as "what!", name as "name!" from sqlite_schema where name = ?1 collate nocase and type <> 'trigger'"#,
            new,
        )
        .fetch_optional(&mut *connection)
        .await?;
        let Some(found) = found else { continue };
        let message = format!(
            "the SQLite file has a {} {} that is not sessile's, and sessile needs the name: give sessile a file of its own, such as sessile::connect(\"sqlite://sessions.db\"), or rename yours. Nothing was changed",
            found.what, found.name
        );
        return Err(Error::new(ErrorKind::Schema, message));
    }
    Ok(())
}

/// The names that a migration's text creates, except names that it has dropped before.
fn new_names(sql: &str) -> BTreeSet<&str> {
    let mut dropped = BTreeSet::new();
    let mut new = BTreeSet::new();
    for line in sql.lines() {
        let mut words = line.split([' ', ';', '(']).filter(|word| *word != "unique");
        let (verb, kind, name) = (words.next(), words.next(), words.next());
        let (Some(name), Some("table" | "view" | "index")) = (name, kind) else { continue };
        match verb {
            Some("drop") => drop(dropped.insert(name)),
            Some("create") if !dropped.contains(name) => drop(new.insert(name)),
            _ => {}
        }
    }
    new
}
