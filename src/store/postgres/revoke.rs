use chrono::{DateTime, Utc};
use sqlx::{Postgres, query, query_as};
use uuid::Uuid;

use super::{PostgresStore, WAITING_FOR_LOCKS, locked, moment::Moment, watch};
use crate::{
    error::Result,
    realm::Realm,
    store::{
        Cause, Changed, End, Holder, Invalidation, Revocation, Revoke, Scope,
        connections::{End as EndOfTransaction, Statements},
    },
};

pub(super) async fn in_own_transaction(
    store: &PostgresStore,
    revoke: &Revoke,
) -> Result<Option<Revocation>> {
    let (realm, scope) = (&revoke.realm, &revoke.scope);
    let cause = if store.is_distributed().await? { None } else { revoke.cause.as_ref() };
    store
        .transaction(|connection| {
            connection.transaction(WAITING_FOR_LOCKS, async |tx| {
                if let Some(holder) = &revoke.by {
                    lock(tx, realm, scope.user_id()).await?;
                    if !holds(tx, holder, realm, scope.user_id()).await? {
                        return Ok(EndOfTransaction::Rollback(None));
                    }
                }
                let revocation = run(tx, realm, scope, cause).await?;
                Ok(EndOfTransaction::Commit(Some(revocation)))
            })
        })
        .await
}

pub(super) async fn end(store: &PostgresStore, ends: &[End]) -> Result<Changed> {
    let records = !store.is_distributed().await?;
    locked::passing_by(
        store,
        ends,
        |end| end.id.as_uuid(),
        async move |tx, ends| delete(tx, ends, Patience::Short, records).await,
    )
    .await
}

/// How long a statement waits for a locked row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// 50 ms.
    Short,
    /// As long as the application's transaction allows.
    OfTheTransaction,
}

/// Ends single sessions in one statement, which needs no user's lock. If a session ends itself, the row that
/// is deleted must still have the secret, because a faster log-in may have given it another one. Returns the
/// rows that were live.
pub(super) async fn delete(
    tx: &mut Statements<'_, Postgres>,
    ends: &[&End],
    patience: Patience,
    records: bool,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let by = || ends.iter().map(|end| end.by.as_ref());
    let ids: Vec<Uuid> = ends.iter().map(|end| end.id.as_uuid()).collect();
    let realms: Vec<String> = ends.iter().map(|end| end.realm.to_string()).collect();
    let user_ids: Vec<Option<String>> = ends.iter().map(|end| end.user_id.clone()).collect();
    let by_ids: Vec<Option<Uuid>> = by().map(|by| by.map(|by| by.id.as_uuid())).collect();
    let by_hashes: Vec<Option<Vec<u8>>> =
        by().map(|by| by.map(|by| by.secret_hash.as_bytes().to_vec())).collect();
    let causes = || ends.iter().map(|end| end.cause.as_ref());
    let actors: Vec<Option<String>> = causes().map(|cause| Some(cause?.actor.clone())).collect();
    let reasons: Vec<Option<String>> = causes().map(|cause| cause?.reason.clone()).collect();
    macro_rules! delete {
        ($recorded:literal $(, $more:expr)*) => {
            query_as!(
                Ended,
                r#"
                with patience as materialized (
                    select case when $6::boolean then set_config('lock_timeout', '50ms', true) else '' end as of_a_row
                ), holders as materialized (
                    select id, user_id, secret_hash, twin_hashes from sessile.sessions
                    where id = any((select $4::uuid[])::uuid[]) and now() < valid_until
                ), ended as (
                    delete from sessile.sessions as s
                    using unnest((select $1::uuid[]), $2::text[], $3::text[], (select $4::uuid[]), $5::bytea[])
                        as of (id, realm, user_id, by_id, by_hash)
                    where s.id = of.id and s.realm = of.realm and (of.user_id is null or s.user_id = of.user_id)
                        and (of.by_id is distinct from s.id
                            or s.secret_hash = of.by_hash or position(of.by_hash in s.twin_hashes) > 0)
                        and (of.by_id is null or exists (
                            select 1 from holders as h
                            where h.id = of.by_id and (of.user_id is null or h.user_id = of.user_id)
                                and (h.secret_hash = of.by_hash or position(of.by_hash in h.twin_hashes) > 0)))
                        and (select of_a_row from patience) is not null
                    returning s.id, s.realm, s.user_id, s.ip, s.user_agent, s.valid_until, s.absolute_expires_at, of.by_id
                )
                "# + $recorded + r#"
                select id as "id!", now() < valid_until as "live!"
                from ended where (select pg_notify('sessile', 'session ' || id)::text) is not null
                "#,
                &ids,
                &realms,
                &user_ids as &[Option<String>],
                &by_ids as &[Option<Uuid>],
                &by_hashes as &[Option<Vec<u8>>],
                matches!(patience, Patience::Short)
                $(, $more)*
            )
        };
    }
    let ended = match records && causes().any(|cause| cause.is_some()) {
        false => tx.all(delete!("")).await?,
        true => {
            tx.all(delete!(
                r#"
                -- Not where the table is distributed.
                , recorded as (
                    insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
                    select now(), case when by_id = id then 'logged_out' else 'revoked' end, realm, id, user_id, ip,
                        user_agent, reason, actor
                    from ended join unnest((select $1::uuid[]), $7::text[], $8::text[]) as why (id, actor, reason) using (id)
                    where actor is not null and now() < valid_until and (user_id is not null or by_id is null)
                    union all
                    select now(), 'expired', realm, id, user_id, null, null,
                        case when valid_until < absolute_expires_at then 'idle timeout' else 'absolute timeout' end, null
                    from ended join unnest((select $1::uuid[]), $7::text[]) as why (id, actor) using (id)
                    where actor is not null and now() >= valid_until and user_id is not null
                )
                "#,
                &actors as &[Option<String>],
                &reasons as &[Option<String>]
            ))
            .await?
        }
    };
    Ok(ended.into_iter().filter(|row| row.live).map(|row| row.id).collect())
}

