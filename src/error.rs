use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

/// Everything that can go wrong, as one opaque type.
///
/// [`kind`](Error::kind) says what happened, the text says what to do about it, and the source is
/// kept. No error holds a token, a secret or a value of a session. Clones share the source: a
/// statement that served many requests fails for each of them.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    is_transient: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What went wrong, for code that decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The session was ended while this request held it: logged out, revoked or expired.
    /// Nothing was written.
    SessionEnded,
    /// Another request gave the session a new secret: it logged in, authenticated again or renewed
    /// it. Nothing was changed. The browser has the new cookie, or gets it in a moment: let it try
    /// again.
    Superseded,
    /// The operation is about a user, and the session is anonymous.
    NotLoggedIn,
    /// The user authenticated too long ago for what was asked.
    ReauthenticationRequired,
    /// The user's sessions were revoked after this authentication began: it has to be done again.
    LogInRefused,
    /// No log-in of several requests is under way: none was begun, or it has lapsed. It has to begin
    /// again.
    NoPendingLogIn,
    /// The user has as many sessions as the policy allows, and it says to refuse more.
    TooManySessions,
    /// A value is too large, too deep or not JSON. The text names its key.
    InvalidData,
    /// A stored value is not of the type that was asked for. The text names its key. Or a person has edited the
    /// session's row, which cannot be read: the text names the session's id and the column. See "A row that cannot be
    /// read" in the docs of [`Session`](crate::Session).
    WrongType,
    /// A user id is empty, too long, or holds U+0000.
    InvalidUserId,
    /// A text is not the key of a page.
    InvalidPageKey,
    /// A setting is out of range or contradicts another one.
    Configuration,
    /// The database has no `sessile` schema, or one that this version of the library does not know, or the
    /// role may not read or migrate it, or another migrator holds its lock. Or the database's encoding is not UTF-8.
    Schema,
    /// Other requests kept changing the session, or another transaction held its row or its user's, for
    /// longer than the library waits. Nothing was done.
    Contention,
    /// More requests wait for the database than the library keeps. Nothing was done.
    Overloaded,
    /// The database failed or could not be reached. Nothing was done.
    Database,
    /// A write was sent, and its answer is missing: the connection was lost, or the deadline passed.
    /// Perhaps it was made, or will be in a moment. The library does not try it again; what then
    /// holds is in the docs of each call.
    OutcomeUnknown,
}

impl ErrorKind {
    /// The kind as one word, for programs and metrics: `session_ended`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SessionEnded => "session_ended",
            Self::Superseded => "superseded",
            Self::NotLoggedIn => "not_logged_in",
            Self::ReauthenticationRequired => "reauthentication_required",
            Self::LogInRefused => "log_in_refused",
            Self::NoPendingLogIn => "no_pending_log_in",
            Self::TooManySessions => "too_many_sessions",
            Self::InvalidData => "invalid_data",
            Self::WrongType => "wrong_type",
            Self::InvalidUserId => "invalid_user_id",
            Self::InvalidPageKey => "invalid_page_key",
            Self::Configuration => "configuration",
            Self::Schema => "schema",
            Self::Contention => "contention",
            Self::Overloaded => "overloaded",
            Self::Database => "database",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            is_transient: matches!(kind, ErrorKind::Contention | ErrorKind::Overloaded),
            source: None,
        }))
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync + 'static>>,
    ) -> Self {
        self.inner().source = Some(source.into());
        self
    }

    /// Of an error that its maker has not given away yet.
    fn inner(&mut self) -> &mut Inner {
        Arc::get_mut(&mut self.0).expect("a new error has no clones")
    }

    /// An error of a [`Store`](crate::store::Store) that is not one of this crate's own.
    pub fn database(source: impl Into<Box<dyn StdError + Send + Sync + 'static>>) -> Self {
        Self::new(ErrorKind::Database, "the session database failed").with_source(source)
    }

    /// The same error, after which the same call may succeed a moment later. Whoever makes the error
    /// knows: the backend that got it from its database.
    ///
    /// # Panics
    ///
    /// If the error was cloned before.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.inner().is_transient = true;
        self
    }

    /// The answer to a write is missing.
    pub(crate) fn outcome_unknown(
        source: impl Into<Box<dyn StdError + Send + Sync + 'static>>,
    ) -> Self {
        let message = "the session database did not answer, so this write was perhaps made: read the session again before you repeat it";
        Self::new(ErrorKind::OutcomeUnknown, message).with_source(source)
    }

    pub(crate) fn session_ended() -> Self {
        Self::new(
            ErrorKind::SessionEnded,
            "the session has ended: it was logged out, revoked or has expired",
        )
    }

    pub(crate) fn superseded() -> Self {
        let message =
            "another request renewed this session or logged in to it meanwhile: try again";
        Self::new(ErrorKind::Superseded, message)
    }

    pub(crate) fn not_logged_in() -> Self {
        Self::new(ErrorKind::NotLoggedIn, "nobody is logged in to this session")
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed a moment later, and did nothing by now: the database could not be
    /// reached, was locked or overloaded, or other requests were faster.
    pub fn is_transient(&self) -> bool {
        self.0.is_transient
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
