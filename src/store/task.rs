//! Calls that run in their own task, with a time limit.

use std::{future::poll_fn, task::Poll, time::Duration};

use tracing::Instrument;

use crate::error::{Error, ErrorKind, Result};

/// Whether a call writes. If the answer to a write is missing, its outcome is unknown. A touch counts as a
/// read, because a second write of the same touch does no harm.
pub(super) const READS: bool = false;
pub(super) const WRITES: bool = true;

/// Runs a call in its own task. The call continues to its end or its time limit, even if its caller is
/// dropped or no longer polled.
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

/// At the time limit, the call is dropped, and its connection with it.
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

/// Goes to the end of the runtime's queue once. This returns sooner than `yield_now`, which waits until the
/// runtime has checked its sockets.
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

/// The task that ran the call no longer exists.
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
