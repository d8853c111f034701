//! What both backends' migrations have in common.

use std::borrow::Cow;

use sqlx::migrate::Migrator;

/// These migrations, with a ledger of their own.
pub(super) fn migrator(migrations: &Migrator, ledger: &'static str) -> Migrator {
    let mut migrator = Migrator { migrations: migrations.migrations.clone(), ..Migrator::DEFAULT };
    migrator.dangerous_set_table_name(Cow::Borrowed(ledger));
    migrator
}

/// Whether these, version and checksum, are all that there are. Then nothing has to be locked or
/// created, which an application's role may not be allowed to.
pub(super) fn are_current(applied: &[(i64, Vec<u8>)], migrations: &Migrator) -> bool {
    let ours = migrations.iter().filter(|migration| !migration.migration_type.is_down_migration());
    let ours = ours.map(|migration| (migration.version, &*migration.checksum));
    ours.eq(applied.iter().map(|(version, checksum)| (*version, checksum.as_slice())))
}
