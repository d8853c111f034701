//! Values for a store, with defaults for the parts that a case does not depend on.

use std::{sync::Arc, time::Instant};

use chrono::TimeDelta;
use sessile::{
    Client, Realm, Revocation, SessionId,
    store::{
        Began, Cause, End, Holder, Lifetime, LogIn, LogInOutcome, NewSession, Page,
        Reauthentication, Record, Renewal, Revoke, Save, Scope, SecretCheck, SecretHash, Store,
        Timeouts, Touch,
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

/// A different hash each time.
pub(super) fn hash() -> SecretHash {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(Uuid::now_v7().as_bytes());
    bytes.into()
}

pub(super) fn new_session(data: &str) -> NewSession {
    NewSession {
        id: id(),
        realm: Realm::default(),
        secret_hash: hash(),
        data: data.to_owned(),
        timeouts: timeouts(),
        client: Client::new(),
        pending: None,
    }
}

/// A session to end, of any user.
pub(super) fn one(id: SessionId) -> End {
    End { id, realm: Realm::default(), user_id: None, by: None, cause: by_application() }
}

/// The cause of an end that is recorded.
pub(super) fn by_application() -> Option<Cause> {
    Some(Cause::application())
}

/// The row, and its secret.
pub(super) fn holder(record: &Record) -> Holder {
    Holder { id: record.id, secret_hash: record.secret_hash }
}

/// Ends these sessions for the application.
pub(super) async fn revoke(store: &Arc<dyn Store>, scope: &Scope) -> Revocation {
    let revoke =
        Revoke { realm: Realm::default(), scope: scope.clone(), by: None, cause: by_application() };
    store.revoke(&revoke).await.unwrap().expect("nobody has to hold anything")
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
        realm: Realm::default(),
        old_hash: None,
        new_hash: hash(),
        user_id: user_id.to_owned(),
        data: Some("{}".to_owned()),
        of_revision: None,
        timeouts: timeouts(),
        remembered: false,
        client: Client::new(),
        began: Began::Here(Instant::now()),
        after: None,
        limit: None,
        replaces_user: None,
        is_recorded: true,
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
        holder: holder(record),
        revision: record.revision,
        data: data.to_owned(),
        lifetime: record.lifetime,
        ip: None,
    }
}

/// A touch this many seconds after the record was read.
pub(super) fn touch(record: &Record, seconds: i64) -> Touch {
    Touch {
        holder: holder(record),
        lifetime: record.lifetime.seen(record.now + TimeDelta::seconds(seconds)),
        ip: None,
        settles: false,
    }
}

pub(super) fn renewal(record: &Record) -> Renewal {
    Renewal {
        holder: holder(record),
        new_hash: hash(),
        at: record.now,
        client: Client::new(),
        pending: None,
    }
}

pub(super) fn reauthentication(record: &Record) -> Reauthentication {
    Reauthentication {
        renewal: renewal(record),
        user_id: record.user_id.clone().unwrap_or_default(),
        lifetime: Lifetime::begin(record.now, timeouts()),
        is_recorded: true,
    }
}

/// The row as it is now, if it is live.
pub(super) async fn now(store: &Arc<dyn Store>, id: SessionId) -> Option<Record> {
    store.load(&[id]).await.unwrap().pop()
}

/// The result of checking a secret against the present row.
pub(super) async fn check(store: &Arc<dyn Store>, id: SessionId, hash: &SecretHash) -> SecretCheck {
    now(store, id).await.expect("the row is live").check(hash)
}

/// The ids of a user's live sessions, the newest log-in first.
pub(super) async fn listed(store: &Arc<dyn Store>, user_id: &str) -> Vec<SessionId> {
    store.list(&page(user_id)).await.unwrap().iter().map(|info| info.id).collect()
}

/// The newest hundred of a user.
pub(super) fn page(user_id: &str) -> Page {
    Page { realm: Realm::default(), user_id: user_id.to_owned(), after: None, limit: 100, by: None }
}
