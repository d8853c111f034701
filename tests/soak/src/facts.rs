//! What is certain about the sessions, because a call got an answer, and whether a new answer contradicts it.
//!
//! All times are of the process that makes the calls. A fact holds from the moment of its answer. A call that got none
//! may have happened, may happen later, or may never happen.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use sessile::SessionId;

use crate::protocol::{Answer, Cookie, View};

/// The errors that a request may get: its session is gone or has another secret, or the database failed.
const EXPECTED: [&str; 10] = [
    "session_ended",
    "superseded",
    "not_logged_in",
    "no_pending_log_in",
    "log_in_refused",
    "contention",
    "overloaded",
    "database",
    "outcome_unknown",
    "too_many_sessions",
];

/// No call may take longer: the deadlines are 2 and 5 seconds, and a machine may be busy.
pub const LONGEST: Duration = Duration::from_secs(60);

/// When a call was made and answered.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub begun: Instant,
    pub answered: Instant,
}

#[derive(Debug, Default)]
pub struct Facts {
    sessions: HashMap<SessionId, Session>,
    of_user: HashMap<String, Vec<SessionId>>,
    /// Tokens whose secret was replaced.
    replaced: HashMap<String, Instant>,
    /// The values of `once` that somebody got.
    taken: HashSet<u64>,
    revocations: Vec<Revocation>,
    /// When a user was last forgotten. `None` while that is under way.
    forgotten: HashMap<String, Option<Instant>>,
    violations: Vec<String>,
    /// Calls that got an answer, other than that the database has failed.
    pub operations: u64,
    pub failures: HashMap<String, u64>,
}

#[derive(Debug, Default)]
struct Session {
    user: Option<String>,
    /// The first answer that showed it.
    seen: Option<Instant>,
    log_ins: Vec<LogIn>,
    unknown_log_ins: u64,
    /// Since when it is certain that the session has ended.
    ended: Option<Instant>,
    /// By what.
    ended_by: String,
    /// Calls that ended it, by their answer.
    ends: u64,
    unknown_ends: u64,
    /// The counter when the session was first seen.
    base: u64,
    added: Vec<Instant>,
    /// Additions that were begun, answered or not.
    adding: u64,
    sums: HashSet<u64>,
    /// The user's events were erased.
    is_forgotten: bool,
}

/// A log-in that was answered.
#[derive(Clone, Copy, Debug)]
struct LogIn {
    /// When its authentication had begun at the latest.
    began: Instant,
    answered: Instant,
}

#[derive(Clone, Debug)]
struct Revocation {
    /// Everybody's, if there is none.
    user: Option<String>,
    keep: Option<SessionId>,
    /// Whether log-ins that were under way may go on, because the cut-off was erased.
    is_erased: bool,
    span: Span,
}

impl Revocation {
    fn ends(&self, id: SessionId, session: &Session) -> bool {
        if Some(id) == self.keep {
            return false;
        }
        let was_before = |at: Instant| at < self.span.begun;
        let was_in = |log_in: &LogIn| {
            was_before(if self.is_erased { log_in.answered } else { log_in.began })
        };
        match &self.user {
            Some(_) => session.user == self.user && session.log_ins.iter().any(was_in),
            None => session.seen.is_some_and(was_before),
        }
    }
}

/// What a call was, for the messages and the bookkeeping.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Where, and what, in words.
    pub what: &'a str,
    pub span: Span,
    /// How old a copy may be that answers on this node.
    pub bound: Duration,
}

impl Facts {
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    fn violation(&mut self, asked: &Asked<'_>, text: &str) {
        self.violations.push(format!("{}: {text}", asked.what));
    }

    /// Counts an answer. Returns whether it is a success.
    pub fn answered(&mut self, asked: &Asked<'_>, answer: &Answer) -> bool {
        let took = asked.span.answered - asked.span.begun;
        if took > LONGEST {
            self.violation(asked, &format!("the answer took {took:?}"));
        }
        match &answer.result {
            Ok(_) => {
                self.operations += 1;
                true
            }
            Err(kind) => {
                self.operations += u64::from(!["database", "overloaded"].contains(&kind.as_str()));
                *self.failures.entry(kind.clone()).or_default() += 1;
                if !EXPECTED.contains(&kind.as_str()) {
                    let message = answer.message.as_deref().unwrap_or_default();
                    self.violation(asked, &format!("failed as {kind}: {message}"));
                }
                false
            }
        }
    }

