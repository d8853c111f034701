use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

/// Every error of the library, as one opaque type.
///
/// [`kind`](Error::kind) tells the cause, the text tells the remedy, and the source is kept. No
/// error contains a token, a secret or a value of a session. Clones share the source, because a statement
/// that served many requests fails for each of them.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    is_transient: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kind of an error, for code that depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The session ended while this request held it: it was logged out or revoked, or it expired. Nothing was
    /// written.
    SessionEnded,
    /// Another request gave the session a new secret: it logged in, authenticated again or renewed the
    /// session. Nothing was changed. The browser has the new cookie, or gets it in a moment: let it try
    /// again.
    Superseded,
    /// The operation needs a user, and the session is anonymous.
    NotLoggedIn,
    /// The user authenticated too long ago for this operation.
    ReauthenticationRequired,
    /// The user's sessions were revoked after this authentication began. The user must authenticate again.
    LogInRefused,
    /// No log-in of several requests is in progress: none was begun, or it has lapsed. It must begin again.
    NoPendingLogIn,
    /// The user has as many sessions as the policy allows, and the policy refuses more.
    TooManySessions,
    /// Another site sent this request. Either [`CrossSiteLayer`](crate::CrossSiteLayer) refused it, or the browser
    /// withheld the session's cookie and the request would have started a session in its place.
    CrossSite,
    /// A value is too large, too deep or not JSON. The text names its key.
    InvalidData,
    /// A stored value does not have the requested type: the text names its key. Or a person has edited the
    /// session's row, and the row cannot be read: the text names the session's id and the column. See "A row that
    /// cannot be read" in the docs of [`Session`](crate::Session).
    WrongType,
    /// The session's data is sealed, and this node cannot open it: it has no keys, not this one, another one of the same
    /// name, or the key is retired. Or the data is plain where it has to be sealed. The text says which. Nothing was
    /// changed. See the module `encryption`.
    Encryption,
    /// A user id is empty, too long, or contains U+0000.
    InvalidUserId,
    /// A text is not a page key.
    InvalidPageKey,
    /// A setting is out of range or contradicts another one.
    Configuration,
    /// The database has no `sessile` schema, or one that this version of the library does not know. Or the
    /// role may not read or migrate the schema, or another migrator holds its lock. Or the database's encoding is not
    /// UTF-8.
    Schema,
    /// Other requests kept changing the session, or another transaction held its row or its user's lock, for
    /// longer than the library waits. Nothing was done.
    Contention,
    /// More requests wait for the database than the library allows. Nothing was done.
    Overloaded,
    /// The database failed or could not be reached. Nothing was done.
    Database,
    /// A write was sent, and its answer is missing: the connection was lost, or the deadline passed. The
    /// write may have happened, or may happen in a moment. The library does not repeat it. The docs of
    /// `Session` describe the state after that for each call.
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
            Self::CrossSite => "cross_site",
            Self::InvalidData => "invalid_data",
            Self::WrongType => "wrong_type",
            Self::Encryption => "encryption",
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

    /// For an error that has no clones yet.
    fn inner(&mut self) -> &mut Inner {
        Arc::get_mut(&mut self.0).expect("a new error has no clones")
    }

    /// Creates the error of a [`Store`](crate::store::Store) that is not in this crate.
    pub fn database(source: impl Into<Box<dyn StdError + Send + Sync + 'static>>) -> Self {
        Self::new(ErrorKind::Database, "the session database failed").with_source(source)
    }

    /// Marks the error as transient: the same call may succeed a moment later. The backend that got the error
    /// from its database knows this.
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

    pub(crate) fn cookie_withheld() -> Self {
        let message = "another site sent this request without the session's cookie, and a new session would replace the one that the browser has: send it again from this site";
        Self::new(ErrorKind::CrossSite, message)
    }

    pub(crate) fn not_logged_in() -> Self {
        Self::new(ErrorKind::NotLoggedIn, "nobody is logged in to this session")
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the call did nothing, and may succeed a moment later: the database could not be reached, was
    /// locked or overloaded, or other requests were faster.
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
