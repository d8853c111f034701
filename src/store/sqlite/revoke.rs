use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{Sqlite, query};
use uuid::Uuid;

use super::row;
use crate::{
    error::Result,
    realm::Realm,
    store::{
        Cause, End, Holder, Revocation, Revoke, Scope,
        connections::{Connections, End as EndOfTransaction, Statements, Use},
        failure,
    },
    token::SessionId,
};

pub(super) async fn in_own_transaction(
    writer: &Connections<Sqlite>,
    revoke: &Revoke,
) -> Result<Option<Revocation>> {
    let (realm, scope) = (&revoke.realm, &revoke.scope);
    let connection = writer.take(Use::Transaction).await?;
    let ended = connection.transaction("begin immediate", async |tx| {
        if let Some(holder) = &revoke.by
            && !holds(tx, holder, realm, scope.user_id()).await?
        {
            return Ok(EndOfTransaction::Rollback(None));
        }
        Ok(EndOfTransaction::Commit(Some(run(tx, realm, scope, revoke.cause.as_ref()).await?)))
    });
    ended.await?.into_result().map_err(failure::of_write)
}

/// Ends single sessions in one statement, which needs no user's lock.
pub(super) async fn end(
    tx: &mut Statements<'_, Sqlite>,
    ends: &[End],
) -> Result<Vec<SessionId>, sqlx::Error> {
    let asked = &row::array(ends.iter().map(|end| {
        let is_itself = end.by.is_some_and(|by| by.id == end.id);
        json!({
            "id": row::hex(&end.id),
            "realm": end.realm.as_str(),
            "user_id": end.user_id,
            "by_id": end.by.map(|holder| row::hex(&holder.id)),
            "by_hash": end.by.map(|holder| hex::encode(holder.secret_hash.as_bytes())),
            "event": end.cause.is_some().then_some(if is_itself { "logged_out" } else { "revoked" }),
            "actor": end.cause.as_ref().map(|cause| &cause.actor),
            "reason": end.cause.as_ref().and_then(|cause| cause.reason.as_ref()),
        })
    }));
    macro_rules! of_the_asked {
        ($begin:literal, $end:literal) => {
            query!(
                $begin + r#"
                from json_each(?1) as of cross join sessions as s on s.id = unhex(of.value ->> 'id')
                where s.realm = of.value ->> 'realm'
                    and (of.value ->> 'user_id' is null or s.user_id = of.value ->> 'user_id')
                    and (of.value ->> 'by_id' is null or exists (
                        select 1 from sessions as h
                        where h.id = unhex(of.value ->> 'by_id')
                            and cast(round(unixepoch('subsec') * 1000) as integer) < h.valid_until
                            and (of.value ->> 'user_id' is null or h.user_id = of.value ->> 'user_id')
                            and (h.secret_hash = unhex(of.value ->> 'by_hash') or instr(h.twin_hashes, unhex(of.value ->> 'by_hash')) > 0)))
                "# + $end,
                asked,
            )
        };
    }
    // The trigger of the view writes the events and deletes the rows.
    let ended = match ends.iter().any(|end| end.cause.is_some()) {
        true => tx
            .all(of_the_asked!(
                r#"
                insert into session_ends (id, live, at, event, realm, user_id, ip, user_agent, reason, actor)
                select id, now < valid_until, now,
                    case when actor is null or user_id is null and (event <> 'revoked' or now >= valid_until) then null
                        when now < valid_until then event else 'expired' end,
                    realm, user_id, iif(now < valid_until, ip, null), iif(now < valid_until, user_agent, null),
                    case when now < valid_until then reason when valid_until < absolute_expires_at then 'idle timeout' else 'absolute timeout' end,
                    iif(now < valid_until, actor, null)
                from (
                    select s.*, cast(round(unixepoch('subsec') * 1000) as integer) as now,
                        of.value ->> 'event' as event, of.value ->> 'reason' as reason, of.value ->> 'actor' as actor
                "#,
                r#"
                )
                returning cast(id as blob) as "id!: Uuid", cast(live as integer) as "live!: bool"
                "#
            )
            .map(|row| (row.id, row.live)))
            .await?,
        false => tx
            .all(of_the_asked!(
                "delete from sessions where id in (select s.id",
                r#")
                returning id as "id: Uuid", cast(round(unixepoch('subsec') * 1000) as integer) < valid_until as "live!: bool"
                "#
            )
            .map(|row| (row.id, row.live)))
            .await?,
    };
    Ok(ended.into_iter().filter(|(_, live)| *live).map(|(id, _)| id.into()).collect())
}

/// Whether the session on whose behalf this is done is live and has its secret. Removes its twins.
async fn holds(
    tx: &mut Statements<'_, Sqlite>,
    holder: &Holder,
    realm: &Realm,
    user_id: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let (id, realm) = (holder.id.as_uuid(), realm.as_str());
    let (hash, key) = (&holder.secret_hash.as_bytes()[..], holder.secret_hash.key());
    let held = tx
        .execute(query!(
            r#"
        update sessions set secret_hash = ?2, hash_key = ?5, twin_hashes = null
        where id = ?1 and realm = ?3 and user_id = ?4
            and cast(round(unixepoch('subsec') * 1000) as integer) < valid_until
            and (secret_hash = ?2 or instr(twin_hashes, ?2) > 0)
        "#,
            id,
            hash,
            realm,
            user_id,
            key,
        ))
        .await?;
    Ok(held.rows_affected() == 1)
}

