//! The duration of calls, and their errors.

use std::time::{Duration, Instant};

use sessile::{Error, ErrorKind};

/// The default deadlines.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);
pub(crate) const LOG_IN_DEADLINE: Duration = Duration::from_secs(5);
/// Additional time for a busy machine.
pub(crate) const SLACK: Duration = Duration::from_secs(1);

/// Returns the call's result, and checks that it comes in time.
#[track_caller]
pub(crate) fn within<F: IntoFuture>(limit: Duration, call: F) -> impl Future<Output = F::Output> {
    let (caller, call) = (std::panic::Location::caller(), call.into_future());
    async move {
        let begun = Instant::now();
        let hang = limit * 4 + Duration::from_secs(5);
        let output = tokio::time::timeout(hang, call).await;
        let took = begun.elapsed();
        match output {
            Ok(output) if took <= limit => output,
            Ok(_) => panic!("{caller}: it took {took:?}, and not {limit:?}"),
            Err(_) => panic!("{caller}: it has not come to its end in {hang:?}"),
        }
    }
}

/// Repeats a check until it succeeds.
#[track_caller]
pub(crate) fn soon<F: Future<Output = bool>>(
    limit: Duration,
    mut holds: impl FnMut() -> F,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let begun = Instant::now();
        while !holds().await {
            assert!(begun.elapsed() < limit, "{caller}: it does not hold after {limit:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[track_caller]
pub(crate) fn failed<T: std::fmt::Debug>(result: sessile::Result<T>, kind: ErrorKind) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    error
}

/// The error says that nothing was done, and that the same call may succeed later.
#[track_caller]
pub(crate) fn failed_for_now<T: std::fmt::Debug>(result: sessile::Result<T>) -> Error {
    let error = result.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    error
}
