use anyhow::Result;

use crate::Values;

/// A store under test, with sessions in it that are called 0, 1, 2, …
///
/// Each method does all that a request has to wait for, and fails where the store did not do it: a
/// session that is not found, or a save that was not made, ends the run.
pub trait Peer: Send + Sync + 'static {
    /// What a session is called that the run makes and deletes.
    type Created: Send;

    /// How many sessions there are to begin with.
    fn sessions(&self) -> usize;

    fn load(&self, session: usize) -> impl Future<Output = Result<Values>> + Send;

    /// No session is saved by two tasks at once.
    fn save(&self, session: usize, values: Values) -> impl Future<Output = Result<()>> + Send;

    fn create(&self, values: Values) -> impl Future<Output = Result<Self::Created>> + Send;

    fn delete(&self, created: Self::Created) -> impl Future<Output = Result<()>> + Send;

    /// A log-in without a session. What a store without users does for it is to make a session.
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
