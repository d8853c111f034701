//! The one place that knows which failures of a database are transient.

use std::borrow::Cow;

use sqlx::migrate::MigrateError;

use crate::error::{Error, ErrorKind};

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        if is_locked(&source) {
            let message = "another transaction holds a lock that this needs, and has not ended for as long as the library waits: nothing was done. If it is the application's own, as one that revokes the user's sessions, commit it before the log-in";
            return Error::new(ErrorKind::Contention, message).with_source(without_details(source));
        }
        if is_missing_schema(&source) {
            let message = "the database has no sessile schema: call Sessions::migrate(), or run the migrations with sqlx-cli";
            return Error::new(ErrorKind::Schema, message).with_source(source);
        }
        #[cfg(feature = "postgres")]
        if is_of_pooler(&source) {
            let message = "a pooler such as PgBouncer is between, and does not keep prepared statements apart: open the database with `connect_with` and `ConnectOptions::behind_pooler`, or let the pooler keep them (PgBouncer 1.21 or newer, max_prepared_statements)";
            return Error::new(ErrorKind::Database, message).with_source(without_details(source));
        }
        if matches!(source, sqlx::Error::PoolTimedOut) {
            let message = "no connection to the session database was free in time: nothing was done, try again later";
            return Error::new(ErrorKind::Database, message).with_source(source).transient();
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

/// The message of a Postgres server without its details, because details show whole rows.
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
        _ => code(error).is_some_and(|code| is_transient_code(&code)),
    }
}

/// Postgres, appendix A: the classes 08 (connection; without 08P01, a violation of the protocol), 40
/// (transaction rollback), 53 (resources) and 57 (operator, and time-outs); 55P03 (lock not available), 25006
/// (read only, as in a failover) and 25P03 (idle in a transaction). SQLite: 5 BUSY and 6 LOCKED, with their
/// extended codes.
fn is_transient_code(code: &str) -> bool {
    match code.parse::<u32>() {
        Ok(sqlite) if code.len() < 5 => matches!(sqlite & 0xff, 5 | 6),
        _ => {
            let is_of_class = ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class));
            (is_of_class && code != "08P01") || matches!(code, LOCKED | READ_ONLY | "25P03")
        }
    }
}

/// A lock was not available in time.
const LOCKED: &str = "55P03";
/// The server accepts no writes: it was demoted, or was never the primary.
const READ_ONLY: &str = "25006";

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// Whether the connection cannot be used any more, even if the server reported the error properly.
pub(crate) fn spoils(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => is_lost_connection(error) || is_read_only(error),
        sqlx::Error::RowNotFound => false,
        _ => true,
    }
}

pub(crate) fn is_read_only(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some(READ_ONLY)
}

pub(crate) fn is_locked(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some(LOCKED)
}

/// Whether a row has been changed since the transaction's snapshot was taken.
#[cfg(feature = "postgres")]
pub(crate) fn is_outdated(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("40001")
}

/// Whether the connection is lost, and perhaps others with it.
pub(crate) fn is_lost_connection(error: &sqlx::Error) -> bool {
    match code(error) {
        // Terminated: by an administrator, by a crash, or for idling, in a transaction or outside.
        Some(code) => {
            matches!(&*code, "57P01" | "57P02" | "57P05" | "25P03" | "08003" | "08006")
        }
        None => matches!(error, sqlx::Error::Io(_)),
    }
}

/// Whether the statement certainly did nothing, and another try may succeed: it was rolled back in favour of
/// others, its connection had ended before, or the server accepts no writes.
pub(crate) fn did_nothing(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| {
        matches!(&*code, "40P01" | "40001" | "57P01" | "57P05" | "25P03" | READ_ONLY)
    })
}

/// Why a statement is sent again, in a word for metrics.
#[cfg(feature = "postgres")]
pub(crate) fn why_again(error: &sqlx::Error) -> &'static str {
    match code(error).as_deref() {
        Some("40P01" | "40001") => "rolled_back",
        Some(READ_ONLY) => "read_only",
        _ => "connection",
    }
}

/// Whether the statement was sent, and its outcome is unknown.
pub(crate) fn is_answer_missing(error: &sqlx::Error) -> bool {
    let is_of_io =
        matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed);
    (is_of_io || is_lost_connection(error)) && !did_nothing(error)
}

/// The error of a statement that writes, or of a commit.
pub(crate) fn of_write(error: sqlx::Error) -> Error {
    match is_answer_missing(&error) {
        true => Error::outcome_unknown(error),
        false => error.into(),
    }
}

/// A prepared statement is missing, exists already, or is another one, because a pooler gave its name to
/// another server's connection or to another client.
#[cfg(feature = "postgres")]
fn is_of_pooler(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("26000" | "42P05" | "08P01"))
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
