//! What other nodes changed, by LISTEN and NOTIFY.
//!
//! A notification takes a lock of the whole server at its commit (Postgres, NOTIFY, notes), so only
//! what ends or renews a session sends one: never a save or a touch.

use sqlx::{PgPool, postgres::PgListener};

use crate::{
    error::{Error, Result},
    store::Invalidation,
};

const CHANNEL: &str = "sessile";

pub(super) async fn watch(pool: &PgPool, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    // Whatever was changed before this connection listened.
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

/// What a newer version may send and this one does not know is taken for everything.
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
