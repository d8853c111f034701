use std::{error::Error as StdError, fmt};

/// The result of a question.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a question has no answer. The text says in one sentence what is wrong, and [`remedy`](Self::remedy) what to do.
/// Neither contains a password.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kind of an [`Error`], for code that depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL of the database is not valid.
    Url,
    /// A condition of the question is not valid.
    Input,
    /// The database does not answer, or there is no such file.
    Unreachable,
    /// The database has no schema of sessile, or lacks a migration.
    NoSchema,
    /// The database's schema needs a newer release of sessile.
    NewerSchema,
    /// The database refuses the user, or the user may not do this.
    Refused,
    /// The answer took too long, or somebody holds a lock.
    Timeout,
    /// Any other failure of the database.
    Database,
}

impl Error {
    /// Creates an error from its text.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do, in one sentence.
    pub fn remedy(&self) -> &'static str {
        match self.kind {
            ErrorKind::Url => {
                "give a URL such as postgres://user@host/database or sqlite://path/to/sessions.db"
            }
            ErrorKind::Input => "see --help for what the condition may be",
            ErrorKind::Unreachable => {
                "check the URL, and that the database runs and may be reached from here"
            }
            ErrorKind::NoSchema => "run `sessile migrate run` as the owner of the database",
            ErrorKind::NewerSchema => "install the release of sessile that the application has",
            ErrorKind::Refused => {
                "use another user, or grant the right: docs/operations.md has the grants of each role"
            }
            ErrorKind::Timeout => "try again, or narrow the question: by user, or by time",
            ErrorKind::Database => "see the log of the database",
        }
    }

    fn of_postgres(error: sqlx::Error, code: &str) -> Self {
        let text = database_message(&error);
        let (kind, message) = match code {
            // Postgres docs, appendix A.
            "42P01" | "3F000" | "42883" | "42703" => (
                ErrorKind::NoSchema,
                format!("the database lacks the schema of this release of sessile: {text}"),
            ),
            "42501" | "25006" => (ErrorKind::Refused, format!("the database refuses it: {text}")),
            "28000" | "28P01" => {
                (ErrorKind::Refused, format!("the database refuses the user: {text}"))
            }
            "57014" | "55P03" | "40P01" => {
                (ErrorKind::Timeout, format!("the database gave up: {text}"))
            }
            "3D000" | "53300" | "57P01" | "57P02" | "57P03" => {
                (ErrorKind::Unreachable, format!("the database cannot be used: {text}"))
            }
            _ => (ErrorKind::Database, format!("the database failed: {text}")),
        };
        Self { kind, message, source: Some(Box::new(error)) }
    }

    fn of_sqlite(error: sqlx::Error, code: &str) -> Self {
        let text = database_message(&error);
        // https://sqlite.org/rescode.html: the primary code is the last byte.
        let primary = code.parse::<i32>().map_or(0, |code| code & 0xff);
        let (kind, message) = match primary {
            1 if text.contains("no such table") || text.contains("no such column") => (
                ErrorKind::NoSchema,
                format!("the file lacks the schema of this release of sessile: {text}"),
            ),
            3 | 8 | 23 => (ErrorKind::Refused, format!("the file cannot be used: {text}")),
            9 => (ErrorKind::Timeout, "the answer took too long".to_owned()),
            5 | 6 => (ErrorKind::Timeout, format!("another process holds the file: {text}")),
            14 => (ErrorKind::Unreachable, format!("the file cannot be opened: {text}")),
            26 => (ErrorKind::Unreachable, format!("this is not an SQLite file: {text}")),
            _ => (ErrorKind::Database, format!("SQLite failed: {text}")),
        };
        Self { kind, message, source: Some(Box::new(error)) }
    }
}

fn database_message(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if let Some(database) = error.as_database_error() {
            let code = database.code().unwrap_or_default().into_owned();
            return if database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
                Self::of_sqlite(error, &code)
            } else {
                Self::of_postgres(error, &code)
            };
        }
        let (kind, message) = match &error {
            sqlx::Error::Configuration(source) => {
                (ErrorKind::Url, format!("the URL of the database is not valid: {source}"))
            }
            sqlx::Error::Io(source) => {
                (ErrorKind::Unreachable, format!("the database cannot be reached: {source}"))
            }
            sqlx::Error::Tls(source) => {
                (ErrorKind::Unreachable, format!("no TLS with the database: {source}"))
            }
            sqlx::Error::PoolTimedOut => {
                (ErrorKind::Unreachable, "the database does not answer".to_owned())
            }
            _ => (ErrorKind::Database, format!("the database failed: {error}")),
        };
        Self { kind, message, source: Some(Box::new(error)) }
    }
}

impl From<sessile::Error> for Error {
    fn from(error: sessile::Error) -> Self {
        let mut kind = match error.kind() {
            sessile::ErrorKind::Schema => ErrorKind::NoSchema,
            sessile::ErrorKind::Configuration => ErrorKind::Url,
            sessile::ErrorKind::InvalidData
            | sessile::ErrorKind::InvalidUserId
            | sessile::ErrorKind::InvalidPageKey => ErrorKind::Input,
            sessile::ErrorKind::Contention | sessile::ErrorKind::Overloaded => ErrorKind::Timeout,
            _ => ErrorKind::Database,
        };
        let mut message = error.to_string();
        // The library keeps the database's own words in the source: on Postgres with their code, without the details.
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        if let Some(cause) = causes.last() {
            let text = cause.to_string();
            for (code, is) in [
                ("(42501)", ErrorKind::Refused),
                ("(25006)", ErrorKind::Refused),
                ("(code: 8)", ErrorKind::Refused),
                ("(code: 5)", ErrorKind::Timeout),
            ] {
                if text.contains(code) {
                    kind = is;
                }
            }
            message = format!("{message}: {text}");
        }
        Self { kind, message, source: Some(Box::new(error)) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
