//! The changes of other connections, by polling.
//!
//! `pragma data_version` changes when another connection, of this process or another one, has committed to
//! the file. It does not tell which row changed, so every write of a session empties a cache. On SQLite a
//! cache helps only if sessions are read far more often than written.

use std::time::Duration;

use sqlx::{Sqlite, query_scalar};

use crate::{
    error::{Error, ErrorKind, Result},
    store::{
        Invalidation,
        connections::{Connections, Use},
    },
};

/// The interval of polling. Each poll takes a few microseconds of a thread.
const INTERVAL: Duration = Duration::from_millis(20);

pub(super) async fn watch(
    readers: &Connections<Sqlite>,
    on: &(dyn Fn(Invalidation) + Send + Sync),
) -> Result<()> {
    if readers.pool().options().get_max_connections() < 2 {
        let message = "a pool of one connection cannot be watched: it would be taken for good";
        return Err(Error::new(ErrorKind::Configuration, message));
    }
    // The number can be compared only on the same connection.
    let mut connection = readers.take(Use::Read).await?;
    let mut version = None;
    loop {
        let now: i64 = query_scalar("pragma data_version").fetch_one(&mut *connection).await?;
        if version != Some(now) {
            on(Invalidation::All);
        }
        version = Some(now);
        tokio::time::sleep(INTERVAL).await;
    }
}
