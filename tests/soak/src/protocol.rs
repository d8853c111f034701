//! What a node is told to do, and what it answers. The same values for a node in this process and for one in another
//! process, which reads and writes them as lines of JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessile::SessionId;

/// One call of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Call {
    /// A request arrives: opens a handle with the cookie's value.
    Open { realm: String, handle: u64, token: Option<String> },
    /// The request's handler does something.
    Act { handle: u64, act: Act },
    /// The request is over. Nothing is written.
    Close { handle: u64 },
    /// Nobody uses the realm any more.
    Leave { realm: String },
    /// A job or an admin page does something.
    Job { realm: String, job: Job },
}

/// What a handler does with its session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Act<Id = SessionId> {
    /// Records a value, and finishes the request.
    Set(String, u64),
    /// Removes a value, and finishes the request.
    Remove(String),
    /// Adds one.
    Update(String),
    /// Removes a value and returns it.
    Take(String),
    Renew,
    Reauthenticate,
    BeginLogIn(Option<String>),
    CompleteLogIn(Option<String>),
    LogIn {
        user: String,
        remember: bool,
        discard: bool,
    },
    LogOut,
    LogOutOthers,
    LogOutEverywhere,
    LogOutDevice(Id),
    Devices,
    Refresh,
    /// Finishes the request without a change, which may record that the session was seen.
    Finish,
}

/// What an application does outside a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Job<Id = SessionId> {
    Revoke(Id),
    RevokeUser(String),
    RevokeOthers(String, Id),
    RevokeAll,
    Forget(String),
    SetData(Id, String, u64),
    Find(Id),
    Count,
    List(String),
    Sweep,
    /// Moves a session's times back by seconds.
    Age(Id, u64),
    /// Makes a session expired, and old enough for the sweep.
    Expire(Id),
}

/// The answer to a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The result, or the kind of the error.
    pub result: Result<Value, String>,
    /// The handle after the call.
    pub view: Option<View>,
    /// The message of the error.
    pub message: Option<String>,
}

impl Answer {
    pub fn no_handle() -> Self {
        Self::failed("no_handle", "this node has no such handle")
    }

    /// The node does not answer.
    pub fn none() -> Self {
        Self::failed("no_answer", "the node has not answered for two minutes")
    }

    fn failed(kind: &str, message: &str) -> Self {
        Self { result: Err(kind.to_owned()), view: None, message: Some(message.to_owned()) }
    }
}

impl<Id> Act<Id> {
    /// The same with another kind of id.
    pub fn map<Other>(self, of: impl Fn(Id) -> Other) -> Act<Other> {
        match self {
            Self::Set(key, value) => Act::Set(key, value),
            Self::Remove(key) => Act::Remove(key),
            Self::Update(key) => Act::Update(key),
            Self::Take(key) => Act::Take(key),
            Self::Renew => Act::Renew,
            Self::Reauthenticate => Act::Reauthenticate,
            Self::BeginLogIn(user) => Act::BeginLogIn(user),
            Self::CompleteLogIn(user) => Act::CompleteLogIn(user),
            Self::LogIn { user, remember, discard } => Act::LogIn { user, remember, discard },
            Self::LogOut => Act::LogOut,
            Self::LogOutOthers => Act::LogOutOthers,
            Self::LogOutEverywhere => Act::LogOutEverywhere,
            Self::LogOutDevice(id) => Act::LogOutDevice(of(id)),
            Self::Devices => Act::Devices,
            Self::Refresh => Act::Refresh,
            Self::Finish => Act::Finish,
        }
    }
}

impl<Id> Job<Id> {
    /// The same with another kind of id.
    pub fn map<Other>(self, of: impl Fn(Id) -> Other) -> Job<Other> {
        match self {
            Self::Revoke(id) => Job::Revoke(of(id)),
            Self::RevokeUser(user) => Job::RevokeUser(user),
            Self::RevokeOthers(user, keep) => Job::RevokeOthers(user, of(keep)),
            Self::RevokeAll => Job::RevokeAll,
            Self::Forget(user) => Job::Forget(user),
            Self::SetData(id, key, value) => Job::SetData(of(id), key, value),
            Self::Find(id) => Job::Find(of(id)),
            Self::Count => Job::Count,
            Self::List(user) => Job::List(user),
            Self::Sweep => Job::Sweep,
            Self::Age(id, seconds) => Job::Age(of(id), seconds),
            Self::Expire(id) => Job::Expire(of(id)),
        }
    }
}

/// What a handler sees of its session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    pub id: Option<SessionId>,
    pub user: Option<String>,
    pub data: BTreeMap<String, u64>,
    pub is_superseded: bool,
    /// The log-in that was begun and can be completed.
    pub pending: Option<Pending>,
    pub cookie: Cookie,
}

/// A log-in that was begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub user: Option<String>,
}

/// What the response does to the browser's cookie.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Cookie {
    #[default]
    Keep,
    Set(String),
    Remove,
}
