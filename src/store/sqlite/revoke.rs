use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{Connection, Sqlite, SqliteConnection, query, query_scalar};
use uuid::Uuid;

use super::row;
use crate::{
    error::Result,
    store::{End, Revocation, Scope, connections::Connections},
    token::SessionId,
};

/// Ends one session in the application's transaction. Logs nothing: whether it happened is known at
/// the commit.
pub async fn revoke(connection: &mut SqliteConnection, id: SessionId) -> Result<Revocation> {
    let ended = end(connection, &[End { id, user_id: None }]).await?;
    Ok(Revocation::new(ended.len() as u64, None))
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

pub(super) async fn in_own_transaction(
    writer: &Connections<Sqlite>,
    scope: &Scope,
) -> Result<Revocation> {
    let mut connection = writer.take().await?;
    let mut tx = connection.begin_with("begin immediate").await?;
    let revocation = run(&mut tx, scope).await?;
    tx.commit().await?;
    Ok(revocation)
}

/// Single sessions: one statement, which needs no lock of a user.
pub(super) async fn end(
    connection: &mut SqliteConnection,
    ends: &[End],
) -> Result<Vec<SessionId>, sqlx::Error> {
    let ends =
        row::array(ends.iter().map(
            |end| json!({ "id": end.id.as_uuid().simple().to_string(), "user_id": end.user_id }),
        ));
    let ended = query!(
        r#"
        delete from sessions
        where id in (
            select s.id
            from json_each(?1) as of cross join sessions as s on s.id = unhex(of.value ->> 'id')
            where of.value ->> 'user_id' is null or s.user_id = of.value ->> 'user_id'
        )
        returning id as "id: Uuid", cast(round(unixepoch('subsec') * 1000) as integer) < valid_until as "live!: bool"
        "#,
        ends,
    )
    .fetch_all(connection)
    .await?;
    Ok(ended.into_iter().filter(|row| row.live).map(|row| row.id.into()).collect())
}

async fn run(connection: &mut SqliteConnection, scope: &Scope) -> Result<Revocation, sqlx::Error> {
    let of_user = match scope {
        Scope::User(user_id) => Some((user_id.as_str(), None)),
        Scope::OthersOf(user_id, keep) => Some((user_id.as_str(), Some(keep.as_uuid()))),
        Scope::All => None,
    };
    let cutoff = cut_off(connection, of_user.map_or("", |(user_id, _)| user_id)).await?;
    // One statement a shape: a condition on a parameter that may be null would cost the index.
    let live = match of_user {
        Some((user_id, keep)) => {
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
        None => {
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
    Ok(Revocation::new(live.into_iter().filter(|live| *live).count() as u64, Some(cutoff)))
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
