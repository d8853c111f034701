use sqlx::{Connection, Postgres, query, query_as, query_scalar};

use super::{
    moment::Moment,
    row::{self, Row},
};
use crate::{
    error::Result,
    expiry::Lifetime,
    store::{Admission, LogIn, LogInOutcome, connections::Connections, failure},
};

pub(super) async fn log_in(
    connections: &Connections<Postgres>,
    log_in: &LogIn,
) -> Result<LogInOutcome> {
    Ok(failure::again_if_rolled_back(|| attempt(connections, log_in)).await?)
}

async fn attempt(
    connections: &Connections<Postgres>,
    log_in: &LogIn,
) -> Result<LogInOutcome, sqlx::Error> {
    let mut connection = connections.take().await?;
    // Read committed, whatever the pool's default: each statement has to see what was committed
    // while the one before it waited for a lock.
    let mut tx = connection.begin_with("begin isolation level read committed").await?;
    let before_lock = query!(
        r#"
        select (select revoked_at from sessile.session_cutoffs where user_id = $1) as cutoff,
            (select revoked_at from sessile.session_cutoffs where user_id = '') as of_all
        "#,
        log_in.user_id,
    )
    .fetch_one(&mut *tx)
    .await?;
    let cutoff = query_scalar!(
        r#"
        insert into sessile.session_cutoffs (user_id, used_at) values ($1, now())
        on conflict (user_id) do update set used_at = excluded.used_at
        returning revoked_at
        "#,
        log_in.user_id,
    )
    .fetch_one(&mut *tx)
    .await?;
    let of_all = query!(
        r#"
        select revoked_at, clock_timestamp() as "now!"
        from sessile.session_cutoffs where user_id = '' for share
        "#
    )
    .fetch_one(&mut *tx)
    .await?;
    let now = of_all.now;
    let others = query_scalar!(
        r#"
        select count(*) as "count!"
        from sessile.sessions where user_id = $1 and id <> $2 and $3 < valid_until
        "#,
        log_in.user_id,
        log_in.id.as_uuid(),
        now,
    )
    .fetch_one(&mut *tx)
    .await?
    .unsigned_abs();
    let admission = Admission {
        cutoff_before_lock: before_lock.cutoff.map(|at| at.0),
        cutoff_of_all_before_lock: before_lock.of_all.map(|at| at.0),
        cutoff: cutoff.map(|at| at.0),
        cutoff_of_all: of_all.revoked_at.map(|at| at.0),
        now: now.0,
        others,
    };
    if let Err(refusal) = log_in.admit(&admission) {
        return Ok(refusal);
    }

    let ended = query_scalar!(
        r#"
        delete from sessile.sessions where id in (
            select id from sessile.sessions
            where user_id = $1 and id <> $2 and $3 < valid_until
            order by authenticated_at, id
            limit $4
        )
        returning id
        "#,
        log_in.user_id,
        log_in.id.as_uuid(),
        now,
        i64::try_from(log_in.surplus(&admission)).unwrap_or(i64::MAX),
    )
    .fetch_all(&mut *tx)
    .await?;

    let lifetime = Lifetime::begin(now.0, log_in.timeouts);
    let row = match &log_in.old_hash {
        Some(old_hash) => {
            query_as!(
                Row,
                r#"
                update sessile.sessions
                set secret_hash = $3, user_id = $4, data = coalesce($5::text::json, data), revision = revision + 1,
                    authenticated_at = $6, last_seen_at = $6, idle_timeout = $7,
                    absolute_expires_at = $8, valid_until = $9, expires_at = $10,
                    ip = coalesce($11::text::inet, ip), user_agent = coalesce($12, user_agent)
                where id = $1 and secret_hash = $2 and $6 < valid_until
                returning id, secret_hash, user_id, data as "data: _", revision, created_at, authenticated_at,
                    last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, $6 as "now!"
                "#,
                log_in.id.as_uuid(),
                old_hash.as_bytes(),
                log_in.new_hash.as_bytes(),
                log_in.user_id,
                log_in.data,
                now,
                row::seconds(lifetime.idle_timeout),
                Moment(lifetime.absolute_expires_at),
                Moment(lifetime.valid_until),
                Moment(lifetime.expires_at),
                row::address(&log_in.client),
                log_in.client.user_agent,
            )
            .fetch_optional(&mut *tx)
            .await?
        }
        None => {
            query_as!(
                Row,
                r#"
                insert into sessile.sessions (id, secret_hash, user_id, data, revision, created_at, authenticated_at,
                    last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, ip, user_agent)
                values ($1, $2, $3, $4::text::json, 0, $5, $5, $5, $6, $7, $8, $9, $10::text::inet, $11)
                returning id, secret_hash, user_id, data as "data: _", revision, created_at, authenticated_at,
                    last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, $5 as "now!"
                "#,
                log_in.id.as_uuid(),
                log_in.new_hash.as_bytes(),
                log_in.user_id,
                log_in.data.as_deref().unwrap_or("{}"),
                now,
                row::seconds(lifetime.idle_timeout),
                Moment(lifetime.absolute_expires_at),
                Moment(lifetime.valid_until),
                Moment(lifetime.expires_at),
                row::address(&log_in.client),
                log_in.client.user_agent,
            )
            .fetch_optional(&mut *tx)
            .await?
        }
    };
    let Some(row) = row else {
        return Ok(LogInOutcome::Absent);
    };
    let record = row.try_into()?;
    let mut changed = ended.clone();
    changed.push(log_in.id.as_uuid());
    query!(
        "select pg_notify('sessile', 'session ' || id)::text as told from unnest($1::uuid[]) as id",
        &changed
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let ended = ended.into_iter().map(Into::into).collect();
    Ok(LogInOutcome::LoggedIn(Box::new(record), ended))
}
