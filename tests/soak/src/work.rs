//! What browsers and jobs do during a soak: random requests to random nodes, each compared with the facts.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use sessile::SessionId;

use crate::{
    facts::{Asked, COUNTER, Facts, Span},
    history::History,
    protocol::{Act, Answer, Call, Cookie, Job, View},
    remote::Remote,
};

const USERS: usize = 12;
const BROWSERS: usize = 48;

/// A node that may be killed and started again.
#[derive(Debug)]
pub struct Slot {
    /// How old a copy may be that it answers with.
    pub bound: Duration,
    node: Mutex<Option<Arc<Remote>>>,
}

impl Slot {
    pub fn new(bound: Duration, node: Remote) -> Self {
        Self { bound, node: Mutex::new(Some(Arc::new(node))) }
    }

    pub fn node(&self) -> Option<Arc<Remote>> {
        lock(&self.node).clone()
    }

    pub fn put(&self, node: Option<Remote>) {
        *lock(&self.node) = node.map(Arc::new);
    }
}

/// Everything that the workers share.
#[derive(Debug)]
pub struct Work {
    pub slots: Vec<Slot>,
    pub facts: Mutex<Facts>,
    pub history: Mutex<History>,
    browsers: Vec<Mutex<Jar>>,
    next: AtomicU64,
    is_over: AtomicBool,
}

/// The cookies of a browser, which belongs to one user.
#[derive(Debug, Default)]
struct Jar {
    token: Option<String>,
    old: Vec<String>,
}

#[derive(Debug)]
struct Brought {
    token: Option<String>,
    is_genuine: bool,
}

fn user(browser: usize) -> String {
    format!("user-{}", browser % USERS)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the lock")
}

