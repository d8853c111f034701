//! The contract of `sessile::store::Store`, verb by verb. A store that passes is complete: a new backend, or
//! a wrapper, gets a line in the macro and no separate cases.

mod addresses;
mod create;
mod cutoffs;
mod holder;
mod holding;
mod list;
mod load;
mod log_in;
mod log_in_limit;
mod make;
mod overtaken;
mod pending;
mod realm;
mod reauthenticate;
mod renew;
mod revoke;
mod save;
mod sweep;
mod touch;
mod twins;

/// Runs each case on every store: `conformance! { a_case }` makes the tests `postgres::a_case`, `sqlite::a_case`,
/// `postgres_wrapped::a_case`, … of a function `async fn a_case(db: Db, store: Arc<dyn Store>)`.
macro_rules! conformance {
    ($($case:ident),* $(,)?) => {
        crate::conformance::conformance! { @postgres [$($case)*] }
        crate::conformance::conformance! { @postgres_wrapped [$($case)*] }
        crate::conformance::conformance! { @postgres_distributed [$($case)*] }
        crate::conformance::conformance! { @sqlite [$($case)*] }
        crate::conformance::conformance! { @sqlite_wrapped [$($case)*] }
    };
    (@$backend:ident [$($case:ident)*]) => {
        mod $backend {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let db = crate::support::Db::$backend().await;
                super::$case(db.clone(), db.store()).await;
                db.drop().await;
            })*
        }
    };
}
use conformance;
