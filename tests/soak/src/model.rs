//! What sessions have to do, in memory and one call at a time: the reference that the library is compared with.
//!
//! The model names sessions and secrets by the order in which they were made. Its time counts calls.

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

    fn act(&mut self, handle: Handle, act: &Act<Number>, cookie: &mut Cookie) -> Done {
        match act {
            Act::Set(key, value) => {
                let change = |data: &mut Data| {
                    data.insert(key.clone(), *value);
                };
                self.write(handle, change, cookie).map(|()| Value::Null)
            }
            // A key that the handle does not see is not removed.
            Act::Remove(key) if !self.view(handle).data.contains_key(key) => Ok(Value::Null),
            Act::Remove(key) => {
                let change = |data: &mut Data| {
                    data.remove(key);
                };
                self.write(handle, change, cookie).map(|()| Value::Null)
            }
            Act::Update(key) => {
                let mut after = 0;
                let change = |data: &mut Data| {
                    let value = data.entry(key.clone()).or_default();
                    *value += 1;
                    after = *value;
                };
                self.write(handle, change, cookie)?;
                Ok(Value::Number(after))
            }
            Act::Take(key) => self.take(handle, key, cookie),
            Act::Renew => self.renew(handle, cookie),
            Act::Reauthenticate => self.reauthenticate(handle, cookie),
            Act::BeginLogIn(user) => self.begin_log_in(handle, user.clone(), cookie),
            Act::CompleteLogIn(user) => {
                let (user, began) = self.pending(handle, user.as_deref())?;
                self.log_in(handle, &user, began, false, cookie)
            }
            Act::LogIn { user, discard, .. } => {
                let began = self.handles[&handle].opened;
                self.log_in(handle, user, began, *discard, cookie)
            }
            Act::LogOut => self.log_out(handle, cookie),
            Act::LogOutOthers => {
                let (copy, user) = self.logged_in(handle)?;
                if !self.holds(&copy) {
                    return Err(self.why_not(handle, &copy));
                }
                let realm = self.handles[&handle].realm;
                let ended = self.revoke(realm, Some(&user), Some(copy.session));
                Ok(Value::Number(ended))
            }
            Act::LogOutEverywhere => {
                let (copy, user) = self.logged_in(handle)?;
                if !self.holds(&copy) {
                    return Err(self.why_not(handle, &copy));
                }
                let realm = self.handles[&handle].realm;
                let ended = self.revoke(realm, Some(&user), None);
                self.stand(handle, Standing::Anonymous);
                *cookie = Cookie::Remove;
                Ok(Value::Number(ended))
            }
            Act::LogOutDevice(of) => self.log_out_device(handle, *of, cookie),
            Act::Devices => {
                let (copy, user) = self.logged_in(handle)?;
                if !self.holds(&copy) {
                    return Err(self.why_not(handle, &copy));
                }
                Ok(Value::Sessions(self.list(self.handles[&handle].realm, &user)))
            }
            Act::Refresh => {
                if let Some(copy) = self.live(handle)? {
                    self.reload(handle, &copy)?;
                }
                Ok(Value::Null)
            }
            // A touch moves the end of a session only, and never fails a request.
            Act::Finish => Ok(Value::Null),
        }
    }

    /// Every write merges with what others have written since the handle has read the row. Empty data begins no
    /// session.
    fn write(
        &mut self,
        handle: Handle,
        mut change: impl FnMut(&mut Data),
        cookie: &mut Cookie,
    ) -> Result<(), ErrorKind> {
        let Some(mut copy) = self.live(handle)? else {
            let mut data = Data::new();
            change(&mut data);
            if !data.is_empty() {
                let realm = self.handles[&handle].realm;
                let session = self.begin(realm, None, data);
                *cookie = self.adopt(handle, session);
            }
            return Ok(());
        };
        if !self.holds(&copy) || self.sessions[copy.session].revision != copy.revision {
            copy = self.reload(handle, &copy)?;
        }
        let session = &mut self.sessions[copy.session];
        change(&mut session.data);
        session.revision += 1;
        (copy.data, copy.revision) = (session.data.clone(), session.revision);
        self.stand(handle, Standing::Live(copy));
        Ok(())
    }

    fn take(&mut self, handle: Handle, key: &str, cookie: &mut Cookie) -> Done {
        let Some(copy) = self.live(handle)? else { return Ok(Value::MaybeNumber(None)) };
        if !copy.data.contains_key(key) {
            return Ok(Value::MaybeNumber(None));
        }
        let copy = match self.holds(&copy) && self.sessions[copy.session].revision == copy.revision
        {
            true => copy,
            false => self.reload(handle, &copy)?,
        };
        let Some(value) = copy.data.get(key).copied() else {
            return Ok(Value::MaybeNumber(None));
        };
        let change = |data: &mut Data| {
            data.remove(key);
        };
        self.write(handle, change, cookie)?;
        Ok(Value::MaybeNumber(Some(value)))
    }

    fn renew(&mut self, handle: Handle, cookie: &mut Cookie) -> Done {
        let Some(copy) = self.live(handle)? else { return Ok(Value::Null) };
        if !self.holds(&copy) {
            return Err(self.why_not(handle, &copy));
        }
        let secret = self.secret_of(copy.session);
        self.sessions[copy.session].give(secret);
        *cookie = Cookie::Set(secret);
        self.stand(handle, Standing::Live(Copy { secret, ..copy }));
        Ok(Value::Null)
    }

    fn reauthenticate(&mut self, handle: Handle, cookie: &mut Cookie) -> Done {
        let (copy, user) = self.logged_in(handle)?;
        if !self.holds(&copy) {
            return Err(self.why_not(handle, &copy));
        }
        let secret = self.secret_of(copy.session);
        let now = self.now.cast_signed();
        let session = &mut self.sessions[copy.session];
        session.give(secret);
        session.revision += 1;
        session.logged_in_at = now;
        // A log-in that was begun before it can no longer be completed.
        session.pending = None;
        let realm = session.realm;
        self.record(realm, "reauthenticated", Some(copy.session), Some(user));
        *cookie = self.adopt(handle, copy.session);
        Ok(Value::Null)
    }

    fn begin_log_in(&mut self, handle: Handle, user: Option<String>, cookie: &mut Cookie) -> Done {
        let pending = Some(Pending { user, began: self.now, seconds: 0 });
        let copy = match self.handles[&handle].standing.clone() {
            Standing::Ended => return Err(ErrorKind::SessionEnded),
            Standing::Anonymous => {
                let session = self.begin(self.handles[&handle].realm, None, Data::new());
                self.sessions[session].pending = pending;
                *cookie = self.adopt(handle, session);
                return Ok(Value::Null);
            }
            Standing::Live(copy) | Standing::Superseded(copy) => copy,
        };
        if !self.holds(&copy) {
            return Err(self.why_not(handle, &copy));
        }
        let secret = self.secret_of(copy.session);
        let session = &mut self.sessions[copy.session];
        session.give(secret);
        session.pending = pending.clone();
        *cookie = Cookie::Set(secret);
        self.stand(handle, Standing::Live(Copy { secret, pending, ..copy }));
        Ok(Value::Null)
    }

    /// The user and the beginning of the log-in that the handle can complete.
    fn pending(&self, handle: Handle, named: Option<&str>) -> Result<(String, u64), ErrorKind> {
        let copy = self.live(handle)?;
        let pending = copy.as_ref().and_then(Copy::pending).ok_or(ErrorKind::NoPendingLogIn)?;
        match (pending.user.as_deref(), named) {
            (Some(begun), Some(named)) if begun != named => Err(ErrorKind::NoPendingLogIn),
            (Some(user), _) | (None, Some(user)) => Ok((user.to_owned(), pending.began)),
            (None, None) => Err(ErrorKind::NoPendingLogIn),
        }
    }

    fn log_in(
        &mut self,
        handle: Handle,
        user: &str,
        began: u64,
        discard: bool,
        cookie: &mut Cookie,
    ) -> Done {
        let realm = self.handles[&handle].realm;
        let copy = self.handles[&handle].standing.copy().cloned();
        let other = copy.as_ref().and_then(|copy| copy.user.clone()).filter(|other| other != user);
        let drops_data = discard || other.is_some();
        let was_superseded = matches!(self.handles[&handle].standing, Standing::Superseded(_));

        let mut data = Data::new();
        if let Some(copy) = &copy {
            if self.holds(copy) {
                if let Err(refused) = self.admit(realm, user, began) {
                    self.reload(handle, copy).ok();
                    return Err(refused);
                }
                let secret = self.secret_of(copy.session);
                let now = self.now.cast_signed();
                let session = &mut self.sessions[copy.session];
                session.give(secret);
                session.user = Some(user.to_owned());
                if drops_data {
                    session.data.clear();
                }
                session.revision += 1;
                session.pending = None;
                session.logged_in_at = now;
                self.logged_in_to(copy.session, user);
                if let Some(other) = other {
                    self.record(realm, "logged_out", Some(copy.session), Some(other));
                }
                *cookie = self.adopt(handle, copy.session);
                return Ok(Value::Null);
            }
            let error = self.why_not(handle, copy);
            if error == ErrorKind::Superseded && !drops_data && !was_superseded {
                data = copy.data.clone();
            }
        }
        self.admit(realm, user, began)?;
        let session = self.begin(realm, Some(user.to_owned()), data);
        self.logged_in_to(session, user);
        *cookie = self.adopt(handle, session);
        Ok(Value::Null)
    }

    /// Refuses a log-in that began before the last revocation of its user's sessions.
    fn admit(&mut self, realm: Realm, user: &str, began: u64) -> Result<(), ErrorKind> {
        let keys = [(realm, Some(user.to_owned())), (realm, None)];
        if keys.iter().any(|key| self.cutoffs.get(key).is_some_and(|at| *at > began)) {
            self.record(realm, "refused", None, Some(user.to_owned()));
            return Err(ErrorKind::LogInRefused);
        }
        Ok(())
    }

    /// Records a log-in, and ends the oldest sessions above the limit.
    fn logged_in_to(&mut self, number: Number, user: &str) {
        let realm = self.sessions[number].realm;
        self.record(realm, "logged_in", Some(number), Some(user.to_owned()));
        let mut others = self.list(realm, user);
        others.retain(|other| *other != number);
        let surplus = self.limit.map_or(0, |limit| (others.len() + 1).saturating_sub(limit));
        for oldest in others.into_iter().rev().take(surplus) {
            self.sessions[oldest].is_there = false;
            self.record(realm, "revoked", Some(oldest), Some(user.to_owned()));
        }
    }

    fn log_out(&mut self, handle: Handle, cookie: &mut Cookie) -> Done {
        let copy = match self.handles[&handle].standing.clone() {
            Standing::Superseded(_) => return Err(ErrorKind::Superseded),
            Standing::Anonymous | Standing::Ended => {
                if self.handles[&handle].brought_cookie {
                    *cookie = Cookie::Remove;
                }
                self.stand(handle, Standing::Anonymous);
                return Ok(Value::Number(0));
            }
            Standing::Live(copy) => copy,
        };
        let was_live = self.holds(&copy);
        if was_live {
            self.end(copy.session, "logged_out");
        } else {
            let error = self.why_not(handle, &copy);
            if error != ErrorKind::SessionEnded {
                return Err(error);
            }
        }
        self.stand(handle, Standing::Anonymous);
        *cookie = Cookie::Remove;
        Ok(Value::Number(was_live.into()))
    }

    fn log_out_device(&mut self, handle: Handle, of: Number, cookie: &mut Cookie) -> Done {
        let (copy, user) = self.logged_in(handle)?;
        let realm = self.handles[&handle].realm;
        let acts = self.holds(&copy) && self.sessions[of].is_of(realm, &user);
        let event = if of == copy.session { "logged_out" } else { "revoked" };
        let was_live = acts && self.end(of, event);
        if !was_live {
            self.reload(handle, &copy)?;
        } else if of == copy.session {
            self.stand(handle, Standing::Anonymous);
            *cookie = Cookie::Remove;
        }
        Ok(Value::Bool(was_live))
    }

    /// Deletes a row, and records it. Returns whether the session was live.
    fn end(&mut self, number: Number, event: &'static str) -> bool {
        let session = &mut self.sessions[number];
        let (was_live, user, realm) = (session.is_live(), session.user.clone(), session.realm);
        session.is_there = false;
        match was_live {
            true if user.is_some() || event == "revoked" => {
                self.record(realm, event, Some(number), user);
            }
            false if user.is_some() => self.record(realm, "expired", Some(number), user),
            _ => {}
        }
        was_live
    }

    /// Ends the sessions of a user or of everybody, and refuses the log-ins that began before. Returns how many were
    /// live.
    fn revoke(&mut self, realm: Realm, user: Option<&str>, keep: Option<Number>) -> u64 {
        self.cutoffs.insert((realm, user.map(str::to_owned)), self.now);
        let mut ended = 0;
        for number in 0..self.sessions.len() {
            let session = &self.sessions[number];
            let is_meant = session.is_there
                && session.realm == realm
                && user.is_none_or(|user| session.user.as_deref() == Some(user))
                && Some(number) != keep;
            if !is_meant {
                continue;
            }
            if session.user.is_some() {
                ended += u64::from(self.end(number, "revoked"));
            } else {
                // A revocation of everybody records no visitors.
                ended += u64::from(session.is_live());
                self.sessions[number].is_there = false;
            }
        }
        self.record(realm, "revoked", None, user.map(str::to_owned));
        ended
    }

    fn list(&self, realm: Realm, user: &str) -> Vec<Number> {
        let is_listed = |number: &Number| {
            let session = &self.sessions[*number];
            session.is_of(realm, user) && session.is_live()
        };
        let mut listed: Vec<_> = (0..self.sessions.len()).filter(is_listed).collect();
        listed.sort_by_key(|number| std::cmp::Reverse(self.sessions[*number].logged_in_at));
        listed
    }

    fn record(
        &mut self,
        realm: Realm,
        event: &'static str,
        session: Option<Number>,
        user: Option<String>,
    ) {
        self.events.entry(realm).or_default().push((event, session, user));
    }

    fn job(&mut self, realm: Realm, job: &Job<Number>) -> Value {
        let is_in =
            |number: Number| self.sessions[number].is_there && self.sessions[number].realm == realm;
        match job {
            Job::Revoke(number) => {
                let is_in = is_in(*number);
                Value::Bool(is_in && self.end(*number, "revoked"))
            }
            Job::RevokeUser(user) => Value::Number(self.revoke(realm, Some(user), None)),
            Job::RevokeOthers(user, keep) => {
                Value::Number(self.revoke(realm, Some(user), Some(*keep)))
            }
            Job::RevokeAll => Value::Number(self.revoke(realm, None, None)),
            Job::Forget(user) => {
                let ended = self.revoke(realm, Some(user), None);
                let of_user = Some(user.clone());
                self.events.entry(realm).or_default().retain(|(_, _, of)| *of != of_user);
                self.cutoffs.remove(&(realm, of_user));
                Value::Number(ended)
            }
            Job::SetData(number, key, value) => {
                let is_there = is_in(*number) && self.sessions[*number].is_live();
                if is_there {
                    let session = &mut self.sessions[*number];
                    session.data.insert(key.clone(), *value);
                    session.revision += 1;
                }
                Value::Bool(is_there)
            }
            Job::Find(number) => {
                let is_there = is_in(*number) && self.sessions[*number].is_live();
                Value::Found(is_there.then(|| self.sessions[*number].user.clone()))
            }
            Job::Count => {
                let live = self.sessions.iter().filter(|s| s.realm == realm && s.is_live());
                Value::Number(live.count() as u64)
            }
            Job::List(user) => Value::Sessions(self.list(realm, user)),
            Job::Sweep => {
                for number in 0..self.sessions.len() {
                    if self.sessions[number].is_there && self.sessions[number].is_expired {
                        self.end(number, "expired");
                    }
                }
                Value::Any
            }
            Job::Age(number, seconds) => {
                let is_in = is_in(*number);
                if is_in {
                    self.sessions[*number].age(*seconds);
                }
                Value::Bool(is_in)
            }
            Job::Expire(number) => {
                let is_live = is_in(*number) && self.sessions[*number].is_live();
                if is_live {
                    let session = &mut self.sessions[*number];
                    session.age(61 * 86_400);
                    session.is_expired = true;
                }
                Value::Bool(is_live)
            }
        }
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