/// A deleted row, and whether it was live.
struct Ended {
    id: Uuid,
    live: bool,
}

/// Whether the session on whose behalf this is done is live and has its secret. Removes its twins, and locks
/// its row until the transaction ends.
async fn holds(
    tx: &mut Statements<'_, Postgres>,
    holder: &Holder,
    realm: &Realm,
    user_id: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let held = tx
        .execute(query!(
            r#"
        update sessile.sessions set secret_hash = $2, hash_key = $5, twin_hashes = null
        where id = $1 and realm = $3 and user_id = $4 and now() < valid_until
            and (secret_hash = $2 or position($2 in twin_hashes) > 0)
        "#,
            holder.id.as_uuid(),
            holder.secret_hash.as_bytes(),
            realm.as_str(),
            user_id,
            holder.secret_hash.key(),
        ))
        .await?;
    Ok(held.rows_affected() == 1)
}

/// Writes the cut-off first, which takes the lock that log-ins take. The DELETE is a separate statement, so
/// it sees every session that was bound before.
pub(super) async fn run(
    tx: &mut Statements<'_, Postgres>,
    realm: &Realm,
    scope: &Scope,
    cause: Option<&Cause>,
) -> Result<Revocation, sqlx::Error> {
    let (of_user, told) = match scope.user_id() {
        Some(user_id) => (Some(user_id), Invalidation::User(user_id.to_owned())),
        None => (None, Invalidation::All),
    };
    let cutoff = cut_off(tx, realm, of_user).await?;
    let told = watch::payload(&told);
    // One statement for each scope: a condition on a parameter that may be null would not use the index. No
    // two statements have the same parameters if one of them writes. So if a pooler confuses prepared
    // statements, the server refuses.
    macro_rules! end_of_user {
        ($recorded:literal $(, $more:expr)*) => {
            query!(
                r#"
                with ended as (
                    delete from sessile.sessions
                    where user_id = $1 and realm = $2 and ($3::uuid is null or id <> $3)
                    returning id, realm, user_id, ip, user_agent, valid_until, absolute_expires_at
                )
                "# + $recorded + r#"
                select count(*) filter (where now() < valid_until) as "ended!", (select pg_notify('sessile', $4)::text) as told from ended
                "#,
                of_user,
                realm.as_str(),
                scope.keeps().map(|id| id.as_uuid()),
                told
                $(, $more)*
            )
            .map(|row| row.ended)
        };
    }
    macro_rules! end_all {
        ($recorded:literal $(, $more:expr)*) => {
            query!(
                r#"
                with ended as (
                    delete from sessile.sessions where realm = $1 and $3::boolean
                    returning id, realm, user_id, ip, user_agent, valid_until, absolute_expires_at
                )
                "# + $recorded + r#"
                select count(*) filter (where now() < valid_until) as "ended!", (select pg_notify('sessile', $2)::text) as told from ended
                "#,
                realm.as_str(),
                told,
                true
                $(, $more)*
            )
            .map(|row| row.ended)
        };
    }
    let at = Moment(cutoff);
    let ended = match (of_user, cause) {
        (Some(_), None) => tx.one(end_of_user!("")).await?,
        (Some(_), Some(cause)) => {
            tx.one(end_of_user!(
                r#"
                -- Not where the table is distributed.
                , recorded as (
                    insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
                    select $7::timestamptz, 'revoked', realm, id, user_id, ip, user_agent, $6::text, $5::text
                    from ended where now() < valid_until
                    union all
                    select $7, 'expired', realm, id, user_id, null, null,
                        case when valid_until < absolute_expires_at then 'idle timeout' else 'absolute timeout' end, null
                    from ended where now() >= valid_until
                    union all
                    select $7, 'revoked', $2, null, $1, null, null, $6, $5
                )
                "#,
                cause.actor,
                cause.reason,
                at as Moment
            ))
            .await?
        }
        (None, None) => tx.one(end_all!("")).await?,
        (None, Some(cause)) => {
            tx.one(end_all!(
                r#"
                -- Not where the table is distributed.
                , recorded as (
                    insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
                    select $6::timestamptz, 'revoked', realm, id, user_id, ip, user_agent, $5::text, $4::text
                    from ended where now() < valid_until and user_id is not null
                    union all
                    select $6, 'expired', realm, id, user_id, null, null,
                        case when valid_until < absolute_expires_at then 'idle timeout' else 'absolute timeout' end, null
                    from ended where now() >= valid_until and user_id is not null
                    union all
                    select $6, 'revoked', $1, null, null, null, null, $5, $4
                )
                "#,
                cause.actor,
                cause.reason,
                at as Moment
            ))
            .await?
        }
    };
    Ok(Revocation::new(ended.unsigned_abs(), Some(cutoff)))
}

