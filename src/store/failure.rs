//! The one place that knows which failures of a database are transient.

use sqlx::migrate::MigrateError;

use crate::error::{Error, ErrorKind};

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        if is_missing_schema(&source) {
            let message = "the database has no sessile schema: call Sessions::migrate(), or run the migrations with sqlx-cli";
            return Error::new(ErrorKind::Schema, message).with_source(source);
        }
        let is_transient = is_transient(&source);
        let error = without_details(source);
        if is_transient { error.transient() } else { error }
    }
}

fn without_details(source: sqlx::Error) -> Error {
    #[cfg(feature = "postgres")]
    if let sqlx::Error::Database(error) = &source
        && error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some()
    {
        return Error::database(PostgresFailure::from(&**error));
    }
    Error::database(source)
}

/// What a Postgres server said, without its details: those show whole rows.
#[cfg(feature = "postgres")]
#[derive(Debug)]
struct PostgresFailure {
    code: String,
    message: String,
}

#[cfg(feature = "postgres")]
impl From<&dyn sqlx::error::DatabaseError> for PostgresFailure {
    fn from(error: &dyn sqlx::error::DatabaseError) -> Self {
        let code = error.code().unwrap_or_default().into_owned();
        Self { code, message: error.message().to_owned() }
    }
}

#[cfg(feature = "postgres")]
impl std::fmt::Display for PostgresFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

#[cfg(feature = "postgres")]
impl std::error::Error for PostgresFailure {}

pub(crate) fn of_migration(source: MigrateError) -> Error {
    let message = match &source {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            let is_transient = is_transient(error);
            let error = Error::new(ErrorKind::Database, "a migration failed and was rolled back")
                .with_source(source);
            return if is_transient { error.transient() } else { error };
        }
        MigrateError::VersionMissing(version) => format!(
            "the database's schema is newer than this version of sessile (it has migration {version}): update the application"
        ),
        MigrateError::VersionMismatch(version) => format!(
            "migration {version} in the database is not the one that this version of sessile holds"
        ),
        _ => "the database's migrations are in a state that sessile cannot go on from".to_owned(),
    };
    Error::new(ErrorKind::Schema, message).with_source(source)
}

/// Whether the same statement may succeed a moment later.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_transient_code(&code)),
        _ => false,
    }
}

/// Postgres, appendix A: class 08 (connection), 40 (transaction rollback), 53 (resources), 57P
/// (operator), 55P03 and 25006 (lock not available; read only, as in a failover). SQLite: 5 BUSY
/// and 6 LOCKED with their extended codes.
fn is_transient_code(code: &str) -> bool {
    match code.parse::<u32>() {
        Ok(sqlite) if code.len() < 5 => matches!(sqlite & 0xff, 5 | 6),
        _ => {
            ["08", "40", "53", "57P"].iter().any(|class| code.starts_with(class))
                || matches!(code, "55P03" | "25006")
        }
    }
}

#[cfg(feature = "postgres")]
/// Whether the connection is gone, so that a statement which may safely run twice is worth a second
/// try on another one.
pub(crate) fn is_dead_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => {
            matches!(error.code().as_deref(), Some("57P01" | "57P02" | "08003" | "08006"))
        }
        _ => false,
    }
}

/// Runs a transaction, and again as a whole where it lost a deadlock or a serialization check.
#[cfg(feature = "postgres")]
pub(crate) async fn again_if_rolled_back<T, F>(run: impl Fn() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    const TRIES: u32 = 3;
    let mut tries = 1;
    loop {
        match run().await {
            Err(error) if tries < TRIES && is_rolled_back(&error) => tries += 1,
            result => return result,
        }
    }
}

#[cfg(feature = "postgres")]
fn is_rolled_back(error: &sqlx::Error) -> bool {
    matches!(
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref(),
        Some("40P01" | "40001")
    )
}

fn is_missing_schema(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    match error.code().as_deref() {
        Some("3F000" | "42P01") => true,
        Some("1") => error.message().starts_with("no such table"),
        _ => false,
    }
}
