//! What both backends' migrations have in common.

use std::borrow::Cow;

use sqlx::migrate::Migrator;

use crate::error::{Error, ErrorKind, Result};

/// These migrations, with a ledger of their own.
pub(super) fn migrator(migrations: &Migrator, ledger: &'static str) -> Migrator {
    let mut migrator = Migrator { migrations: migrations.migrations.clone(), ..Migrator::DEFAULT };
    migrator.dangerous_set_table_name(Cow::Borrowed(ledger));
    migrator
}

/// How a database's schema stands to this release.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// They are of one release. Nothing has to be locked or created then, which an application's
    /// role may not be allowed to.
    Current,
    /// All of this release's migrations are there, and later ones.
    Newer,
    /// Something is missing, or is not what it should be: for the migrator to do, or to refuse.
    Other,
}

impl Schema {
    /// By the ledger's versions and checksums, in their order.
    pub(super) fn of_ledger(applied: &[(i64, Vec<u8>)], migrations: &Migrator) -> Self {
        let ours = migrations.iter().filter(|one| !one.migration_type.is_down_migration());
        let ours: Vec<_> = ours.map(|one| (one.version, &*one.checksum)).collect();
        let applied: Vec<_> =
            applied.iter().map(|(version, checksum)| (*version, checksum.as_slice())).collect();
        match applied.strip_prefix(ours.as_slice()) {
            Some([]) => Self::Current,
            Some(_) => Self::Newer,
            None => Self::Other,
        }
    }
}

/// Whether this release can use a newer schema. The schema itself says which migration a release has
/// to hold at least, and which release brought it: `needs`, its only row.
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
