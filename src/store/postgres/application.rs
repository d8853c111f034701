//! Revocations in the application's own transaction.

use sqlx::{PgConnection, Postgres, query_as};

use super::revoke::{Patience, delete, run};
use crate::{
    error::{Error, ErrorKind, Result},
    realm::Realm,
    store::{Cause, End, Revocation, Scope, connections::Statements},
    token::SessionId,
    user_id::{UserId, checked},
};

/// Ends one session in the application's transaction. Logs nothing, because only the commit makes it happen.
pub async fn revoke(
    connection: &mut PgConnection,
    realm: &Realm,
    id: SessionId,
) -> Result<Revocation> {
    let tx = &mut of_application(connection);
    let end_it = End {
        id,
        realm: realm.clone(),
        user_id: None,
        by: None,
        cause: Some(Cause::application()),
    };
    let records = !look_at(tx).await?.has_citus;
    let ended = delete(tx, &[&end_it], Patience::OfTheTransaction, records).await?;
    Ok(Revocation::new(ended.len() as u64, None))
}

/// Ends all of a user's sessions in the application's transaction, which must be at `read committed`, the
/// default.
///
/// A log-in of the same user waits until the transaction ends, and is refused if the transaction committed.
/// The cut-off is the moment of this call, so make it the last statement before the commit: an authentication
/// that begins between the two, and checks data that the transaction is about to change, is not refused if it
/// logs in after the commit.
///
/// # Errors
///
/// [`InvalidUserId`](crate::ErrorKind::InvalidUserId), and [`Configuration`](crate::ErrorKind::Configuration)
/// for a transaction at another level. Nothing was done then.
pub async fn revoke_user(
    connection: &mut PgConnection,
    realm: &Realm,
    user_id: impl UserId,
) -> Result<Revocation> {
    let user_id = checked(&user_id)?;
    run_in_application(connection, realm, &Scope::User(user_id)).await
}

/// Ends all of a user's sessions except one, as [`revoke_user`] does.
pub async fn revoke_others(
    connection: &mut PgConnection,
    realm: &Realm,
    user_id: impl UserId,
    keep: SessionId,
) -> Result<Revocation> {
    let user_id = checked(&user_id)?;
    run_in_application(connection, realm, &Scope::OthersOf(user_id, keep)).await
}

/// Ends all sessions of the realm, as [`revoke_user`] does. Log-ins of all its users wait for the commit.
pub async fn revoke_all(connection: &mut PgConnection, realm: &Realm) -> Result<Revocation> {
    run_in_application(connection, realm, &Scope::All).await
}

async fn run_in_application(
    connection: &mut PgConnection,
    realm: &Realm,
    scope: &Scope,
) -> Result<Revocation> {
    let tx = &mut of_application(connection);
    let Surroundings { isolation, has_citus } = look_at(tx).await?;
    // A transaction with a snapshot from its beginning would miss the sessions that began later.
    if isolation != "read committed" && isolation != "read uncommitted" {
        let message = format!(
            "a revocation needs a transaction at read committed, and this one is at {isolation}: begin it with `begin isolation level read committed`"
        );
        return Err(Error::new(ErrorKind::Configuration, message));
    }
    let cause = (!has_citus).then(Cause::application);
    Ok(run(tx, realm, scope, cause.as_ref()).await?)
}

/// What the application's transaction runs in.
struct Surroundings {
    isolation: String,
    /// No events are written where the tables may be distributed.
    has_citus: bool,
}

async fn look_at(tx: &mut Statements<'_, Postgres>) -> Result<Surroundings, sqlx::Error> {
    tx.one(query_as!(
        Surroundings,
        r#"
        select current_setting('transaction_isolation') as "isolation!",
            to_regclass('pg_catalog.pg_dist_partition') is not null as "has_citus!"
        "#
    ))
    .await
}

fn of_application(connection: &mut PgConnection) -> Statements<'_, Postgres> {
    Statements::of_application(connection)
}
