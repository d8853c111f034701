//! What an application does outside a request, and the ends of sessions.

use super::{Model, Number, Realm, Value};
use crate::protocol::Job;

impl Model {
    /// Deletes a row, and records it. Returns whether the session was live.
    pub(super) fn end(&mut self, number: Number, event: &'static str) -> bool {
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
    pub(super) fn revoke(&mut self, realm: Realm, user: Option<&str>, keep: Option<Number>) -> u64 {
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

    pub(super) fn list(&self, realm: Realm, user: &str) -> Vec<Number> {
        let is_listed = |number: &Number| {
            let session = &self.sessions[*number];
            session.is_of(realm, user) && session.is_live()
        };
        let mut listed: Vec<_> = (0..self.sessions.len()).filter(is_listed).collect();
        listed.sort_by_key(|number| std::cmp::Reverse(self.sessions[*number].logged_in_at));
        listed
    }

    pub(super) fn record(
        &mut self,
        realm: Realm,
        event: &'static str,
        session: Option<Number>,
        user: Option<String>,
    ) {
        self.events.entry(realm).or_default().push((event, session, user));
    }

    pub(super) fn job(&mut self, realm: Realm, job: &Job<Number>) -> Value {
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
