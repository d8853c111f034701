//! The changes of other nodes, by LISTEN and NOTIFY.
//!
//! A notification takes a lock of the whole server at its commit (Postgres, NOTIFY, notes). So only
//! statements that end or renew a session send one, never a save or a touch.

use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};

use super::pooler;

use crate::{
    error::{Error, Result},
    store::Invalidation,
};

const CHANNEL: &str = "sessile";

pub(super) async fn watch(pool: &PgPool, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
    // On a separate connection, because a small pool has none to spare.
    let own = PgPoolOptions::new().max_connections(1);
    let own = own.connect_lazy_with((*pool.connect_options()).clone());
    if pooler::is_between(&mut *own.acquire().await?).await? {
        // Behind a pooler, the server would send the notifications to the pooler's next client.
        tracing::info!(target: "sessile", "the cache hears of nothing through a pooler: its copies are up to their bound old");
        on(Invalidation::All);
        return std::future::pending().await;
    }
    let mut listener = PgListener::connect_with(&own).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    // Some sessions may have changed before this connection listened.
    on(Invalidation::All);
    while let Some(notification) = listener.try_recv().await? {
        on(parse(notification.payload()));
    }
    Err(Error::database("the connection that listens for revocations was lost"))
}

pub(super) fn payload(invalidation: &Invalidation) -> String {
    match invalidation {
        Invalidation::Session(id) => format!("session {id}"),
        Invalidation::User(user_id) => format!("user {user_id}"),
        Invalidation::All => "all".to_owned(),
    }
}

/// A payload that this version does not know, from a newer version, counts as a change of everything.
fn parse(payload: &str) -> Invalidation {
    match payload.split_once(' ') {
        Some(("session", id)) => id.parse().map_or(Invalidation::All, Invalidation::Session),
        Some(("user", user_id)) => Invalidation::User(user_id.to_owned()),
        _ => Invalidation::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionId;

    #[test]
    fn a_payload_reads_back() {
        let id = Invalidation::Session(SessionId::generate());
        for invalidation in
            [id, Invalidation::User("a user with spaces ".to_owned()), Invalidation::All]
        {
            assert_eq!(parse(&payload(&invalidation)), invalidation);
        }
        assert_eq!(parse("session of another kind"), Invalidation::All);
        assert_eq!(parse("something new"), Invalidation::All);
    }
}
