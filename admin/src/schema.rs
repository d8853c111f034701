use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;

use crate::{Database, Error, ErrorKind, Kind, Result, moment};

/// A migration of this release, or one of a later release that the database has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// Its number, which is a date and a counter.
    pub version: i64,
    /// What it is about. The database's ledger has it too.
    pub description: String,
    /// When it was run, or `None` if it is missing.
    pub installed_at: Option<DateTime<Utc>>,
    /// How its text in the database's ledger compares with this release's.
    pub state: MigrationState,
}

/// The state of a [`Migration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationState {
    /// The database has it.
    Installed,
    /// The database lacks it.
    Missing,
    /// The database has it with another text.
    Changed,
    /// The database has it, and this release does not know it: a newer release ran it.
    Unknown,
}

impl Database {
    /// This release's migrations, for the database's kind.
    pub fn migrator(kind: Kind) -> Migrator {
        match kind {
            Kind::Postgres => sessile::store::postgres::migrator(),
            Kind::Sqlite => sessile::store::sqlite::migrator(),
        }
    }

    /// All migrations of this release and of the database, the oldest first. A database without sessile lacks all. It
    /// needs the right to read the ledger.
    pub async fn migrations(&self) -> Result<Vec<Migration>> {
        #[derive(Deserialize)]
        struct Applied {
            version: i64,
            description: String,
            checksum: String,
            #[serde(deserialize_with = "installed")]
            installed_on: DateTime<Utc>,
        }
        // SQLite writes the ledger's time as a text without a zone.
        fn installed<'de, D: serde::Deserializer<'de>>(
            from: D,
        ) -> std::result::Result<DateTime<Utc>, D::Error> {
            let text = String::deserialize(from)?;
            let text =
                if text.contains('T') { text } else { format!("{}Z", text.replace(' ', "T")) };
            moment::moment(serde::de::value::StringDeserializer::new(text))
        }
        let mut ask = self.statement();
        ask.sql("select ").per("json_build_object(", "json_object(");
        ask.sql("'version', version, 'description', description, 'installed_on', installed_on, 'checksum', ");
        ask.per(
            "encode(checksum, 'hex')) from sessile._sqlx_migrations",
            "lower(hex(checksum))) from _sessile_migrations",
        );
        let applied: Vec<Applied> = match self.rows(&ask).await {
            Err(error) if error.kind() == ErrorKind::NoSchema => Vec::new(),
            applied => applied?,
        };
        let migrator = Self::migrator(self.kind());
        let ours: Vec<_> = up(&migrator).collect();
        let mut all: Vec<_> = ours
            .iter()
            .map(|one| {
                let found = applied.iter().find(|applied| applied.version == one.version);
                let text = hex(&one.checksum);
                Migration {
                    version: one.version,
                    description: one.description.to_string(),
                    installed_at: found.map(|found| found.installed_on),
                    state: match found {
                        None => MigrationState::Missing,
                        Some(found) if found.checksum == text => MigrationState::Installed,
                        Some(_) => MigrationState::Changed,
                    },
                }
            })
            .collect();
        let is_unknown = |applied: &&Applied| ours.iter().all(|one| one.version != applied.version);
        all.extend(applied.iter().filter(is_unknown).map(|applied| Migration {
            version: applied.version,
            description: applied.description.clone(),
            installed_at: Some(applied.installed_on),
            state: MigrationState::Unknown,
        }));
        all.sort_by_key(|one| one.version);
        Ok(all)
    }

    /// Undoes all migrations of the database after this one, the newest first, in one transaction. 0 undoes all. Tables and
    /// columns are lost. Returns the migrations that it has undone.
    ///
    /// # Errors
    ///
    /// [`NewerSchema`](ErrorKind::NewerSchema) if the database has a migration that this release does not know.
    pub async fn revert(&self, to: i64) -> Result<Vec<i64>> {
        let undone = self.to_revert(to).await?;
        if !undone.is_empty() {
            self.run_script(&Self::script(self.kind(), &undone, false)).await?;
        }
        Ok(undone)
    }

    /// The migrations that [`revert`](Self::revert) would undo, in that order.
    pub async fn to_revert(&self, to: i64) -> Result<Vec<i64>> {
        let migrations = self.migrations().await?;
        if migrations.iter().any(|one| one.state == MigrationState::Unknown) {
            let message =
                "the database has a migration of a newer release, which this one cannot undo";
            return Err(Error::new(ErrorKind::NewerSchema, message));
        }
        let there = migrations.iter().filter(|one| one.installed_at.is_some() && one.version > to);
        Ok(there.rev().map(|one| one.version).collect())
    }

