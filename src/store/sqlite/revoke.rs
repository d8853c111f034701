use chrono::{DateTime, Utc};
use sqlx::{SqliteConnection, SqlitePool, query_scalar};

use super::row;
use crate::{
    error::Result,
    store::{Revocation, Scope},
    token::SessionId,
};

/// Ends one session in the application's transaction. Logs nothing: whether it happened is known at
/// the commit.
pub async fn revoke(connection: &mut SqliteConnection, id: SessionId) -> Result<Revocation> {
    Ok(run(connection, &Scope::Session(id)).await?)
}

/// Ends all of a user's sessions in the application's transaction, which should have been begun
/// with `begin immediate`.
///
/// A log-in waits until the transaction ends, and is refused if it committed. The cut-off is the
/// moment of this call, so let it be the last statement before the commit: an authentication that
/// begins between the two, against what the transaction is about to change, and logs in after the
/// commit is not told apart from a good one.
pub async fn revoke_user(connection: &mut SqliteConnection, user_id: &str) -> Result<Revocation> {
    Ok(run(connection, &Scope::User(user_id.to_owned())).await?)
}

/// Ends all of a user's sessions but one, as [`revoke_user`] does.
pub async fn revoke_others(
    connection: &mut SqliteConnection,
    user_id: &str,
    keep: SessionId,
) -> Result<Revocation> {
    Ok(run(connection, &Scope::OthersOf(user_id.to_owned(), keep)).await?)
}

/// Ends every session there is, as [`revoke_user`] does.
pub async fn revoke_all(connection: &mut SqliteConnection) -> Result<Revocation> {
    Ok(run(connection, &Scope::All).await?)
}

pub(super) async fn in_own_transaction(pool: &SqlitePool, scope: &Scope) -> Result<Revocation> {
    let mut tx = pool.begin_with("begin immediate").await?;
    let revocation = run(&mut tx, scope).await?;
    tx.commit().await?;
    Ok(revocation)
}

async fn run(connection: &mut SqliteConnection, scope: &Scope) -> Result<Revocation, sqlx::Error> {
    let cutoff = match scope {
        Scope::Session(_) | Scope::SessionOf(..) => None,
        Scope::User(user_id) | Scope::OthersOf(user_id, _) => {
            Some(cut_off(connection, user_id).await?)
        }
        Scope::All => Some(cut_off(connection, "").await?),
    };
    let (id, user_id, keep) = match scope {
        Scope::Session(id) => (Some(id), None, None),
        Scope::SessionOf(user_id, id) => (Some(id), Some(user_id), None),
        Scope::User(user_id) => (None, Some(user_id), None),
        Scope::OthersOf(user_id, keep) => (None, Some(user_id), Some(keep)),
        Scope::All => (None, None, None),
    };
    let keep = keep.map(SessionId::as_uuid);
    // One statement a shape: a condition on a parameter that may be null would cost the index.
    let live = match (id.map(SessionId::as_uuid), user_id) {
        (Some(id), user_id) => {
            query_scalar!(
                r#"
                delete from sessions where id = ?1 and (?2 is null or user_id = ?2)
                returning cast(round(unixepoch('subsec') * 1000) as integer) < valid_until as "live!: bool"
                "#,
                id,
                user_id,
            )
            .fetch_all(connection)
            .await?
        }
        (None, Some(user_id)) => {
            query_scalar!(
                r#"
                delete from sessions where user_id = ?1 and (?2 is null or id <> ?2)
                returning cast(round(unixepoch('subsec') * 1000) as integer) < valid_until as "live!: bool"
                "#,
                user_id,
                keep,
            )
            .fetch_all(connection)
            .await?
        }
        (None, None) => {
            query_scalar!(
                r#"
                delete from sessions
                returning cast(round(unixepoch('subsec') * 1000) as integer) < valid_until as "live!: bool"
                "#
            )
            .fetch_all(connection)
            .await?
        }
    };
    Ok(Revocation::new(live.into_iter().filter(|live| *live).count() as u64, cutoff))
}

/// Rounded up by a millisecond, which is as fine as the clock is, so that no authentication of the
/// same one passes.
async fn cut_off(
    connection: &mut SqliteConnection,
    user_id: &str,
) -> Result<DateTime<Utc>, sqlx::Error> {
    let cutoff = query_scalar!(
        r#"
        insert into session_cutoffs as c (user_id, revoked_at, used_at)
        select ?1, now + 1, now from (select cast(round(unixepoch('subsec') * 1000) as integer) as now) where true
        on conflict (user_id) do update
        set revoked_at = max(coalesce(c.revoked_at, 0), excluded.revoked_at), used_at = max(c.used_at, excluded.used_at)
        returning revoked_at as "revoked_at!: i64"
        "#,
        user_id,
    )
    .fetch_one(connection)
    .await?;
    Ok(row::moment(cutoff))
}
