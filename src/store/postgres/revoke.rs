use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, query, query_scalar};

use super::watch;
use crate::{
    error::Result,
    store::{Invalidation, Revocation, Scope, failure},
    token::SessionId,
};

/// Ends one session in the application's transaction. Logs nothing: whether it happened is known at
/// the commit.
pub async fn revoke(connection: &mut PgConnection, id: SessionId) -> Result<Revocation> {
    Ok(run(connection, &Scope::Session(id)).await?)
}

/// Ends all of a user's sessions in the application's transaction, which has to be at `read
/// committed`, the default.
///
/// A log-in of the same user waits until the transaction ends, and is refused if it committed. The
/// cut-off is the moment of this call, so let it be the last statement before the commit: an
/// authentication that begins between the two, against what the transaction is about to change, and
/// logs in after the commit is not told apart from a good one.
pub async fn revoke_user(connection: &mut PgConnection, user_id: &str) -> Result<Revocation> {
    Ok(run(connection, &Scope::User(user_id.to_owned())).await?)
}

/// Ends all of a user's sessions but one, as [`revoke_user`] does.
pub async fn revoke_others(
    connection: &mut PgConnection,
    user_id: &str,
    keep: SessionId,
) -> Result<Revocation> {
    Ok(run(connection, &Scope::OthersOf(user_id.to_owned(), keep)).await?)
}

/// Ends every session there is, as [`revoke_user`] does. Log-ins of all users wait for the commit.
pub async fn revoke_all(connection: &mut PgConnection) -> Result<Revocation> {
    Ok(run(connection, &Scope::All).await?)
}

pub(super) async fn in_own_transaction(pool: &PgPool, scope: &Scope) -> Result<Revocation> {
    Ok(failure::again_if_rolled_back(|| attempt(pool, scope)).await?)
}

async fn attempt(pool: &PgPool, scope: &Scope) -> Result<Revocation, sqlx::Error> {
    let mut tx = pool.begin_with("begin isolation level read committed").await?;
    let revocation = run(&mut tx, scope).await?;
    tx.commit().await?;
    Ok(revocation)
}

/// The cut-off first: it takes the lock that log-ins take, so that the DELETE, a statement of its
/// own, sees every session that was bound before.
async fn run(connection: &mut PgConnection, scope: &Scope) -> Result<Revocation, sqlx::Error> {
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
    let told = watch::payload(&match scope {
        Scope::Session(id) | Scope::SessionOf(_, id) => Invalidation::Session(*id),
        Scope::User(user_id) | Scope::OthersOf(user_id, _) => Invalidation::User(user_id.clone()),
        Scope::All => Invalidation::All,
    });
    // One statement a shape: a condition on a parameter that may be null would cost the index.
    let ended = match (id, user_id) {
        (Some(id), user_id) => {
            query!(
                r#"
                with ended as (
                    delete from sessile.sessions where id = $1 and ($2::text is null or user_id = $2)
                    returning now() < valid_until as live
                )
                select count(*) filter (where live) as "ended!", (select pg_notify('sessile', $3))::text as told from ended
                "#,
                id.as_uuid(),
                user_id,
                told,
            )
            .fetch_one(connection)
            .await?
            .ended
        }
        (None, Some(user_id)) => {
            query!(
                r#"
                with ended as (
                    delete from sessile.sessions where user_id = $1 and ($2::uuid is null or id <> $2)
                    returning now() < valid_until as live
                )
                select count(*) filter (where live) as "ended!", (select pg_notify('sessile', $3))::text as told from ended
                "#,
                user_id,
                keep.map(SessionId::as_uuid),
                told,
            )
            .fetch_one(connection)
            .await?
            .ended
        }
        (None, None) => {
            query!(
                r#"
                with ended as (delete from sessile.sessions returning now() < valid_until as live)
                select count(*) filter (where live) as "ended!", (select pg_notify('sessile', $1))::text as told from ended
                "#,
                told,
            )
            .fetch_one(connection)
            .await?
            .ended
        }
    };
    Ok(Revocation::new(ended.unsigned_abs(), cutoff))
}

async fn cut_off(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<DateTime<Utc>, sqlx::Error> {
    let now =
        query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(&mut *connection).await?;
    query!(
        r#"
        insert into sessile.session_cutoffs as c (user_id, revoked_at, used_at) values ($1, $2, $2)
        on conflict (user_id) do update
        set revoked_at = greatest(c.revoked_at, excluded.revoked_at), used_at = greatest(c.used_at, excluded.used_at)
        "#,
        user_id,
        now,
    )
    .execute(connection)
    .await?;
    Ok(now.0)
}