pub(super) async fn run(
    tx: &mut Statements<'_, Sqlite>,
    realm: &Realm,
    scope: &Scope,
    cause: Option<&Cause>,
) -> Result<Revocation, sqlx::Error> {
    let of_user = scope.user_id();
    let cutoff = cut_off(tx, realm, of_user).await?;
    let realm = realm.as_str();
    if let Some(cause) = cause {
        // The cut-off is a millisecond ahead.
        record(tx, realm, scope, cause, cutoff.timestamp_millis() - 1).await?;
    }
    // One statement for each scope: a condition on a parameter that may be null would not use the index.
    let live = match of_user {
        Some(user_id) => {
            let keep = scope.keeps().map(|id| id.as_uuid());
            tx.all(query!(
                r#"
                delete from sessions where user_id = ?1 and realm = ?2 and (?3 is null or id <> ?3)
                returning cast(round(unixepoch('subsec') * 1000) as integer) < valid_until as "live!: bool"
                "#,
                user_id,
                realm,
                keep,
            ).map(|row| row.live))
            .await?
        }
        None => {
            tx.all(query!(
                r#"
                delete from sessions where realm = ?1
                returning cast(round(unixepoch('subsec') * 1000) as integer) < valid_until as "live!: bool"
                "#,
                realm,
            ).map(|row| row.live))
            .await?
        }
    };
    Ok(Revocation::new(live.into_iter().filter(|live| *live).count() as u64, Some(cutoff)))
}

/// One event for each session, and one for the revocation as a whole.
async fn record(
    tx: &mut Statements<'_, Sqlite>,
    realm: &str,
    scope: &Scope,
    Cause { actor, reason }: &Cause,
    now: i64,
) -> Result<(), sqlx::Error> {
    let (user_id, keep) = (scope.user_id(), scope.keeps().map(|id| id.as_uuid()));
    macro_rules! of_each {
        ($condition:literal) => {
            query!(
                r#"
                insert into session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
                select ?4, iif(?4 < valid_until, 'revoked', 'expired'), realm, id, user_id,
                    iif(?4 < valid_until, ip, null), iif(?4 < valid_until, user_agent, null),
                    case when ?4 < valid_until then ?6 when valid_until < absolute_expires_at then 'idle timeout' else 'absolute timeout' end,
                    iif(?4 < valid_until, ?5, null)
                from sessions where "# + $condition,
                user_id,
                realm,
                keep,
                now,
                actor,
                reason,
            )
        };
    }
    let of_each = match user_id {
        Some(_) => of_each!("user_id = ?1 and realm = ?2 and (?3 is null or id <> ?3)"),
        None => of_each!("user_id is not null and realm = ?2"),
    };
    tx.execute(of_each).await?;
    tx.execute(query!(
        r#"
        insert into session_event_inbox (at, event, realm, user_id, reason, actor)
        values (?1, 'revoked', ?2, ?3, ?4, ?5)
        "#,
        now,
        realm,
        user_id,
        reason,
        actor,
    ))
    .await?;
    Ok(())
}

/// Deletes the row of the cut-off too, after everything that it guards.
pub(super) async fn forget(
    writer: &Connections<Sqlite>,
    realm: &Realm,
    user_id: &str,
) -> Result<u64> {
    let (key, realm) = (&realm.cutoff_key(user_id), realm.as_str());
    let connection = writer.take(Use::Transaction).await?;
    let ended = connection.transaction("begin immediate", async |tx| {
        let live = tx
            .all(
                query!(
                    r#"
                    delete from sessions where realm = ?1 and user_id = ?2
                    returning cast(round(unixepoch('subsec') * 1000) as integer) < valid_until as "live!: bool"
                    "#,
                    realm,
                    user_id,
                )
                .map(|row| row.live),
            )
            .await?;
        tx.execute(query!(
            "delete from session_event_inbox where realm = ?1 and user_id = ?2",
            realm,
            user_id,
        ))
        .await?;
        tx.execute(query!(
            "delete from session_event_log where realm = ?1 and user_id = ?2",
            realm,
            user_id,
        ))
        .await?;
        tx.execute(query!("delete from session_cutoffs where user_id = ?1", key)).await?;
        Ok(EndOfTransaction::Commit(live.into_iter().filter(|live| *live).count() as u64))
    });
    ended.await?.into_result().map_err(failure::of_write)
}

/// Rounded up by a millisecond, the precision of the clock, so that no authentication of the same millisecond
/// passes. The new cut-off is later than the old one, unless the clock was set back. The row of everybody
/// never gets old, so that the sweep never deletes it.
async fn cut_off(
    tx: &mut Statements<'_, Sqlite>,
    realm: &Realm,
    user_id: Option<&str>,
) -> Result<DateTime<Utc>, sqlx::Error> {
    let (key, is_of_all) = (realm.cutoff_key(user_id.unwrap_or_default()), user_id.is_none());
    let cutoffs = tx
        .all(
            query!(
                r#"
        insert into session_cutoffs as c (user_id, revoked_at, used_at)
        select ?1, now + 1, iif(?2, 9223372036854775807, now)
        from (select cast(round(unixepoch('subsec') * 1000) as integer) as now) where true
        on conflict (user_id) do update
        set revoked_at = excluded.revoked_at, used_at = max(c.used_at, excluded.used_at)
        returning revoked_at as "revoked_at!: i64"
        "#,
                key,
                is_of_all,
            )
            .map(|row| row.revoked_at),
        )
        .await?;
    cutoffs.into_iter().next().map(row::moment).ok_or(sqlx::Error::RowNotFound)
}