    /// A request has opened its session with a token. `is_genuine`: the token was handed out.
    pub fn opened(
        &mut self,
        asked: &Asked<'_>,
        token: Option<&str>,
        is_genuine: bool,
        answer: &Answer,
    ) {
        if !self.answered(asked, answer) {
            return;
        }
        let Some((view, id)) = in_session(answer) else { return };
        if !is_genuine {
            return self
                .violation(asked, &format!("a token that nobody has handed out opened {id}"));
        }
        let old = asked.span.begun.checked_sub(asked.bound).unwrap_or(asked.span.begun);
        if token.and_then(|token| self.replaced.get(token)).is_some_and(|at| *at < old) {
            self.violation(asked, &format!("a token that was replaced opened {id}"));
        }
        self.is_alive(asked, id, old);
        self.see(view, id, asked.span);
        let session = &self.sessions[&id];
        let count = count(view);
        let least = session.base + session.added.iter().filter(|at| **at < old).count() as u64;
        let most = session.base + session.adding;
        if count < least || count > most {
            let text = format!(
                "{id} counts {count}, and has {least} additions that were answered and at most {most}"
            );
            self.violation(asked, &text);
        }
    }

    fn is_alive(&mut self, asked: &Asked<'_>, id: SessionId, at: Instant) {
        let ended = self.sessions.get(&id).and_then(|session| session.ended);
        if let Some(ended) = ended.filter(|ended| *ended < at) {
            let ago = at - ended;
            let by = &self.sessions[&id].ended_by;
            self.violation(
                asked,
                &format!("{id} is alive {ago:?} after its end was answered: {by}"),
            );
        }
    }

    /// Takes over what a handle shows of a session that may be new.
    fn see(&mut self, view: &View, id: SessionId, span: Span) {
        let session = self.sessions.entry(id).or_insert_with(|| Session {
            base: count(view),
            seen: Some(span.answered),
            ..Session::default()
        });
        if session.user.is_none() && view.user.is_some() {
            session.user.clone_from(&view.user);
            self.of_user.entry(view.user.clone().unwrap_or_default()).or_default().push(id);
        }
    }

    /// The counter will be raised, or may be.
    pub fn adds(&mut self, id: Option<SessionId>) {
        if let Some(session) = id.and_then(|id| self.sessions.get_mut(&id)) {
            session.adding += 1;
        }
    }

    /// A handler has done something with its session. `token` is what the request came with, or got last.
    pub fn acted(
        &mut self,
        asked: &Asked<'_>,
        before: &View,
        token: Option<&str>,
        answer: &Answer,
    ) -> bool {
        let is_done = self.answered(asked, answer);
        if answer.result == Err("session_ended".to_owned())
            && let Some(id) = before.id
        {
            self.end(id, asked.span.answered, asked.what);
        }
        let Some(view) = &answer.view else { return is_done };
        if let (Cookie::Set(_), Some(token)) = (&view.cookie, token) {
            self.replaced.entry(token.to_owned()).or_insert(asked.span.answered);
        }
        if let Some(id) = view.id {
            self.see(view, id, asked.span);
        }
        is_done
    }

    /// The act has written to the session, so the session was alive.
    pub fn wrote(&mut self, asked: &Asked<'_>, id: SessionId) {
        self.is_alive(asked, id, asked.span.begun);
    }

    /// The counter was raised, and this was its value.
    pub fn added(&mut self, asked: &Asked<'_>, id: SessionId, sum: u64) {
        self.wrote(asked, id);
        let session = self.sessions.entry(id).or_default();
        let before = session.added.iter().filter(|at| **at < asked.span.begun).count() as u64;
        let (least, most) = (session.base + before + 1, session.base + session.adding);
        session.added.push(asked.span.answered);
        if !session.sums.insert(sum) {
            self.violation(asked, &format!("two additions of {id} returned {sum}"));
        } else if sum < least || sum > most {
            self.violation(
                asked,
                &format!("{id} counts {sum}, between {least} and {most} was due"),
            );
        }
    }

    /// A session has begun with its first addition.
    pub fn began_with(&mut self, id: SessionId) {
        let session = self.sessions.entry(id).or_default();
        session.adding += 1;
        session.base = session.base.saturating_sub(1);
    }

    /// A value that is there once was taken.
    pub fn took(&mut self, asked: &Asked<'_>, value: u64) {
        if !self.taken.insert(value) {
            self.violation(asked, &format!("{value} was taken twice"));
        }
    }

    /// A user has logged in. The authentication began at the latest at `began`.
    pub fn logged_in(&mut self, asked: &Asked<'_>, id: SessionId, began: Instant) {
        self.is_alive(asked, id, asked.span.begun);
        let user = self.sessions.get(&id).and_then(|session| session.user.clone());
        let was_forgotten = user.is_some_and(|user| self.was_forgotten(&user, began));
        let session = self.sessions.entry(id).or_default();
        session.log_ins.push(LogIn { began, answered: asked.span.answered });
        session.is_forgotten |= was_forgotten;
        let session = &self.sessions[&id];
        if self.revocations.iter().any(|revocation| revocation.ends(id, session)) {
            // It was admitted before the revocation, which then has ended it, or it should not have been.
            self.end(id, asked.span.answered, asked.what);
        }
    }

    pub fn may_have_logged_in(&mut self, id: Option<SessionId>) {
        if let Some(session) = id.and_then(|id| self.sessions.get_mut(&id)) {
            session.unknown_log_ins += 1;
        }
    }

