//! What sessions have to do, in memory and one call at a time: the reference that the library is compared with.
//!
//! The model names sessions and secrets by the order in which they were made. Its time counts calls.

mod acts;
mod jobs;

use std::collections::BTreeMap;

use sessile::ErrorKind;

use crate::protocol::{Act, Job};

/// Sessions are numbered in the order in which they begin, over all realms.
pub type Number = usize;
/// Secrets are numbered in the order in which they are handed out.
pub type Secret = usize;
pub type Handle = usize;
pub type Realm = usize;

type Data = BTreeMap<String, u64>;

/// One call.
#[derive(Clone, Debug)]
pub enum Op {
    Open { node: usize, realm: Realm, handle: Handle, token: Token },
    Act { handle: Handle, act: Act<Number> },
    Close { handle: Handle },
    Job { node: usize, realm: Realm, job: Job<Number> },
}

/// The cookie that a request brings.
#[derive(Clone, Copy, Debug)]
pub enum Token {
    None,
    /// One that was handed out.
    Issued(Secret),
    /// The id of a session, and a secret that nobody has handed out.
    WrongSecret(Number),
    /// The id of a session, and what the database has in the place of its secret.
    StoredHash(Number),
    /// An id that no session has.
    Unknown,
    /// No token at all.
    Malformed,
}

/// What the library has to answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub result: Result<Value, ErrorKind>,
    pub view: Option<View>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(u64),
    MaybeNumber(Option<u64>),
    /// The newest log-in first.
    Sessions(Vec<Number>),
    /// The user of a session that was found.
    Found(Option<Option<String>>),
    /// Anything: the number of rows that a sweep has deleted, which may be of earlier cases.
    Any,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    pub session: Option<Number>,
    pub user: Option<String>,
    pub data: Data,
    pub is_superseded: bool,
    pub pending: Option<Option<String>>,
    pub cookie: Cookie,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Cookie {
    #[default]
    Keep,
    /// The token of this secret.
    Set(Secret),
    Remove,
}

