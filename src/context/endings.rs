use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

use super::Context;
use crate::{
    store::{Holder, HolderState, Invalidation},
    token::SessionId,
};

/// How often the task queries which of the awaited sessions have ended.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The shortest time from one look to the next. On SQLite, each write of another process causes a look.
const REST: Duration = Duration::from_millis(50);
/// The most holders in one statement.
const CHUNK: usize = 1000;

/// The sockets and streams of this node that wait for the end of their session.
///
/// While there are any, one task queries the database for all of them. The task looks every second, and at once
/// when this node ends a session or learns that another node ended one.
#[derive(Default)]
pub(crate) struct Endings {
    awaited: Mutex<Awaited>,
    look: Notify,
}

#[derive(Default)]
struct Awaited {
    is_running: bool,
    sessions: HashMap<SessionId, Vec<Waiter>>,
}

struct Waiter {
    holder: Holder,
    user_id: Option<String>,
    tell: oneshot::Sender<HolderState>,
}

impl Endings {
    /// Causes a look if the change may have ended an awaited session.
    pub(crate) fn hear(&self, change: &Invalidation) {
        let sessions = &self.awaited().sessions;
        let is_awaited = match change {
            Invalidation::Session(id) => sessions.contains_key(id),
            Invalidation::User(user_id) => {
                sessions.values().flatten().any(|waiter| waiter.user_id.as_ref() == Some(user_id))
            }
            Invalidation::All => !sessions.is_empty(),
        };
        if is_awaited {
            self.look.notify_one();
        }
    }

    /// The holders whose waiters are still there.
    fn holders(&self) -> Vec<Holder> {
        let sessions = &mut self.awaited().sessions;
        sessions.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.tell.is_closed());
            !waiters.is_empty()
        });
        sessions.values().flatten().map(|waiter| waiter.holder).collect()
    }

    fn tell(&self, holder: &Holder, state: HolderState) {
        let mut awaited = self.awaited();
        let Some(waiters) = awaited.sessions.get_mut(&holder.id) else { return };
        let is_same = |waiter: &mut Waiter| waiter.holder.secret_hash.matches(&holder.secret_hash);
        for waiter in waiters.extract_if(.., is_same) {
            // A waiter that has gone needs no answer.
            waiter.tell.send(state).ok();
        }
    }

    fn awaited(&self) -> MutexGuard<'_, Awaited> {
        // Nothing panics while the lock is held.
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// Waits until a holder has lost its session.
    pub(crate) async fn end_of(
        self: &Arc<Self>,
        holder: Holder,
        user_id: Option<String>,
    ) -> HolderState {
        loop {
            let (tell, told) = oneshot::channel();
            let waiter = Waiter { holder, user_id: user_id.clone(), tell };
            let is_first = {
                let mut awaited = self.endings.awaited();
                awaited.sessions.entry(holder.id).or_default().push(waiter);
                !std::mem::replace(&mut awaited.is_running, true)
            };
            if is_first {
                let running = Running(self.clone());
                tokio::spawn(async move { look(&running).await });
            }
            match told.await {
                Ok(state) => return state,
                // The task ended with its runtime. The next task runs in this waiter's runtime.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }
}

/// The task holds this value. Every end of the task drops it, which wakes the waiters.
struct Running(Arc<Context>);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.endings.awaited() = Awaited::default();
    }
}

async fn look(Running(context): &Running) {
    let mut last = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(last + LOOK_EVERY) => {}
            () = context.endings.look.notified() => sleep_until(last + REST).await,
        }
        last = Instant::now();
        let holders = context.endings.holders();
        if holders.is_empty() {
            return;
        }
        for holders in holders.chunks(CHUNK) {
            // A database that fails ends no session. The failure was logged.
            let Ok(states) = context.store.holding(holders).await else { continue };
            for (holder, state) in holders.iter().zip(states) {
                if state != HolderState::Holds {
                    context.endings.tell(holder, state);
                }
            }
        }
    }
}

impl fmt::Debug for Endings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endings").finish_non_exhaustive()
    }
}
