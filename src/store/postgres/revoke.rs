use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection, Postgres, query, query_scalar};
use uuid::Uuid;

use super::watch;
use crate::{
    error::Result,
    store::{End, Invalidation, Revocation, Scope, connections::Connections, failure},
    token::SessionId,
};

/// Ends one session in the application's transaction. Logs nothing: whether it happened is known at
/// the commit.
pub async fn revoke(connection: &mut PgConnection, id: SessionId) -> Result<Revocation> {
    let ended = end(connection, &[End { id, user_id: None }]).await?;
    Ok(Revocation::new(ended.len() as u64, None))
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

pub(super) async fn in_own_transaction(
    connections: &Connections<Postgres>,
    scope: &Scope,
) -> Result<Revocation> {
    Ok(failure::again_if_rolled_back(|| attempt(connections, scope)).await?)
}

async fn attempt(
    connections: &Connections<Postgres>,
    scope: &Scope,
) -> Result<Revocation, sqlx::Error> {
    let mut connection = connections.take().await?;
    let mut tx = connection.begin_with("begin isolation level read committed").await?;
    let revocation = run(&mut tx, scope).await?;
    tx.commit().await?;
    Ok(revocation)
}

/// Single sessions: one statement, which needs no lock of a user.
pub(super) async fn end(
    connection: &mut PgConnection,
    ends: &[End],
) -> Result<Vec<SessionId>, sqlx::Error> {
    let ids: Vec<Uuid> = ends.iter().map(|end| end.id.as_uuid()).collect();
    let user_ids: Vec<Option<String>> = ends.iter().map(|end| end.user_id.clone()).collect();
    let ended = query!(
        r#"
        with ended as (
            delete from sessile.sessions as s
            using unnest((select $1::uuid[]), $2::text[]) as of (id, user_id)
            where s.id = of.id and (of.user_id is null or s.user_id = of.user_id)
            returning s.id, now() < s.valid_until as live
        )
        select id, live as "live!" from ended, pg_notify('sessile', 'session ' || id)
        "#,
        &ids,
        &user_ids as &[Option<String>],
    )
    .fetch_all(connection)
    .await?;
    Ok(ended.into_iter().filter(|row| row.live).map(|row| row.id.into()).collect())
}

/// The cut-off first: it takes the lock that log-ins take, so that the DELETE, a statement of its
/// own, sees every session that was bound before.
async fn run(connection: &mut PgConnection, scope: &Scope) -> Result<Revocation, sqlx::Error> {
    let (locked, told) = match scope {
        Scope::User(user_id) | Scope::OthersOf(user_id, _) => {
            (user_id.as_str(), Invalidation::User(user_id.clone()))
        }
        Scope::All => ("", Invalidation::All),
    };
    let cutoff = cut_off(connection, locked).await?;
    let told = watch::payload(&told);
    let of_user = match scope {
        Scope::User(user_id) => Some((user_id, None)),
        Scope::OthersOf(user_id, keep) => Some((user_id, Some(keep.as_uuid()))),
        Scope::All => None,
    };
    // One statement a shape: a condition on a parameter that may be null would cost the index.
    let ended = match of_user {
        Some((user_id, keep)) => {
            query!(
                r#"
                with ended as (
                    delete from sessile.sessions where user_id = $1 and ($2::uuid is null or id <> $2)
                    returning now() < valid_until as live
                )
                select count(*) filter (where live) as "ended!", (select pg_notify('sessile', $3))::text as told from ended
                "#,
                user_id,
                keep,
                told,
            )
            .fetch_one(connection)
            .await?
            .ended
        }
        None => {
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
    Ok(Revocation::new(ended.unsigned_abs(), Some(cutoff)))
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