    /// The SQL of migrations, for an administrator who runs it by hand: up, or down. It also writes the ledger, so that
    /// sessile and sqlx-cli know that the migrations were run. Run it in one transaction.
    pub fn script(kind: Kind, versions: &[i64], up: bool) -> String {
        let (ledger, create) = ledger(kind);
        let mut script = String::new();
        if up {
            script.push_str(create);
            script.push('\n');
        }
        let migrator = Self::migrator(kind);
        for version in versions {
            let of_version = |one: &&sqlx::migrate::Migration| {
                one.version == *version && one.migration_type.is_down_migration() != up
            };
            let Some(migration) = migrator.iter().find(of_version) else { continue };
            let (description, text) = (&migration.description, migration.sql.as_str().trim_end());
            script.push_str(&format!("\n-- {version} {description}\n{text}\n"));
            if up {
                let checksum = hex(&migration.checksum);
                let checksum = match kind {
                    Kind::Postgres => format!("'\\x{checksum}'"),
                    Kind::Sqlite => format!("x'{checksum}'"),
                };
                script.push_str(&format!(
                    "insert into {ledger} (version, description, success, checksum, execution_time) values ({version}, '{description}', true, {checksum}, 0);\n"
                ));
            } else {
                script.push_str(&format!("delete from {ledger} where version = {version};\n"));
            }
        }
        script
    }

    /// Checks that the database has the schema of this release, or of a later one that this release may use. A user who may
    /// not read the ledger passes: the questions then tell.
    ///
    /// # Errors
    ///
    /// [`NoSchema`](ErrorKind::NoSchema), [`NewerSchema`](ErrorKind::NewerSchema).
    pub async fn check_schema(&self) -> Result<()> {
        let migrations = match self.migrations().await {
            Err(error) if error.kind() == ErrorKind::Refused => return Ok(()),
            migrations => migrations?,
        };
        let is = |state| move |one: &&Migration| one.state == state;
        let missing: Vec<_> = migrations.iter().filter(is(MigrationState::Missing)).collect();
        if migrations.iter().all(|one| one.state == MigrationState::Missing) {
            return Err(Error::new(ErrorKind::NoSchema, "the database has no tables of sessile"));
        }
        if let Some(first) = missing.first() {
            let message = format!(
                "the database lacks {} of this release's migrations: {} {}",
                missing.len(),
                first.version,
                first.description
            );
            return Err(Error::new(ErrorKind::NoSchema, message));
        }
        if migrations.iter().any(|one| one.state == MigrationState::Unknown) {
            self.check_needs(&migrations).await?;
        }
        Ok(())
    }

    /// A later release says in the schema which release it needs.
    async fn check_needs(&self, migrations: &[Migration]) -> Result<()> {
        #[derive(Deserialize)]
        struct Needs {
            migration: i64,
            release: String,
        }
        let mut ask = self.statement();
        ask.sql("select ").per("json_build_object(", "json_object(");
        ask.sql("'migration', needs_migration, 'release', needs_release) from ");
        ask.per("sessile.session_schema", "session_schema");
        let Some(needs) = self.rows::<Needs>(&ask).await?.pop() else { return Ok(()) };
        let known = migrations.iter().filter(|one| one.state != MigrationState::Unknown);
        if known.map(|one| one.version).max() >= Some(needs.migration) {
            return Ok(());
        }
        let message = format!("the database's schema needs sessile {} or newer", needs.release);
        Err(Error::new(ErrorKind::NewerSchema, message))
    }
}

/// The migrations, without those that undo them.
fn up(migrator: &Migrator) -> impl Iterator<Item = &sqlx::migrate::Migration> {
    migrator.iter().filter(|one| !one.migration_type.is_down_migration())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The table that sqlx keeps, with its own columns.
fn ledger(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Postgres => (
            "sessile._sqlx_migrations",
            "create schema if not exists sessile;
create table if not exists sessile._sqlx_migrations (
    version bigint primary key,
    description text not null,
    installed_on timestamptz not null default now(),
    success boolean not null,
    checksum bytea not null,
    execution_time bigint not null
);",
        ),
        Kind::Sqlite => (
            "_sessile_migrations",
            "create table if not exists _sessile_migrations (
    version bigint primary key,
    description text not null,
    installed_on timestamp not null default current_timestamp,
    success boolean not null,
    checksum blob not null,
    execution_time bigint not null
);",
        ),
    }
}
