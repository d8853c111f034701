use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sessile::{Error, Result};

use crate::{
    pause::Pause,
    support::{
        Db,
        tap::{Hook, Verb},
    },
};

/// No response may contain this.
pub(crate) const INTERNAL: &str = "connection to 10.0.0.7 refused";

/// Records the calls of the store, and stops or fails calls on request. Each call is one statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spy(Arc<Inner>);

#[derive(Debug, Default)]
pub(crate) struct Inner {
    calls: Mutex<Vec<Verb>>,
    plans: Mutex<Vec<(Verb, Plan)>>,
}

#[derive(Clone, Debug)]
enum Plan {
    Stop(Pause),
    Fail,
    Overtake(Db),
}

impl Spy {
    pub(crate) fn hook(&self) -> &Arc<Inner> {
        &self.0
    }

    /// The calls since the last question, in order, without those that the library makes at a time of its own.
    pub(crate) fn take(&self) -> Vec<Verb> {
        let mut calls = std::mem::take(&mut *self.0.calls.lock().unwrap());
        calls.retain(|verb| *verb != Verb::LogSuperseded);
        calls
    }

    /// Stops each call of a verb before it reaches the database.
    pub(crate) fn stop(&self, verb: Verb) -> Pause {
        let pause = Pause::new();
        self.plan(verb, Plan::Stop(pause.clone()));
        pause
    }

    /// Fails each call of a verb.
    pub(crate) fn fail(&self, verb: Verb) {
        self.plan(verb, Plan::Fail);
    }

    /// Lets another writer overtake each save.
    pub(crate) fn overtake_each_save(&self, db: &Db) {
        self.plan(Verb::Save, Plan::Overtake(db.clone()));
    }

    /// Removes all stops and failures.
    pub(crate) fn let_all_pass(&self) {
        self.0.plans.lock().unwrap().clear();
    }

    fn plan(&self, verb: Verb, plan: Plan) {
        self.0.plans.lock().unwrap().push((verb, plan));
    }
}

#[async_trait]
impl Hook for Inner {
    async fn before(&self, verb: Verb) -> Result<()> {
        self.calls.lock().unwrap().push(verb);
        let plan = {
            let plans = self.plans.lock().unwrap();
            plans.iter().find(|(of, _)| *of == verb).map(|(_, plan)| plan.clone())
        };
        match plan {
            Some(Plan::Stop(pause)) => pause.here().await,
            Some(Plan::Fail) => return Err(Error::database(INTERNAL)),
            Some(Plan::Overtake(db)) => {
                let overtake = "update sessile.sessions set revision = revision + 1";
                db.run(overtake, &overtake.replace("sessile.", "")).await;
            }
            None => {}
        }
        Ok(())
    }
}
