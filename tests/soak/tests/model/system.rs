//! The library, driven as the model is.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use sessile::SessionId;
use sessile_soak::{
    model::{self, Cookie, Model, Op, Token, Value},
    protocol::{self, Act, Answer, Call, Job},
};
use sha2::{Digest, Sha256};

use crate::{
    calls::{REALMS, Reference},
    world::World,
};

static CASES: AtomicU64 = AtomicU64::new(0);

impl Drop for System {
    fn drop(&mut self) {
        for realm in &self.realms {
            self.world.leave(realm);
        }
    }
}

/// The library in one case, which has realms of its own.
pub(crate) struct System {
    world: &'static World,
    realms: Vec<String>,
    /// Of the model's numbers.
    ids: BTreeMap<usize, SessionId>,
    tokens: BTreeMap<usize, String>,
    /// Where each handle was opened, and its number there.
    handles: BTreeMap<usize, (usize, u64)>,
    next_handle: u64,
    /// When the newest revocation of several sessions returned.
    revoked: Option<Instant>,
}

/// A log-in is refused if it may have begun before a revocation, and the library counts the way of the database's answer
/// against it: a few milliseconds on a busy machine. A request that comes this long after a revocation is in no doubt.
const IN_NO_DOUBT: Duration = Duration::from_millis(50);

fn revokes_several(op: &Op) -> bool {
    match op {
        Op::Job { job, .. } => matches!(
            job,
            Job::RevokeUser(_) | Job::RevokeOthers(..) | Job::RevokeAll | Job::Forget(_)
        ),
        Op::Act { act, .. } => matches!(act, Act::LogOutOthers | Act::LogOutEverywhere),
        Op::Open { .. } | Op::Close { .. } => false,
    }
}

impl System {
    pub(crate) fn new(world: &'static World) -> Self {
        let case = CASES.fetch_add(1, Relaxed);
        let run = uuid::Uuid::now_v7().simple().to_string();
        let realm = |realm| format!("c{case}-{realm}-{}", &run[20..]);
        Self {
            world,
            realms: (0..REALMS).map(realm).collect(),
            ids: BTreeMap::new(),
            tokens: BTreeMap::new(),
            handles: BTreeMap::new(),
            next_handle: case << 32,
            revoked: None,
        }
    }

    /// Makes the call, and compares the answer with the model's.
    #[track_caller]
    pub(crate) fn apply(&mut self, reference: &Reference, op: &Op) {
        // The precision of SQLite's clock is a millisecond, and a revocation refuses the log-ins of its own one.
        let mut pause = Duration::from_millis(2);
        if let (Some(bound), Op::Open { .. }) = (self.world.cache, op) {
            // A copy may be so old.
            pause += bound;
        }
        if let (Some(revoked), Op::Open { .. }) = (self.revoked, op) {
            pause = pause.max(IN_NO_DOUBT.saturating_sub(revoked.elapsed()));
        }
        std::thread::sleep(pause);
        let (node, call) = self.call(&reference.model, op);
        let answer = self.world.call(node, &call);
        if revokes_several(op) {
            self.revoked = Some(Instant::now());
        }
        self.compare(&reference.expected, &answer, op);
    }

    fn call(&mut self, model: &Model, op: &Op) -> (usize, Call) {
        match op.clone() {
            Op::Open { node, realm, handle, token } => {
                self.next_handle += 1;
                let number = self.next_handle;
                if let Some((node, number)) = self.handles.insert(handle, (node, number)) {
                    self.world.call(node, &Call::Close { handle: number });
                }
                let (realm, token) = (self.realms[realm].clone(), self.token(model, token));
                (node, Call::Open { realm, handle: number, token })
            }
            Op::Act { handle, act } => {
                let (node, handle) = self.handles[&handle];
                (node, Call::Act { handle, act: act.map(|number| self.ids[&number]) })
            }
            Op::Close { handle } => {
                let (node, handle) = self.handles.remove(&handle).expect("it is open");
                (node, Call::Close { handle })
            }
            Op::Job { node, realm, job } => {
                let job = job.map(|number| self.ids[&number]);
                (node, Call::Job { realm: self.realms[realm].clone(), job })
            }
        }
    }

