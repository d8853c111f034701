//! Rounds of random requests by several browsers of one user on two nodes, checked against a model of
//! forbidden results.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Instant,
};

use sessile::{ErrorKind, Session, SessionId, Sessions};

use crate::support::{Browser, Db, cases};

cases! { no_round_of_random_requests_revives_or_loses_anything }

const ROUNDS: u64 = 50;
const TASKS: u64 = 4;
const REQUESTS: u32 = 6;

async fn no_round_of_random_requests_revives_or_loses_anything(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    for round in 0..ROUNDS {
        let model = Arc::new(Model { user_id: format!("user {round}"), ..Model::default() });
        // They begin with the same cookie.
        let (browser, id) = Browser::logged_in(&nodes[0], &model.user_id).await;
        model.facts.lock().unwrap().bound.insert(id);
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..TASKS {
            let mut client = Client {
                browser: browser.clone(),
                node: nodes[task as usize % 2].clone(),
                dice: Dice(round * TASKS + task),
                model: model.clone(),
            };
            tasks.spawn(async move {
                for _ in 0..REQUESTS {
                    client.request().await;
                }
            });
        }
        tasks.join_all().await;
        model.holds(&db, round).await;
    }
}

/// The facts that are certain, because a request got an answer.
#[derive(Default)]
struct Model {
    user_id: String,
    facts: Mutex<Facts>,
}

#[derive(Default)]
struct Facts {
    /// Sessions whose log-in has returned.
    bound: BTreeSet<SessionId>,
    /// Sessions whose end has returned.
    dead: BTreeSet<SessionId>,
    /// Log-ins that were admitted, by when their authentication began.
    admitted: Vec<(Instant, SessionId)>,
    /// When revocations of the user began.
    revoked: Vec<Instant>,
    /// Updates that have returned.
    updates: BTreeMap<SessionId, u64>,
}

impl Model {
    async fn holds(&self, db: &Db, round: u64) {
        let ids: Vec<_> = self.facts.lock().unwrap().bound.iter().copied().collect();
        let live = db.store().load(&ids).await.unwrap();
        let facts = self.facts.lock().unwrap();
        for record in live {
            let id = record.id;
            assert!(!facts.dead.contains(&id), "{id} was revived in round {round}");
            let data: BTreeMap<String, u64> = serde_json::from_str(&record.data).unwrap();
            let updates = facts.updates.get(&id).copied().unwrap_or_default();
            let counted = data.get(&id.to_string()).copied().unwrap_or_default();
            assert_eq!(counted, updates, "updates of {id} in round {round}");
            for (began, admitted) in &facts.admitted {
                let survived = *admitted == id && facts.revoked.iter().any(|at| at > began);
                assert!(!survived, "the log-in of {id} survived a revocation in round {round}");
            }
        }
    }
}

struct Client {
    browser: Browser,
    node: Sessions,
    dice: Dice,
    model: Arc<Model>,
}

impl Client {
    async fn request(&mut self) {
        let dead = self.model.facts.lock().unwrap().dead.clone();
        let began = Instant::now();
        let session = self.browser.open(&self.node).await;
        if let Some(id) = session.id() {
            assert!(!dead.contains(&id), "{id} was loaded after its end");
        }
        for _ in 0..=self.dice.roll(2) {
            self.act(&session, began).await;
        }
        let finished = session.finish().await;
        self.browser.keep(match finished {
            Ok(change) => change,
            Err(error) => {
                assert!(is_told(&error), "{error:?}");
                session.abandon()
            }
        });
    }

    async fn act(&mut self, session: &Session, began: Instant) {
        let model = &self.model;
        let id = session.id();
        match self.dice.roll(12) {
            0..4 => {
                let Some(id) = id else { return };
                let update = session.update(&id.to_string(), |n: &mut u64| *n += 1).await;
                if may_have_ended(update) {
                    *model.facts.lock().unwrap().updates.entry(id).or_default() += 1;
                }
            }
            4 => session.insert("recorded", 1).unwrap(),
            5 => drop(may_have_ended(session.renew().await)),
            6 => drop(may_have_ended(session.reauthenticate().await)),
            7 | 8 => match session.log_in(&model.user_id).await {
                Ok(()) => {
                    let id = session.id().unwrap();
                    let mut facts = model.facts.lock().unwrap();
                    facts.bound.insert(id);
                    facts.admitted.push((began, id));
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::LogInRefused, "{error:?}"),
            },
            9 => {
                if may_have_ended(session.log_out().await) {
                    model.facts.lock().unwrap().dead.extend(id);
                }
            }
            10 => {
                let bound = model.facts.lock().unwrap().bound.clone();
                let at = Instant::now();
                self.node.revoke_user(&model.user_id).await.unwrap();
                let mut facts = model.facts.lock().unwrap();
                facts.revoked.push(at);
                facts.dead.extend(bound);
            }
            _ => {
                self.node.sweep().await.unwrap();
            }
        }
    }
}

/// Whether the call succeeded. It may fail because another call was first.
fn may_have_ended<T>(result: sessile::Result<T>) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => {
            assert!(is_told(&error) || error.kind() == ErrorKind::NotLoggedIn, "{error:?}");
            false
        }
    }
}

/// Whether the error means that the handle has lost its session.
fn is_told(error: &sessile::Error) -> bool {
    [ErrorKind::SessionEnded, ErrorKind::Superseded].contains(&error.kind())
}

/// The same sequence in every run (SplitMix64), so that a failed round can fail again.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// One of 0 to `sides` - 1.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