    /// Sessions were revoked: a user's, or everybody's.
    pub fn revoked(&mut self, asked: &Asked<'_>, user: Option<&str>, keep: Option<SessionId>) {
        let (span, by) = (asked.span, asked.what);
        let is_erased = user.is_some_and(|user| self.was_forgotten(user, span.begun));
        let revocation = Revocation { user: user.map(str::to_owned), keep, is_erased, span };
        let ids: Vec<_> = match user {
            Some(user) => self.of_user.get(user).cloned().unwrap_or_default(),
            None => self.sessions.keys().copied().collect(),
        };
        for id in ids {
            if self.sessions.get(&id).is_some_and(|session| revocation.ends(id, session)) {
                self.end(id, span.answered, by);
            }
        }
        // A log-in that began before may still be under way. Old ones have had their answer, or get none.
        self.revocations.retain(|old| old.span.answered + 2 * LONGEST > span.begun);
        if !is_erased {
            self.revocations.push(revocation);
        }
        if let Some(user) = user {
            let sessions = &self.sessions;
            let is_alive =
                |id: &SessionId| sessions.get(id).is_some_and(|session| session.ended.is_none());
            self.of_user.entry(user.to_owned()).or_default().retain(is_alive);
        }
    }

    /// It is certain that the session has ended.
    pub fn end(&mut self, id: SessionId, at: Instant, by: &str) {
        let session = self.sessions.entry(id).or_default();
        if session.ended.is_none_or(|ended| at < ended) {
            session.ended = Some(at);
            by.clone_into(&mut session.ended_by);
        }
    }

    /// A call has ended the session while it was alive.
    pub fn was_ended(&mut self, asked: &Asked<'_>, id: SessionId) {
        self.is_alive(asked, id, asked.span.begun);
        self.end(id, asked.span.answered, asked.what);
        let session = self.sessions.entry(id).or_default();
        session.ends += 1;
        if session.ends > 1 {
            self.violation(asked, &format!("{id} was ended twice"));
        }
    }

    pub fn may_have_ended(&mut self, id: SessionId) {
        self.sessions.entry(id).or_default().unknown_ends += 1;
    }

    /// A user will be forgotten, or may be. Their events and the cut-offs of their revocations are erased, so that a
    /// log-in that is under way may succeed.
    pub fn forgets(&mut self, user: &str) {
        self.forgotten.insert(user.to_owned(), None);
        self.erased(user);
    }

    /// The answer of that, if there was one.
    pub fn forgot(&mut self, asked: &Asked<'_>, user: &str, is_done: bool) {
        let span = asked.span;
        if is_done {
            self.revoked(asked, Some(user), None);
        }
        self.erased(user);
        // Without an answer, it may happen a little later.
        let until = if is_done { span.answered } else { span.answered + LONGEST };
        self.forgotten.insert(user.to_owned(), Some(until));
    }

    fn erased(&mut self, user: &str) {
        self.revocations.retain(|revocation| revocation.user.as_deref() != Some(user));
        for session in self.sessions.values_mut() {
            session.is_forgotten |= session.user.as_deref() == Some(user);
        }
    }

    fn was_forgotten(&self, user: &str, since: Instant) -> bool {
        self.forgotten.get(user).is_some_and(|until| until.is_none_or(|until| until >= since))
    }

    /// A session that is not known to have ended, among the newest.
    pub fn any_of(&self, user: &str, dice: usize) -> Option<SessionId> {
        let ids = self.of_user.get(user)?;
        let from = ids.len().saturating_sub(20);
        ids.get(from + dice % (ids.len() - from).max(1)).copied()
    }

    /// Compares the log of events with what was answered: each session's log-ins and ends.
    pub fn compare_events(&mut self, events: &HashMap<SessionId, Events>) {
        let none = Events::default();
        let mut found = Vec::new();
        for (id, session) in &self.sessions {
            if session.is_forgotten {
                continue;
            }
            let events = events.get(id).unwrap_or(&none);
            let log_ins = session.log_ins.len() as u64;
            if events.log_ins < log_ins || events.log_ins > log_ins + session.unknown_log_ins {
                found.push(format!(
                    "{id} has {log_ins} log-ins and {} events of them",
                    events.log_ins
                ));
            }
            if events.ends > 1 {
                found.push(format!("{id} ended {} times in the log", events.ends));
            }
            if session.ends > 0 && session.user.is_some() && events.ends == 0 {
                found.push(format!("{id} has no event of its end"));
            }
        }
        self.violations.extend(found);
    }

    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }
}

/// The events of one session in the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    pub log_ins: u64,
    pub ends: u64,
}

fn in_session(answer: &Answer) -> Option<(&View, SessionId)> {
    let view = answer.view.as_ref()?;
    Some((view, view.id?))
}

/// The key that [`Act::Update`](crate::protocol::Act) raises.
pub const COUNTER: &str = "n";

fn count(view: &View) -> u64 {
    view.data.get(COUNTER).copied().unwrap_or_default()
}
