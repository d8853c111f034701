//! The part of migrations that both backends share.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migration, Migrator};

use crate::error::{Error, ErrorKind, Result};

/// Returns these migrations with their own ledger.
pub(super) fn migrator(migrations: &Migrator, ledger: &'static str) -> Migrator {
    let mut migrator = Migrator { migrations: migrations.migrations.clone(), ..Migrator::DEFAULT };
    migrator.dangerous_set_table_name(Cow::Borrowed(ledger));
    migrator
}

/// A row of the ledger.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    pub(super) version: i64,
    pub(super) checksum: Vec<u8>,
    pub(super) success: bool,
}

/// How a database's schema compares with this release.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Schema<'m> {
    /// The schema is this release's. Nothing must be locked or created then, which an application's role may
    /// not be allowed to do.
    Current,
    /// The schema has all of this release's migrations, and later ones.
    Newer,
    /// These migrations are missing, in this order.
    Lacks(Vec<&'m Migration>),
}

impl<'m> Schema<'m> {
    /// Compares by the ledger. Refuses a ledger for the same reasons as sqlx's own migrator.
    pub(super) fn of_ledger(
        applied: &[Applied],
        migrations: &'m Migrator,
    ) -> Result<Self, MigrateError> {
        let find = |version| applied.iter().find(|one| one.version == version);
        let ours = || migrations.iter().filter(|one| !one.migration_type.is_down_migration());
        if let Some(dirty) = applied.iter().find(|one| !one.success) {
            return Err(MigrateError::Dirty(dirty.version));
        }
        let lacks: Vec<_> = ours().filter(|one| find(one.version).is_none()).collect();
        let newest = ours().map(|one| one.version).max();
        let unknown = applied.iter().find(|one| ours().all(|other| other.version != one.version));
        if let Some(unknown) = unknown
            && (!lacks.is_empty() || Some(unknown.version) < newest)
        {
            return Err(MigrateError::VersionMissing(unknown.version));
        }
        let changed = ours()
            .find(|one| find(one.version).is_some_and(|applied| applied.checksum != *one.checksum));
        if let Some(changed) = changed {
            return Err(MigrateError::VersionMismatch(changed.version));
        }
        Ok(match (unknown, lacks) {
            (Some(_), _) => Self::Newer,
            (None, lacks) if lacks.is_empty() => Self::Current,
            (None, lacks) => Self::Lacks(lacks),
        })
    }
}

/// Checks whether this release can use a newer schema. `needs` is the only row of the schema's own table: the
/// migration that a release must know, and the release that introduced it.
pub(super) fn check_newer(migrations: &Migrator, needs: Option<(i64, &str)>) -> Result<()> {
    const THIS: &str = env!("CARGO_PKG_VERSION");
    let Some((needs_migration, needs_release)) = needs else {
        let message = "the database's schema is newer than this version of sessile, and its table session_schema does not say which release it needs: restore its row, or update the application";
        return Err(Error::new(ErrorKind::Schema, message));
    };
    let newest = migrations.iter().map(|migration| migration.version).max();
    if newest >= Some(needs_migration) {
        tracing::info!(target: "sessile", release = THIS, needs_release, "the schema is of a newer release, and good for this one");
        return Ok(());
    }
    let message = format!(
        "the database's schema needs sessile {needs_release} or newer, and this is {THIS}: update the application"
    );
    Err(Error::new(ErrorKind::Schema, message))
}
