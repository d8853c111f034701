//! What goes into a store, with the parts that a case does not care about filled in.

use std::{sync::Arc, time::Instant};

use chrono::TimeDelta;
use sessile::{
    Client, SessionId,
    store::{
        End, Lifetime, LogIn, LogInOutcome, NewSession, Page, Reauthentication, Record, Renewal,
        Save, SecretHash, Store, Timeouts, Touch,
    },
};
use uuid::Uuid;

pub(super) const IDLE: u32 = 3600;
pub(super) const ABSOLUTE: u32 = 86_400;

pub(super) fn timeouts() -> Timeouts {
    Timeouts::new(IDLE, ABSOLUTE)
}

pub(super) fn id() -> SessionId {
    Uuid::now_v7().into()
}

/// No two are the same.
pub(super) fn hash() -> SecretHash {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(Uuid::now_v7().as_bytes());
    bytes.into()
}

pub(super) fn new_session(data: &str) -> NewSession {
    NewSession {
        id: id(),
        secret_hash: hash(),
        data: data.to_owned(),
        timeouts: timeouts(),
        client: Client::new(),
    }
}

/// A session to end, whoever's it is.
pub(super) fn one(id: SessionId) -> End {
    End { id, user_id: None }
}

/// An anonymous row.
pub(super) async fn anonymous(store: &Arc<dyn Store>) -> Record {
    let new = new_session("{}");
    store.create(&[new]).await.unwrap().remove(0)
}

/// A log-in that begins now and inserts a row.
pub(super) fn log_in(user_id: &str) -> LogIn {
    LogIn {
        id: id(),
        old_hash: None,
        new_hash: hash(),
        user_id: user_id.to_owned(),
        data: Some("{}".to_owned()),
        timeouts: timeouts(),
        client: Client::new(),
        began: Instant::now(),
        after: None,
        limit: None,
    }
}

/// A log-in that begins now, to a row that is there.
pub(super) fn log_in_to(record: &Record, user_id: &str) -> LogIn {
    LogIn { id: record.id, old_hash: Some(record.secret_hash), data: None, ..log_in(user_id) }
}

/// A user's row.
pub(super) async fn logged_in(store: &Arc<dyn Store>, user_id: &str) -> Record {
    admitted(store.log_in(&log_in(user_id)).await.unwrap())
}

#[track_caller]
pub(super) fn admitted(outcome: LogInOutcome) -> Record {
    match outcome {
        LogInOutcome::LoggedIn(record, _) => *record,
        other => panic!("the log-in was not admitted: {other:?}"),
    }
}

pub(super) fn save(record: &Record, data: &str) -> Save {
    Save {
        id: record.id,
        revision: record.revision,
        data: data.to_owned(),
        lifetime: record.lifetime,
    }
}

/// Seen that many seconds after it was read.
pub(super) fn touch(record: &Record, seconds: i64) -> Touch {
    Touch {
        id: record.id,
        lifetime: record.lifetime.seen(record.now + TimeDelta::seconds(seconds)),
    }
}

pub(super) fn renewal(record: &Record) -> Renewal {
    Renewal { id: record.id, old_hash: record.secret_hash, new_hash: hash(), client: Client::new() }
}

pub(super) fn reauthentication(record: &Record) -> Reauthentication {
    Reauthentication {
        renewal: renewal(record),
        user_id: record.user_id.clone().unwrap_or_default(),
        lifetime: Lifetime::begin(record.now, timeouts()),
    }
}

/// The row as it is now, if it is live.
pub(super) async fn now(store: &Arc<dyn Store>, id: SessionId) -> Option<Record> {
    store.load(&[id]).await.unwrap().pop()
}

/// The newest hundred of a user.
pub(super) fn page(user_id: &str) -> Page {
    Page { user_id: user_id.to_owned(), before: None, limit: 100 }
}
