use std::fmt;

use serde::{Deserialize, Serialize};

/// One operation, which is what a request asks of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Of a session that is there.
    Load,
    /// Of a session that is there, durable when it returns.
    Save,
    /// A new session, durable when it returns.
    Create,
    /// 90 % load, 9 % load and then save, 1 % create and then delete.
    Mix,
    /// A user who has no session logs in, durable when it returns.
    #[serde(rename = "log-in")]
    LogIn,
    /// A visitor's session is made, loaded by the next request, and logged in to.
    #[serde(rename = "visitor")]
    Visitor,
}

impl Op {
    pub const ALL: [Self; 6] =
        [Self::Load, Self::Save, Self::Create, Self::Mix, Self::LogIn, Self::Visitor];

    /// Whether it is a log-in, for which not every store has a way of its own.
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
