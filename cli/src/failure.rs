use std::{fmt, io, process::ExitCode};

use sessile_admin::ErrorKind;

use crate::output::note;

/// Why the command ended without success. [`Code`] has the documented exit codes.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    remedy: Option<String>,
}

/// The exit codes, as `sessile help` shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Findings = 1,
    Usage = 2,
    NotConfirmed = 3,
    NotFound = 4,
    Unreachable = 5,
    Schema = 6,
    Refused = 7,
    Timeout = 8,
    Failed = 9,
    Interrupted = 130,
    ClosedPipe = 141,
}

pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  Done.
    1  `doctor` has findings; `keys list --unused` has found the key; `keys rewrap` has left damaged sessions.
    2  The arguments or the URL are not valid.
    3  Nobody confirmed. Nothing was changed.
    4  There is no such session.
    5  The database does not answer, or there is no such file.
    6  The database has no schema of sessile, or an older or a newer one.
    7  The database refuses the user, or the user lacks a right.
    8  The answer took too long, or another process holds a lock.
    9  Any other failure.
  130  Interrupted with Ctrl-C. The message tells what was done.
  141  The program that reads the output has closed it.";

pub(crate) type Result<T = (), E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: None }
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }

    /// One line on standard error. Silent if the reader of the output went away, as other commands are.
    pub(crate) fn tell(&self) {
        if self.code != Code::ClosedPipe && !self.message.is_empty() {
            note(format!("sessile: {self}"));
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A message of the database may have several lines.
        f.write_str(&crate::text::shown(&self.message))?;
        match &self.remedy {
            Some(remedy) => write!(f, ". Remedy: {remedy}"),
            None => Ok(()),
        }
    }
}

impl From<sessile_admin::Error> for Failure {
    fn from(error: sessile_admin::Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Url | ErrorKind::Input => Code::Usage,
            ErrorKind::Unreachable => Code::Unreachable,
            ErrorKind::NoSchema | ErrorKind::NewerSchema => Code::Schema,
            ErrorKind::Refused => Code::Refused,
            ErrorKind::Timeout => Code::Timeout,
            _ => Code::Failed,
        };
        Self::new(code, error.to_string()).remedy(error.remedy())
    }
}

impl From<sessile::Error> for Failure {
    fn from(error: sessile::Error) -> Self {
        sessile_admin::Error::from(error).into()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Code::ClosedPipe, "the output was closed"),
            _ => Self::new(Code::Failed, format!("the output cannot be written: {error}")),
        }
    }
}
