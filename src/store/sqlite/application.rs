//! Revocations in the application's own transaction.

use sqlx::{Sqlite, SqliteConnection};

use super::revoke::{end, run};
use crate::{
    error::Result,
    realm::Realm,
    store::{Cause, End, Revocation, Scope, connections::Statements},
    token::SessionId,
    user_id::{UserId, checked},
};

/// Ends one session in the application's transaction. Logs nothing, because only the commit makes it happen.
pub async fn revoke(
    connection: &mut SqliteConnection,
    realm: &Realm,
    id: SessionId,
) -> Result<Revocation> {
    let end_it = End {
        id,
        realm: realm.clone(),
        user_id: None,
        by: None,
        cause: Some(Cause::application()),
    };
    let ended = end(&mut of_application(connection), &[end_it]).await?;
    Ok(Revocation::new(ended.len() as u64, None))
}

/// Ends all of a user's sessions in the application's transaction, which should begin with `begin immediate`.
///
/// A log-in waits until the transaction ends, and is refused if the transaction committed. The cut-off is the
/// moment of this call, so make it the last statement before the commit: an authentication that begins
/// between the two, and checks data that the transaction is about to change, is not refused if it logs in
/// after the commit.
///
/// # Errors
///
/// [`InvalidUserId`](crate::ErrorKind::InvalidUserId). Nothing was done then.
pub async fn revoke_user(
    connection: &mut SqliteConnection,
    realm: &Realm,
    user_id: impl UserId,
) -> Result<Revocation> {
    let user_id = checked(&user_id)?;
    Ok(run(
        &mut of_application(connection),
        realm,
        &Scope::User(user_id),
        Some(&Cause::application()),
    )
    .await?)
}

/// Ends all of a user's sessions except one, as [`revoke_user`] does.
pub async fn revoke_others(
    connection: &mut SqliteConnection,
    realm: &Realm,
    user_id: impl UserId,
    keep: SessionId,
) -> Result<Revocation> {
    let user_id = checked(&user_id)?;
    Ok(run(
        &mut of_application(connection),
        realm,
        &Scope::OthersOf(user_id, keep),
        Some(&Cause::application()),
    )
    .await?)
}

/// Ends all sessions of the realm, as [`revoke_user`] does.
pub async fn revoke_all(connection: &mut SqliteConnection, realm: &Realm) -> Result<Revocation> {
    Ok(run(&mut of_application(connection), realm, &Scope::All, Some(&Cause::application()))
        .await?)
}

fn of_application(connection: &mut SqliteConnection) -> Statements<'_, Sqlite> {
    Statements::of_application(connection)
}
