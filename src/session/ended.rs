use std::future::Future;

use super::{Session, Standing, Stored};
use crate::{context::LOOK_EVERY, store::HolderState};

impl Session {
    /// Completes when the session has ended, or when another request gave it a new secret.
    ///
    /// For sockets and streams, which would otherwise go on after a log-out. The call never prolongs the session,
    /// so an unattended tab does not defeat the idle timeout. The returned future does not borrow the handle.
    ///
    /// The future completes within a second of a log-out, a revocation, a log-in, a renewal or an expiry on any
    /// node. It completes at once for a change by the same `Sessions`, and for every change that the cache
    /// receives. If the database fails, no session ends, and the future keeps waiting.
    ///
    /// A session that is not stored yet cannot end. The future then waits until the session is stored and has
    /// ended.
    ///
    /// A graceful shutdown of the server waits for open streams, and this future does not end them.
    ///
    /// ```no_run
    /// # async fn example(session: sessile::Session, mut ticks: tokio::time::Interval) {
    /// let mut ended = std::pin::pin!(session.ended());
    /// loop {
    ///     tokio::select! {
    ///         () = &mut ended => break,
    ///         _ = ticks.tick() => { /* … send something */ }
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// One statement each second for each thousand sessions that sockets of the node wait for. It reads no data.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let session = self.clone();
        async move {
            let mut was_stored = false;
            loop {
                let stored = match &session.state().standing {
                    Standing::Live(stored) => Some(stored.clone()),
                    Standing::Anonymous | Standing::Unreadable(_) if !was_stored => None,
                    _ => return,
                };
                let Some(stored) = stored else {
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                };
                was_stored = true;
                let (context, user_id) = (&session.0.context, stored.record.user_id.clone());
                let state = context.end_of(stored.holder(), user_id).await;
                session.notice(&stored, state);
            }
        }
    }

    /// Takes the new state of the row over, unless this handle has itself given the row another secret since.
    fn notice(&self, of: &Stored, state: HolderState) {
        let mut own = self.state();
        let Standing::Live(stored) = &own.standing else { return };
        if !stored.hash.matches(&of.hash) || stored.record.id != of.record.id {
            return;
        }
        own.standing = match state {
            HolderState::Holds => return,
            HolderState::Superseded => Standing::Superseded(stored.clone()),
            HolderState::Ended => Standing::Ended,
        };
    }
}