impl Work {
    pub fn new(slots: Vec<Slot>) -> Arc<Self> {
        Arc::new(Self {
            slots,
            facts: Mutex::default(),
            history: Mutex::default(),
            browsers: (0..BROWSERS).map(|_| Mutex::default()).collect(),
            next: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    pub fn stop(&self) {
        self.is_over.store(true, Relaxed);
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }

    /// Works until it is stopped.
    pub async fn run(self: Arc<Self>, seed: u64) {
        let mut dice = StdRng::seed_from_u64(seed);
        while !self.is_over.load(Relaxed) {
            if dice.random_ratio(1, 12) {
                let job = self.any_job(&mut dice);
                self.job(job, &mut dice).await;
            } else if dice.random_ratio(1, 40) {
                self.request_that_expires(&mut dice).await;
            } else {
                self.request(&mut dice).await;
            }
        }
    }

    async fn request(&self, dice: &mut StdRng) {
        let browser = dice.random_range(0..BROWSERS);
        let slot = dice.random_range(0..self.slots.len());
        let Some(node) = self.slots[slot].node() else {
            return tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let bound = self.slots[slot].bound;
        let brought = self.brought(browser, dice);
        let handle = self.number();
        let open = Call::Open { realm: String::new(), handle, token: brought.token.clone() };
        let begun = Instant::now();
        let Some(answer) = node.call(&open).await else { return };
        let opened = Instant::now();
        let asked = Asked {
            what: &format!("node {slot}, open"),
            span: Span { begun, answered: opened },
            bound,
        };
        self.facts().opened(&asked, brought.token.as_deref(), brought.is_genuine, &answer);
        lock(&self.history).read(&asked, &answer);
        let Some(mut view) = answer.view else { return };
        let mut token = brought.token.filter(|_| brought.is_genuine);
        for _ in 0..dice.random_range(0..4) {
            if dice.random_ratio(1, 3) {
                let pause = dice.random_range(1..40);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            let act = self.choose(&view, browser, dice);
            let Some(next) =
                self.act(slot, &node, handle, &act, &view, token.as_deref(), opened).await
            else {
                return;
            };
            match &next.cookie {
                Cookie::Set(new) => {
                    token = Some(new.clone());
                    let mut jar = lock(&self.browsers[browser]);
                    let old = jar.token.replace(new.clone());
                    jar.old.extend(old);
                    if jar.old.len() > 50 {
                        jar.old.drain(..25);
                    }
                }
                Cookie::Remove => lock(&self.browsers[browser]).token = None,
                Cookie::Keep => {}
            }
            view = next;
        }
        node.call(&Call::Close { handle }).await;
    }

    /// The session expires while a request is answered that would have recorded that it was seen.
    async fn request_that_expires(&self, dice: &mut StdRng) {
        let browser = dice.random_range(0..BROWSERS);
        let Some(token) = lock(&self.browsers[browser]).token.clone() else { return };
        let bytes = URL_SAFE_NO_PAD.decode(&token).expect("a token is base64");
        let id: SessionId = uuid::Uuid::from_slice(&bytes[..16]).expect("16 bytes").into();
        self.job(Job::Age(id, 90), dice).await;
        let Some(node) = self.slots[dice.random_range(0..self.slots.len())].node() else { return };
        let handle = self.number();
        let open = Call::Open { realm: String::new(), handle, token: Some(token) };
        node.call(&open).await;
        self.job(Job::Expire(id), dice).await;
        node.call(&Call::Act { handle, act: Act::Finish }).await;
        node.call(&Call::Close { handle }).await;
    }

    fn brought(&self, browser: usize, dice: &mut StdRng) -> Brought {
        let jar = lock(&self.browsers[browser]);
        match dice.random_range(0..20) {
            0 if !jar.old.is_empty() => {
                Brought { token: jar.old.choose(dice).cloned(), is_genuine: true }
            }
            1 if jar.token.is_some() => {
                // The right id with a secret that nobody has handed out.
                let real = jar.token.as_ref().expect("it is there");
                let mut bytes = URL_SAFE_NO_PAD.decode(real).expect("a token is base64");
                let at = dice.random_range(16..48);
                bytes[at] ^= 1 << dice.random_range(0..8);
                Brought { token: Some(URL_SAFE_NO_PAD.encode(bytes)), is_genuine: false }
            }
            _ => Brought { token: jar.token.clone(), is_genuine: true },
        }
    }

    fn choose(&self, view: &View, browser: usize, dice: &mut StdRng) -> Act {
        let log_in = || Act::LogIn {
            user: user(browser),
            remember: browser.is_multiple_of(2),
            discard: false,
        };
        let update = || Act::Update(COUNTER.to_owned());
        let once = || "once".to_owned();
        match (view.id, &view.user) {
            (None, _) => match dice.random_range(0..10) {
                0..6 => log_in(),
                6 => Act::BeginLogIn(Some(user(browser))),
                7 => Act::Finish,
                _ => update(),
            },
            (Some(_), None) => match dice.random_range(0..14) {
                0..5 => update(),
                5 => Act::Renew,
                6 => Act::BeginLogIn(Some(user(browser))),
                7 | 8 => Act::CompleteLogIn(Some(user(browser))),
                9 => Act::LogOut,
                _ => log_in(),
            },
            (Some(_), Some(_)) => match dice.random_range(0..100) {
                0..36 => update(),
                36..44 => Act::Set(once(), self.number()),
                44..54 => Act::Take(once()),
                54..60 => Act::Renew,
                60..64 => Act::Reauthenticate,
                64..69 => Act::LogOut,
                69..72 => Act::LogOutOthers,
                72..74 => Act::LogOutEverywhere,
                74..76 => match self.any_session(browser, dice) {
                    Some(id) => Act::LogOutDevice(id),
                    None => Act::Devices,
                },
                76..78 => Act::Devices,
                78..82 => Act::Refresh,
                82..94 => Act::Finish,
                94..96 => Act::BeginLogIn(Some(user(browser))),
                96 => Act::CompleteLogIn(Some(user(browser))),
                _ => log_in(),
            },
        }
    }

    fn any_session(&self, browser: usize, dice: &mut StdRng) -> Option<SessionId> {
        self.facts().any_of(&user(browser), dice.random_range(0..1_000))
    }

    /// `None` if the node has gone.
    #[expect(clippy::too_many_arguments, reason = "all that is known of the request")]
    async fn act(
        &self,
        slot: usize,
        node: &Remote,
        handle: u64,
        act: &Act,
        before: &View,
        token: Option<&str>,
        opened: Instant,
    ) -> Option<View> {
        if matches!(act, Act::Update(_)) {
            self.facts().adds(before.id);
        }
        let begun = Instant::now();
        let answer = node.call(&Call::Act { handle, act: act.clone() }).await;
        let span = Span { begun, answered: Instant::now() };
        let what = format!("node {slot}, {act:?}");
        let asked = Asked { what: &what, span, bound: self.slots[slot].bound };
        let Some(answer) = answer else {
            self.unanswered(act, before);
            lock(&self.history).unanswered(&asked, act, before);
            return None;
        };
        lock(&self.history).acted(&asked, act, before, &answer);
        let mut facts = self.facts();
        let is_done = facts.acted(&asked, before, token, &answer);
        if answer.result == Err("outcome_unknown".to_owned()) {
            drop(facts);
            self.unanswered(act, before);
            return answer.view;
        }
        if is_done {
            self.done(&mut facts, &asked, act, before, &answer, opened);
        }
        drop(facts);
        answer.view
    }

    fn unanswered(&self, act: &Act, before: &View) {
        let mut facts = self.facts();
        match act {
            Act::LogIn { .. } | Act::CompleteLogIn(_) => facts.may_have_logged_in(before.id),
            Act::LogOut => {
                if let Some(id) = before.id {
                    facts.may_have_ended(id);
                }
            }
            Act::LogOutDevice(id) => facts.may_have_ended(*id),
            _ => {}
        }
    }

    fn done(
        &self,
        facts: &mut Facts,
        asked: &Asked<'_>,
        act: &Act,
        before: &View,
        answer: &Answer,
        opened: Instant,
    ) {
        let (Some(view), Ok(value)) = (&answer.view, &answer.result) else { return };
        let user = before.user.as_deref();
        match act {
            Act::Update(_) => {
                let (Some(id), Some(sum)) = (view.id, value.as_u64()) else { return };
                if before.id.is_none() {
                    facts.began_with(id);
                }
                facts.added(asked, id, sum);
            }
            Act::Take(_) => {
                if let Some(value) = value.as_u64() {
                    facts.took(asked, value);
                }
            }
            Act::Set(..) | Act::Renew | Act::Reauthenticate | Act::BeginLogIn(_) => {
                if let Some(id) = before.id {
                    facts.wrote(asked, id);
                }
            }
            Act::LogIn { .. } => {
                if let Some(id) = view.id {
                    facts.logged_in(asked, id, opened);
                }
            }
            Act::CompleteLogIn(_) => {
                // It began in an earlier request, or in this one.
                if let Some(id) = view.id {
                    facts.logged_in(asked, id, asked.span.answered);
                }
            }
            Act::LogOut => {
                let Some(id) = before.id else { return };
                if value.as_u64() == Some(1) {
                    facts.was_ended(asked, id);
                } else {
                    facts.end(id, asked.span.answered, asked.what);
                }
            }
            Act::LogOutDevice(id) => {
                if value.as_bool() == Some(true) {
                    facts.was_ended(asked, *id);
                }
            }
            Act::LogOutOthers => facts.revoked(asked, user, before.id),
            Act::LogOutEverywhere => facts.revoked(asked, user, None),
            Act::Remove(_) | Act::Devices | Act::Refresh | Act::Finish => {}
        }
    }

    fn any_job(&self, dice: &mut StdRng) -> Job {
        let browser = dice.random_range(0..BROWSERS);
        let (user, id) = (user(browser), self.any_session(browser, dice));
        match (dice.random_range(0..100), id) {
            (0..14, Some(id)) => Job::Revoke(id),
            (14..22, _) => Job::RevokeUser(user),
            (22..28, Some(id)) => Job::RevokeOthers(user, id),
            (28, _) => Job::RevokeAll,
            (29, _) => Job::Forget(user),
            (30..45, Some(id)) => Job::SetData(id, "by-a-job".to_owned(), self.number()),
            (45..55, Some(id)) => Job::Find(id),
            (55..65, _) => Job::List(user),
            (65..70, _) => Job::Count,
            (70..85, Some(id)) => Job::Expire(id),
            (85..92, Some(id)) => Job::Age(id, 90),
            _ => Job::Sweep,
        }
    }

    async fn job(&self, job: Job, dice: &mut StdRng) {
        let slot = dice.random_range(0..self.slots.len());
        let Some(node) = self.slots[slot].node() else { return };
        if let Job::Forget(user) = &job {
            self.facts().forgets(user);
        }
        let begun = Instant::now();
        let answer = node.call(&Call::Job { realm: String::new(), job: job.clone() }).await;
        let span = Span { begun, answered: Instant::now() };
        let what = format!("node {slot}, {job:?}");
        let asked = Asked { what: &what, span, bound: self.slots[slot].bound };
        let mut facts = self.facts();
        let Some(answer) = answer else {
            match job {
                Job::Revoke(id) => facts.may_have_ended(id),
                Job::Forget(user) => facts.forgot(&asked, &user, false),
                _ => {}
            }
            return;
        };
        let is_done = facts.answered(&asked, &answer);
        let value = answer.result.clone().unwrap_or_default();
        match job {
            Job::Revoke(id) if is_done && value == true => facts.was_ended(&asked, id),
            Job::Revoke(id) if is_done => facts.end(id, span.answered, &what),
            Job::Revoke(id) => facts.may_have_ended(id),
            Job::RevokeUser(user) if is_done => facts.revoked(&asked, Some(&user), None),
            Job::RevokeOthers(user, keep) if is_done => {
                facts.revoked(&asked, Some(&user), Some(keep));
            }
            Job::RevokeAll if is_done => facts.revoked(&asked, None, None),
            Job::Forget(user) => facts.forgot(&asked, &user, is_done),
            Job::SetData(id, ..) if is_done && value == true => facts.wrote(&asked, id),
            Job::SetData(id, ..) | Job::Find(id)
                if is_done && (value == false || value.is_null()) =>
            {
                facts.end(id, span.answered, &what);
            }
            Job::Expire(id) if is_done => facts.end(id, span.answered, &what),
            _ => {}
        }
    }

    /// Opens each browser's session a last time.
    pub async fn look(&self) {
        for slot in 0..self.slots.len() {
            let Some(node) = self.slots[slot].node() else { continue };
            for browser in 0..BROWSERS {
                let token = lock(&self.browsers[browser]).token.clone();
                let handle = self.number();
                let call = Call::Open { realm: String::new(), handle, token: token.clone() };
                let begun = Instant::now();
                let Some(answer) = node.call(&call).await else { continue };
                let span = Span { begun, answered: Instant::now() };
                let what = format!("node {slot}, the last look");
                let asked = Asked { what: &what, span, bound: self.slots[slot].bound };
                self.facts().opened(&asked, token.as_deref(), true, &answer);
            }
        }
    }
}
