//! Questions that people ask about sessions: which sessions a user has, what happened to a session, how many sessions
//! there are, and whether the cleanup keeps up. The command `sessile` and the console ask them through this crate.
//!
//! Each question has the same types on Postgres and SQLite, and a cost that its docs state. The answers contain neither
//! secrets nor data of sessions. [`Database::end`] ends sessions.
//!
//! ```no_run
//! # async fn example() -> sessile_admin::Result<()> {
//! use sessile_admin::{Database, SessionFilter};
//!
//! let database = Database::open("postgres://grace@localhost/shop").await?;
//! for session in database.sessions(&SessionFilter::of_user("ada")).await?.sessions {
//!     println!("{} {:?}", session.id, session.user_agent);
//! }
//! # Ok(()) }
//! ```

mod database;
mod doctor;
mod ends;
mod error;
mod events;
mod keys;
mod moment;
mod overview;
#[cfg(test)]
mod plans;
mod realms;
mod schema;
mod sessions;
mod statement;
mod stats;
mod users;

pub use self::{
    database::{Database, Kind},
    doctor::Finding,
    ends::Ends,
    error::{Error, ErrorKind, Result},
    events::{EVENTS, Event, EventFilter, EventKey, EventPage},
    keys::{KeyUse, is_sealed},
    overview::{Backlog, Bucket, CleanupRun, Count, Ending, Live, Period},
    realms::InRealm,
    schema::{Migration, MigrationState},
    sessions::{Session, SessionFilter, SessionPage},
    stats::{Churn, Percentiles, RealmCounts, Size, Spread},
    users::User,
};