/// An event of the log: its name, the session, the user. The uses of replaced secrets are left out: they depend on the
/// minute.
pub type Event = (&'static str, Option<Number>, Option<String>);

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub sessions: Vec<Session>,
    /// The session of each secret.
    pub secrets: Vec<Number>,
    pub handles: BTreeMap<Handle, Open>,
    /// Of each realm.
    pub events: BTreeMap<Realm, Vec<Event>>,
    /// The most sessions of a user.
    pub limit: Option<usize>,
    now: u64,
    /// When sessions of a realm were last revoked: a user's, or everybody's.
    cutoffs: BTreeMap<(Realm, Option<String>), u64>,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Session {
    pub realm: Realm,
    pub is_there: bool,
    pub is_expired: bool,
    pub secret: Secret,
    pub replaced: Option<Replaced>,
    pub user: Option<String>,
    data: Data,
    revision: u64,
    pub pending: Option<Pending>,
    /// By the database's clock, which a test may turn back for a session.
    logged_in_at: i64,
}

#[derive(Clone, Copy, Debug)]
pub struct Replaced {
    pub secret: Secret,
    /// Whether it was replaced more than a minute ago.
    pub is_settled: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    pub user: Option<String>,
    /// Zero if it was made older: it then began before every revocation.
    began: u64,
    seconds: u64,
}

/// A request that is being answered.
#[derive(Clone, Debug)]
pub struct Open {
    pub node: usize,
    pub realm: Realm,
    opened: u64,
    brought_cookie: bool,
    pub standing: Standing,
}

#[derive(Clone, Debug)]
pub enum Standing {
    Anonymous,
    Live(Copy),
    Superseded(Copy),
    Ended,
}

/// A session as a handle has last read or written it.
#[derive(Clone, Debug)]
pub struct Copy {
    pub session: Number,
    pub secret: Secret,
    user: Option<String>,
    data: Data,
    revision: u64,
    pub pending: Option<Pending>,
}

/// The seconds after which a log-in of several requests lapses.
const LAPSES_AFTER: u64 = 600;

type Done = Result<Value, ErrorKind>;

impl Session {
    fn is_live(&self) -> bool {
        self.is_there && !self.is_expired
    }

    fn is_of(&self, realm: Realm, user: &str) -> bool {
        self.is_there && self.realm == realm && self.user.as_deref() == Some(user)
    }

    fn copy(&self, session: Number) -> Copy {
        Copy {
            session,
            secret: self.secret,
            user: self.user.clone(),
            data: self.data.clone(),
            revision: self.revision,
            pending: self.pending.clone(),
        }
    }

    fn give(&mut self, secret: Secret) {
        let old = std::mem::replace(&mut self.secret, secret);
        self.replaced = Some(Replaced { secret: old, is_settled: false });
    }
}

impl Standing {
    /// The session whose secret the request has, or had until a moment ago.
    pub fn copy(&self) -> Option<&Copy> {
        match self {
            Self::Live(copy) | Self::Superseded(copy) => Some(copy),
            Self::Anonymous | Self::Ended => None,
        }
    }
}

impl Model {
    pub fn new(limit: Option<usize>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Does a call, and returns what the library has to answer.
    pub fn run(&mut self, op: &Op) -> Expected {
        self.now += 1;
        match op {
            Op::Open { node, realm, handle, token } => {
                let standing = self.find(*realm, *token);
                let brought_cookie = !matches!(token, Token::None);
                let (node, realm, opened) = (*node, *realm, self.now);
                self.handles
                    .insert(*handle, Open { node, realm, opened, brought_cookie, standing });
                self.expect(Ok(Value::Null), Some(*handle), Cookie::Keep)
            }
            Op::Act { handle, act } => {
                let mut cookie = Cookie::Keep;
                let done = self.act(*handle, act, &mut cookie);
                self.expect(done, Some(*handle), cookie)
            }
            Op::Close { handle } => {
                self.handles.remove(handle);
                self.expect(Ok(Value::Null), None, Cookie::Keep)
            }
            Op::Job { realm, job, .. } => {
                let value = self.job(*realm, job);
                self.expect(Ok(value), None, Cookie::Keep)
            }
        }
    }

    fn expect(&self, result: Done, handle: Option<Handle>, cookie: Cookie) -> Expected {
        let view = handle.map(|handle| View { cookie, ..self.view(handle) });
        Expected { result, view }
    }

    fn view(&self, handle: Handle) -> View {
        match &self.handles[&handle].standing {
            Standing::Live(copy) => View {
                session: Some(copy.session),
                user: copy.user.clone(),
                data: copy.data.clone(),
                pending: copy.pending().map(|pending| pending.user.clone()),
                ..View::default()
            },
            Standing::Superseded(_) => View { is_superseded: true, ..View::default() },
            Standing::Anonymous | Standing::Ended => View::default(),
        }
    }

    fn find(&self, realm: Realm, token: Token) -> Standing {
        let Token::Issued(secret) = token else { return Standing::Anonymous };
        let number = self.secrets[secret];
        let session = &self.sessions[number];
        if !session.is_live() || session.realm != realm {
            return Standing::Anonymous;
        }
        if session.secret == secret {
            return Standing::Live(session.copy(number));
        }
        match session.replaced {
            Some(replaced) if replaced.secret == secret && !replaced.is_settled => {
                Standing::Superseded(Copy { secret, ..session.copy(number) })
            }
            _ => Standing::Anonymous,
        }
    }

    fn secret_of(&mut self, session: Number) -> Secret {
        self.secrets.push(session);
        self.secrets.len() - 1
    }

    fn begin(&mut self, realm: Realm, user: Option<String>, data: Data) -> Number {
        let number = self.sessions.len();
        let secret = self.secret_of(number);
        self.sessions.push(Session {
            realm,
            is_there: true,
            is_expired: false,
            secret,
            replaced: None,
            user,
            data,
            revision: 0,
            pending: None,
            logged_in_at: self.now.cast_signed(),
        });
        number
    }

    fn adopt(&mut self, handle: Handle, session: Number) -> Cookie {
        let copy = self.sessions[session].copy(session);
        let cookie = Cookie::Set(copy.secret);
        self.stand(handle, Standing::Live(copy));
        cookie
    }

    fn stand(&mut self, handle: Handle, standing: Standing) {
        self.handles.get_mut(&handle).expect("the handle is open").standing = standing;
    }

    fn holds(&self, copy: &Copy) -> bool {
        let session = &self.sessions[copy.session];
        session.is_live() && session.secret == copy.secret
    }

    /// Reads the row of a handle again.
    fn reload(&mut self, handle: Handle, copy: &Copy) -> Result<Copy, ErrorKind> {
        let session = &self.sessions[copy.session];
        if !session.is_live() {
            self.stand(handle, Standing::Ended);
            return Err(ErrorKind::SessionEnded);
        }
        if session.secret != copy.secret {
            self.stand(handle, Standing::Superseded(copy.clone()));
            return Err(ErrorKind::Superseded);
        }
        let fresh = session.copy(copy.session);
        self.stand(handle, Standing::Live(fresh.clone()));
        Ok(fresh)
    }

    fn why_not(&mut self, handle: Handle, copy: &Copy) -> ErrorKind {
        self.reload(handle, copy).err().unwrap_or(ErrorKind::Superseded)
    }

    fn live(&self, handle: Handle) -> Result<Option<Copy>, ErrorKind> {
        match &self.handles[&handle].standing {
            Standing::Live(copy) => Ok(Some(copy.clone())),
            Standing::Anonymous => Ok(None),
            Standing::Ended => Err(ErrorKind::SessionEnded),
            Standing::Superseded(_) => Err(ErrorKind::Superseded),
        }
    }

    fn logged_in(&self, handle: Handle) -> Result<(Copy, String), ErrorKind> {
        let copy = self.live(handle)?.ok_or(ErrorKind::NotLoggedIn)?;
        let user = copy.user.clone().ok_or(ErrorKind::NotLoggedIn)?;
        Ok((copy, user))
    }
}

impl Session {
    fn age(&mut self, seconds: u64) {
        self.logged_in_at -= 1_000_000 * seconds.cast_signed();
        if let Some(replaced) = &mut self.replaced {
            replaced.is_settled |= seconds > 60;
        }
        if let Some(pending) = &mut self.pending {
            pending.began = 0;
            pending.seconds += seconds;
        }
    }
}

impl Copy {
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref().filter(|pending| pending.seconds < LAPSES_AFTER)
    }
}
