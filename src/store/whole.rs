use tracing::Instrument;

use crate::error::{Error, Result};

/// Runs a transaction in a task of its own, so that it comes to its end if its caller is dropped.
///
/// sqlx rolls a dropped transaction back, but not one that is dropped while it waits for the answer
/// to its `begin`: that connection would go back to its pool with a transaction open, and take the
/// next requests' writes with it.
pub(super) async fn to_its_end<T: Send + 'static>(
    transaction: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(transaction.in_current_span()).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::database(error)),
    }
}
