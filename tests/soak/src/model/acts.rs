//! What a handler does with its session.

use sessile::ErrorKind;

use super::{Cookie, Copy, Data, Done, Handle, Model, Number, Pending, Realm, Standing, Value};
use crate::protocol::Act;

impl Model {
    pub(super) fn act(&mut self, handle: Handle, act: &Act<Number>, cookie: &mut Cookie) -> Done {
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
}
