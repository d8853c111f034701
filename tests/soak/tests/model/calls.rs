//! Random calls that make sense in a state of the model.

use proptest::{
    prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof},
    sample::select,
};
use proptest_state_machine::ReferenceStateMachine;
use sessile_soak::{
    model::{Expected, Model, Op, Standing, Token, Value},
    protocol::{Act, Job},
};

/// The model, and what the last call has to answer.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) model: Model,
    pub(crate) expected: Expected,
}

pub(crate) struct Calls;

pub(crate) const NODES: usize = 3;
pub(crate) const REALMS: usize = 2;
/// The most sessions of a user.
pub(crate) const LIMIT: usize = 3;
const HANDLES: usize = 6;

impl ReferenceStateMachine for Calls {
    type State = Reference;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Reference> {
        let expected = Expected { result: Ok(Value::Null), view: None };
        Just(Reference { model: Model::new(Some(LIMIT)), expected }).boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Op> {
        let model = &state.model;
        let open: Vec<_> = model.handles.keys().copied().collect();
        let opens = (0..NODES, realm(), 0..HANDLES, token(model))
            .prop_map(|(node, realm, handle, token)| Op::Open { node, realm, handle, token });
        let jobs = (0..NODES, realm(), job(model)).prop_map(|(node, realm, job)| Op::Job {
            node,
            realm,
            job,
        });
        if open.is_empty() {
            return prop_oneof![4 => opens, 1 => jobs].boxed();
        }
        let acts =
            (select(open.clone()), act(model)).prop_map(|(handle, act)| Op::Act { handle, act });
        let closes = select(open).prop_map(|handle| Op::Close { handle });
        prop_oneof![8 => opens, 14 => acts, 5 => jobs, 1 => closes].boxed()
    }

    fn apply(mut state: Reference, op: &Op) -> Reference {
        state.expected = state.model.run(op);
        state
    }

    /// Holds for the generated calls. While a failure is made shorter, calls disappear on which others depend.
    fn preconditions(state: &Reference, op: &Op) -> bool {
        let model = &state.model;
        let is_there = |number: usize| number < model.sessions.len();
        match op {
            Op::Open { token, .. } => match token {
                Token::Issued(secret) => *secret < model.secrets.len(),
                Token::WrongSecret(number) | Token::StoredHash(number) => is_there(*number),
                Token::None | Token::Unknown | Token::Malformed => true,
            },
            Op::Act { handle, act } => {
                let is_known = !matches!(act, Act::LogOutDevice(number) if !is_there(*number));
                model.handles.contains_key(handle) && is_known && !is_twin(model, *handle, act)
            }
            Op::Close { handle } => model.handles.contains_key(handle),
            Op::Job { job, .. } => match job {
                Job::Revoke(number)
                | Job::RevokeOthers(_, number)
                | Job::SetData(number, ..)
                | Job::Find(number)
                | Job::Age(number, _)
                | Job::Expire(number) => is_there(*number),
                _ => true,
            },
        }
    }
}

/// A log-in, or its beginning, that a browser sends twice at once gives the session two secrets. The model knows only
/// one: tests/it/races covers these.
fn is_twin(model: &Model, handle: usize, act: &Act<usize>) -> bool {
    let Some(copy) = model.handles[&handle].standing.copy() else { return false };
    let session = &model.sessions[copy.session];
    let is_replaced = session
        .replaced
        .is_some_and(|replaced| replaced.secret == copy.secret && !replaced.is_settled);
    let is_of = |user: Option<&str>| session.user.is_some() && session.user.as_deref() == user;
    is_replaced
        && match act {
            Act::LogIn { user, .. } => is_of(Some(user)),
            Act::CompleteLogIn(user) => match &model.handles[&handle].standing {
                Standing::Live(copy) => copy
                    .pending()
                    .is_some_and(|pending| is_of(pending.user.as_deref().or(user.as_deref()))),
                _ => false,
            },
            Act::BeginLogIn(_) => session.user.is_none(),
            _ => false,
        }
}

fn realm() -> BoxedStrategy<usize> {
    prop_oneof![6 => Just(0), 1 => 1..REALMS].boxed()
}

fn user() -> BoxedStrategy<String> {
    select(vec!["ada".to_owned(), "bob".to_owned()]).boxed()
}

fn key() -> BoxedStrategy<String> {
    select(vec!["cart".to_owned(), "theme".to_owned(), "\u{0}".to_owned()]).boxed()
}

fn token(model: &Model) -> BoxedStrategy<Token> {
    let secrets = model.secrets.len();
    if secrets == 0 {
        return prop_oneof![Just(Token::None), Just(Token::Unknown), Just(Token::Malformed)]
            .boxed();
    }
    // Mostly one of the last.
    let last = secrets.saturating_sub(6)..secrets;
    prop_oneof![
        12 => last.prop_map(Token::Issued),
        3 => (0..secrets).prop_map(Token::Issued),
        4 => Just(Token::None),
        1 => session(model).prop_map(Token::WrongSecret),
        1 => session(model).prop_map(Token::StoredHash),
        1 => prop_oneof![Just(Token::Unknown), Just(Token::Malformed)],
    ]
    .boxed()
}

fn session(model: &Model) -> BoxedStrategy<usize> {
    let sessions = model.sessions.len();
    prop_oneof![sessions.saturating_sub(4)..sessions, 0..sessions].boxed()
}

fn act(model: &Model) -> BoxedStrategy<Act<usize>> {
    let mut acts = vec![
        (4, (key(), 1..100_u64).prop_map(|(key, value)| Act::Set(key, value)).boxed()),
        (1, key().prop_map(Act::Remove).boxed()),
        (4, key().prop_map(Act::Update).boxed()),
        (3, key().prop_map(Act::Take).boxed()),
        (2, Just(Act::Renew).boxed()),
        (2, Just(Act::Reauthenticate).boxed()),
        (2, proptest::option::of(user()).prop_map(Act::BeginLogIn).boxed()),
        (3, proptest::option::of(user()).prop_map(Act::CompleteLogIn).boxed()),
        (
            8,
            (user(), any::<bool>(), any::<bool>())
                .prop_map(|(user, remember, discard)| Act::LogIn { user, remember, discard })
                .boxed(),
        ),
        (2, Just(Act::LogOut).boxed()),
        (1, Just(Act::LogOutOthers).boxed()),
        (1, Just(Act::LogOutEverywhere).boxed()),
        (1, Just(Act::Devices).boxed()),
        (2, Just(Act::Refresh).boxed()),
        (1, Just(Act::Finish).boxed()),
    ];
    if !model.sessions.is_empty() {
        acts.push((2, session(model).prop_map(Act::LogOutDevice).boxed()));
    }
    proptest::strategy::Union::new_weighted(acts).boxed()
}

fn job(model: &Model) -> BoxedStrategy<Job<usize>> {
    let mut jobs = vec![
        (2, user().prop_map(Job::RevokeUser).boxed()),
        (1, Just(Job::RevokeAll).boxed()),
        (1, user().prop_map(Job::Forget).boxed()),
        (1, Just(Job::Count).boxed()),
        (2, user().prop_map(Job::List).boxed()),
        (2, Just(Job::Sweep).boxed()),
    ];
    if !model.sessions.is_empty() {
        let session = || session(model);
        jobs.extend([
            (2, session().prop_map(Job::Revoke).boxed()),
            (1, (user(), session()).prop_map(|(user, keep)| Job::RevokeOthers(user, keep)).boxed()),
            (
                3,
                (session(), key(), 1..100_u64)
                    .prop_map(|(number, key, value)| Job::SetData(number, key, value))
                    .boxed(),
            ),
            (2, session().prop_map(Job::Find).boxed()),
            (2, session().prop_map(|number| Job::Age(number, 61)).boxed()),
            (1, session().prop_map(|number| Job::Age(number, 600)).boxed()),
            (3, session().prop_map(Job::Expire).boxed()),
        ]);
    }
    proptest::strategy::Union::new_weighted(jobs).boxed()
}
