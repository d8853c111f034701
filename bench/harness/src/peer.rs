use anyhow::Result;

use crate::Values;

/// A store under test, with sessions that are called 0, 1, 2, …
///
/// Each method does all the work that a request waits for. It fails if the store did not do it: a session
/// that is not found, or a save that was not made, ends the run.
pub trait Peer: Send + Sync + 'static {
    /// The name of a session that the run creates and deletes.
    type Created: Send;

    /// The number of sessions at the beginning.
    fn sessions(&self) -> usize;

    fn load(&self, session: usize) -> impl Future<Output = Result<Values>> + Send;

    /// No two tasks save one session at once.
    fn save(&self, session: usize, values: Values) -> impl Future<Output = Result<()>> + Send;

    fn create(&self, values: Values) -> impl Future<Output = Result<Self::Created>> + Send;

    fn delete(&self, created: Self::Created) -> impl Future<Output = Result<()>> + Send;

    /// A log-in without a session. A store without users creates a session instead.
    fn log_in(&self, values: Values) -> impl Future<Output = Result<()>> + Send {
        async { self.create(values).await.map(drop) }
    }

    /// A visitor's session, which the next request loads and logs in to.
    fn visit_and_log_in(&self, values: Values) -> impl Future<Output = Result<()>> + Send {
        async move {
            drop(values);
            anyhow::bail!("this store was given no way to log in")
        }
    }
}
