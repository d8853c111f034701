//! The rights of the role. They are checked first, so that a refusal names the statement that grants the
//! right.

use sqlx::{PgConnection, Row, raw_sql};

use crate::error::{Error, ErrorKind, Result};

/// Postgres, appendix A: insufficient_privilege.
pub(super) const REFUSED: &str = "42501";

/// Each text is the statement that grants a missing right, if one is missing.
#[derive(Debug)]
pub(super) struct Rights {
    pub(super) database: String,
    pub(super) has_schema: bool,
    pub(super) has_ledger: bool,
    encoding: String,
    role: String,
    to_read: Option<String>,
    to_read_needs: Option<String>,
    to_migrate: Option<String>,
}

/// Membership in a superuser's role must not be granted. So for an object of a superuser, the statement changes the
/// object's owner.
const RIGHTS: &str = "
    select current_user::text as role, current_database()::text as database,
        current_setting('server_encoding') as encoding,
        n.oid is not null as has_schema, ledger.oid is not null as has_ledger,
        case
            when not has_schema_privilege(n.oid, 'usage')
                then format('grant usage on schema sessile to %I', current_user)
            when not has_table_privilege(ledger.oid, 'select')
                then format('grant select on sessile._sqlx_migrations to %I', current_user)
        end as to_read,
        case
            when not has_table_privilege(needs.oid, 'select')
                then format('grant select on sessile.session_schema to %I', current_user)
        end as to_read_needs,
        case
            when n.oid is null and not has_database_privilege(current_database(), 'create')
                then format('create schema sessile authorization %I', current_user)
            when others.relname is not null and owner.rolsuper
                then format('alter table sessile.%I owner to %I', others.relname, current_user)
            when others.relname is not null then format('grant %I to %I', owner.rolname, current_user)
            when not has_schema_privilege(n.oid, 'create')
                then format('grant create on schema sessile to %I', current_user)
        end as to_migrate
    from (select) as one
        left join pg_namespace as n on n.nspname = 'sessile'
        left join pg_class as ledger on ledger.relnamespace = n.oid and ledger.relname = '_sqlx_migrations'
        left join pg_class as needs on needs.relnamespace = n.oid and needs.relname = 'session_schema'
        left join lateral (
            select c.relname, c.relowner from pg_class as c
            where c.relnamespace = n.oid and not pg_has_role(c.relowner, 'usage') and c.relname in (
                '_sqlx_migrations', 'sessions', 'session_cutoffs', 'session_schema', 'active_sessions')
            order by c.oid
            limit 1
        ) as others on true
        left join pg_roles as owner on owner.oid = others.relowner";

impl Rights {
    pub(super) async fn of_role(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let row = raw_sql(RIGHTS).fetch_one(connection).await?;
        Ok(Self {
            database: row.try_get("database")?,
            has_schema: row.try_get("has_schema")?,
            has_ledger: row.try_get("has_ledger")?,
            encoding: row.try_get("encoding")?,
            role: row.try_get("role")?,
            to_read: row.try_get("to_read")?,
            to_read_needs: row.try_get("to_read_needs")?,
            to_migrate: row.try_get("to_migrate")?,
        })
    }

    /// An error if the database cannot hold every text. Otherwise the first request with an emoji would fail.
    pub(super) fn check_encoding(&self) -> Result<()> {
        if self.encoding == "UTF8" {
            return Ok(());
        }
        let message = format!(
            "the database {:?} has the encoding {}, which cannot hold every text. Let sessile use a database with the encoding UTF8: create database sessions encoding 'UTF8' template template0",
            self.database, self.encoding
        );
        Err(Error::new(ErrorKind::Schema, message))
    }

    pub(super) fn to_read(&self) -> Result<()> {
        self.check(&self.to_read, "may not read which migrations the database has. Let the owner of the schema sessile run")
    }

    pub(super) fn to_read_needs(&self) -> Result<()> {
        self.check(&self.to_read_needs, "may not read which release the database's schema needs. Let the owner of the schema sessile run")
    }

    pub(super) fn to_migrate(&self) -> Result<()> {
        self.check(&self.to_migrate, "may not run the migrations that the database lacks. Run them as the owner of the schema sessile, or let an administrator run")
    }

    fn check(&self, missing: &Option<String>, what: &str) -> Result<()> {
        let Some(missing) = missing else { return Ok(()) };
        let message = format!("the role {:?} {what}: {missing}", self.role);
        Err(Error::new(ErrorKind::Schema, message))
    }

    /// An unforeseen refusal, such as an event trigger's or an extension's.
    pub(super) fn refused(&self, error: sqlx::Error) -> Error {
        let what = error.as_database_error().map_or_else(String::new, |e| e.message().to_owned());
        let message = format!(
            "the database refused a migration to the role {:?}: {what}. Let the owner of the schema sessile run the migrations",
            self.role
        );
        Error::new(ErrorKind::Schema, message).with_source(error)
    }
}
