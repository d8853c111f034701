use std::fmt;

use serde::{Deserialize, Serialize};

/// One operation: a request's call of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Loads a session that exists.
    Load,
    /// Saves a session that exists, durable when it returns.
    Save,
    /// Creates a session, durable when it returns.
    Create,
    /// 90 % load, 9 % load and then save, 1 % create and then delete.
    Mix,
    /// Logs in a user without a session, durable when it returns.
    #[serde(rename = "log-in")]
    LogIn,
    /// Creates a visitor's session, which the next request loads and logs in to.
    #[serde(rename = "visitor")]
    Visitor,
}

impl Op {
    pub const ALL: [Self; 6] =
        [Self::Load, Self::Save, Self::Create, Self::Mix, Self::LogIn, Self::Visitor];

    /// Whether it is a log-in: not every store has a call for that.
    pub fn logs_in(self) -> bool {
        matches!(self, Self::LogIn | Self::Visitor)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Save => "save",
            Self::Create => "create",
            Self::Mix => "mix",
            Self::LogIn => "log-in",
            Self::Visitor => "visitor",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
