use ::http::StatusCode;

use crate::error::{Error, ErrorKind};

impl Error {
    /// The HTTP status for this error. The layer's own answers and `IntoResponse` use it.
    ///
    /// | kind | status |
    /// |---|---|
    /// | `SessionEnded`, `NotLoggedIn`, `LogInRefused`, `NoPendingLogIn` | 401 |
    /// | `ReauthenticationRequired`, `TooManySessions`, `CrossSite` | 403 |
    /// | `Superseded` | 409 |
    /// | `InvalidData` | 413 |
    /// | `InvalidUserId`, `InvalidPageKey` | 400 |
    /// | `Database`, `Schema`, `Contention`, `Overloaded`, `OutcomeUnknown` | 503 |
    /// | `WrongType`, `Configuration` | 500 |
    pub fn status(&self) -> StatusCode {
        match self.kind() {
            ErrorKind::SessionEnded
            | ErrorKind::NotLoggedIn
            | ErrorKind::LogInRefused
            | ErrorKind::NoPendingLogIn => StatusCode::UNAUTHORIZED,
            ErrorKind::ReauthenticationRequired
            | ErrorKind::TooManySessions
            | ErrorKind::CrossSite => StatusCode::FORBIDDEN,
            ErrorKind::Superseded => StatusCode::CONFLICT,
            ErrorKind::InvalidData => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::InvalidUserId | ErrorKind::InvalidPageKey => StatusCode::BAD_REQUEST,
            ErrorKind::Database
            | ErrorKind::Schema
            | ErrorKind::Encryption
            | ErrorKind::Contention
            | ErrorKind::Overloaded
            | ErrorKind::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::WrongType | ErrorKind::Configuration => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