/// Takes the locks that log-ins take: a user's, and then a share of everybody's. Or everybody's alone: then no
/// revocation of a user deletes rows at the same time, in another order. The row of everybody (the default realm has
/// it from the start, other realms from their first log-in) never gets old, so that the sweep never deletes it.
async fn lock(
    tx: &mut Statements<'_, Postgres>,
    realm: &Realm,
    user_id: Option<&str>,
) -> Result<(), sqlx::Error> {
    let all_key = realm.cutoff_key("");
    match user_id {
        Some(user_id) => {
            tx.all(query!(
                r#"
                with locked_user as (
                    insert into sessile.session_cutoffs as c (user_id, used_at) values ($1, now())
                    on conflict (user_id) do update set used_at = greatest(c.used_at, excluded.used_at)
                    returning 1
                )
                select 1 as locked from sessile.session_cutoffs
                where user_id = $2 and (select count(*) from locked_user)::int = $3
                for share
                "#,
                realm.cutoff_key(user_id),
                all_key,
                1,
            ))
            .await?;
        }
        None => {
            tx.execute(query!(
                r#"
                insert into sessile.session_cutoffs as c (user_id, used_at)
                values ($1, case when $2 then timestamptz 'infinity' end)
                on conflict (user_id) do update set used_at = greatest(c.used_at, excluded.used_at)
                "#,
                all_key,
                true,
            ))
            .await?;
        }
    }
    Ok(())
}

/// Reads the clock under the lock, so that a revocation that began earlier and waited never moves a cut-off
/// back. The new cut-off is later than the old one, unless the clock was set back.
async fn cut_off(
    tx: &mut Statements<'_, Postgres>,
    realm: &Realm,
    user_id: Option<&str>,
) -> Result<DateTime<Utc>, sqlx::Error> {
    lock(tx, realm, user_id).await?;
    let now = tx.one(query!(r#"select clock_timestamp() as "now!""#).map(|row| row.now)).await?;
    tx.execute(query!(
        "update sessile.session_cutoffs set revoked_at = $2 where user_id = $1",
        realm.cutoff_key(user_id.unwrap_or_default()),
        now as Moment,
    ))
    .await?;
    Ok(now.0)
}

/// Deletes the row of the cut-off too, after everything that it guards.
pub(super) async fn forget(store: &PostgresStore, realm: &Realm, user_id: &str) -> Result<u64> {
    let (told, key) =
        (watch::payload(&Invalidation::User(user_id.to_owned())), realm.cutoff_key(user_id));
    let (told, key) = (&told, &key);
    store
        .transaction(|connection| {
            connection.transaction(WAITING_FOR_LOCKS, async |tx| {
                lock(tx, realm, Some(user_id)).await?;
                let ended = tx
                    .one(
                        query!(
                            r#"
                            with ended as (
                                delete from sessile.sessions where realm = $1 and user_id = $2 returning valid_until
                            )
                            select count(*) filter (where now() < valid_until) as "ended!", (select pg_notify('sessile', $3)::text) as told from ended
                            "#,
                            realm.as_str(),
                            user_id,
                            told,
                        )
                        .map(|row| row.ended),
                    )
                    .await?;
                // The inbox first: this waits for a transaction that files the events, and the next statement finds them in
                // the log. In the other order, neither statement would find them.
                tx.execute(query!(
                    "delete from sessile.session_event_inbox where realm = $1 and user_id = $2 and $3::float8 = 1",
                    realm.as_str(),
                    user_id,
                    1.0,
                ))
                .await?;
                tx.execute(query!(
                    "delete from sessile.session_event_log where realm = $1 and user_id = $2 and $3::smallint = 1",
                    realm.as_str(),
                    user_id,
                    1,
                ))
                .await?;
                tx.execute(query!(
                    "delete from sessile.session_cutoffs where user_id = $1 and $2::int = 1",
                    key,
                    1,
                ))
                .await?;
                Ok(EndOfTransaction::Commit(ended.unsigned_abs()))
            })
        })
        .await
}
