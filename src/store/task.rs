//! Calls in tasks of their own, and within their time.

use std::{future::poll_fn, task::Poll, time::Duration};

use tracing::Instrument;

use crate::error::{Error, ErrorKind, Result};

/// Whether a call writes: if its answer is missing, nobody knows then whether it was carried out. What is
/// written twice without harm, as a touch is, counts as a read.
pub(super) const READS: bool = false;
pub(super) const WRITES: bool = true;

/// Runs a call in a task of its own: it comes to its end, or to the end of its time, though nobody asks
/// for its answer any more, and is polled though its caller is not.
pub(super) async fn run<T: Send + 'static>(
    limit: Option<Duration>,
    writes: bool,
    call: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let call = async move {
        match limit {
            Some(limit) => within(limit, writes, call).await,
            None => call.await,
        }
    };
    match tokio::spawn(call.in_current_span()).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(lost(writes)),
    }
}

/// What is dropped at the end of its time takes its connection with it.
pub(super) async fn within<T>(
    limit: Duration,
    writes: bool,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(no_answer(writes, limit)),
    }
}

/// Goes to the end of the runtime's queue once. Sooner than `yield_now` comes back, which waits until
/// the runtime has looked at its sockets.
pub(super) async fn others_first() {
    let mut is_last = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_last, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

pub(super) fn not_begun(limit: Duration) -> Error {
    let message =
        format!("the session database had no time for this within {limit:?}: nothing was done");
    Error::new(ErrorKind::Database, message).transient()
}

pub(super) fn no_answer(writes: bool, limit: Duration) -> Error {
    let what = format!("no answer within {limit:?}");
    match writes {
        true => Error::outcome_unknown(what),
        false => Error::database(what).transient(),
    }
}

/// The task that carried it out is gone.
pub(super) fn lost(writes: bool) -> Error {
    let what = "the task that waited for the answer was dropped with its runtime, or panicked";
    match writes {
        true => Error::outcome_unknown(what),
        false => Error::database(what).transient(),
    }
}

pub(super) fn locked() -> Error {
    let message = "another transaction holds the session's row, and has not ended for as long as the library waits: nothing was done";
    Error::new(ErrorKind::Contention, message)
}

pub(super) fn overloaded() -> Error {
    let message = "more requests wait for the session database than the library keeps: nothing was done, try again later";
    Error::new(ErrorKind::Overloaded, message)
}
