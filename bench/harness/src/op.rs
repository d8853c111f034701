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
}

impl Op {
    pub const ALL: [Self; 4] = [Self::Load, Self::Save, Self::Create, Self::Mix];

    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Save => "save",
            Self::Create => "create",
            Self::Mix => "mix",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