    fn token(&self, model: &Model, token: Token) -> Option<String> {
        let made = |id: &[u8], secret: &[u8]| Some(URL_SAFE_NO_PAD.encode([id, secret].concat()));
        match token {
            Token::None => None,
            Token::Issued(secret) => Some(self.tokens[&secret].clone()),
            Token::WrongSecret(number) => made(self.ids[&number].as_uuid().as_bytes(), &[7; 32]),
            Token::StoredHash(number) => {
                let token = &self.tokens[&model.sessions[number].secret];
                let token = URL_SAFE_NO_PAD.decode(token).expect("a token is base64");
                made(&token[..16], &Sha256::digest(&token[16..]))
            }
            Token::Unknown => made(uuid::Uuid::now_v7().as_bytes(), &[7; 32]),
            Token::Malformed => Some("x".repeat(63)),
        }
    }

    #[track_caller]
    fn compare(&mut self, expected: &model::Expected, answer: &Answer, op: &Op) {
        let view = expected.view.as_ref().zip(answer.view.as_ref());
        assert_eq!(expected.view.is_some(), answer.view.is_some(), "{op:?}: {answer:?}");
        if let Some((expected, actual)) = view {
            self.learn(expected, actual);
            let id = |number| match self.ids.get(&number) {
                Some(id) => *id,
                None => panic!("{op:?} has made no session: {answer:?}"),
            };
            let expected = protocol::View {
                id: expected.session.map(id),
                user: expected.user.clone(),
                data: expected.data.clone(),
                is_superseded: expected.is_superseded,
                pending: expected.pending.clone().map(|user| protocol::Pending { user }),
                cookie: match expected.cookie {
                    Cookie::Keep => protocol::Cookie::Keep,
                    Cookie::Remove => protocol::Cookie::Remove,
                    Cookie::Set(secret) => protocol::Cookie::Set(self.tokens[&secret].clone()),
                },
            };
            assert_eq!(*actual, expected, "the handle after {op:?}: {answer:?}");
        }
        let expected = match &expected.result {
            Ok(Value::Any) => return,
            Ok(value) => Ok(self.json(value)),
            Err(kind) => Err(kind.as_str().to_owned()),
        };
        assert_eq!(answer.result, expected, "the answer to {op:?}: {answer:?}");
    }

    /// Remembers the id of a session and the token of a secret when they are first seen. Each is new.
    #[track_caller]
    fn learn(&mut self, expected: &model::View, actual: &protocol::View) {
        if let (Some(number), Some(id)) = (expected.session, actual.id)
            && !self.ids.contains_key(&number)
        {
            assert!(!self.ids.values().any(|known| *known == id), "the session {id} is not new");
            self.ids.insert(number, id);
        }
        if let (Cookie::Set(secret), protocol::Cookie::Set(token)) =
            (expected.cookie, &actual.cookie)
            && !self.tokens.contains_key(&secret)
        {
            assert!(!self.tokens.values().any(|known| known == token), "the token is not new");
            self.tokens.insert(secret, token.clone());
        }
    }

    fn json(&self, value: &Value) -> serde_json::Value {
        match value {
            Value::Null | Value::Any => json!(null),
            Value::Bool(value) => json!(value),
            Value::Number(value) => json!(value),
            Value::MaybeNumber(value) => json!(value),
            Value::Sessions(numbers) => {
                json!(numbers.iter().map(|number| self.ids[number]).collect::<Vec<_>>())
            }
            Value::Found(found) => match found {
                None => json!(null),
                Some(user) => json!({ "user": user }),
            },
        }
    }

    /// The log of events has what the model has recorded, in any order.
    pub(crate) fn compare_events(&self, model: &Model) {
        for (realm, name) in self.realms.iter().enumerate() {
            let actual = self.world.events(name);
            let events = model.events.get(&realm).into_iter().flatten();
            let mut expected: Vec<_> = events
                .map(|(event, session, user)| {
                    let id = session.map(|number| self.ids[&number].to_string());
                    ((*event).to_owned(), id, user.clone())
                })
                .collect();
            expected.sort();
            assert_eq!(actual, expected, "the events of realm {realm}");
        }
    }
}
