use sqlx::{Connection, Sqlite, query, query_as, query_scalar};
use uuid::Uuid;

use super::row::{self, Row};
use crate::{
    error::Result,
    expiry::Lifetime,
    store::{Admission, LogIn, LogInOutcome, connections::Connections},
};

pub(super) async fn log_in(
    readers: &Connections<Sqlite>,
    writer: &Connections<Sqlite>,
    log_in: &LogIn,
) -> Result<LogInOutcome> {
    let before_lock = readers.take().await?;
    let before_lock = before_lock
        .one(query!(
            r#"
            select (select revoked_at from session_cutoffs where user_id = ?1) as "cutoff?: i64",
                (select revoked_at from session_cutoffs where user_id = '') as "of_all?: i64"
            "#,
            log_in.user_id,
        ))
        .await?;
    let mut connection = writer.take().await?;
    // Immediate: a transaction that reads first and then wants to write is refused the lock when
    // another has written.
    let mut tx = connection.begin_with("begin immediate").await?;
    let id = log_in.id.as_uuid();
    let found = query!(
        r#"
        insert into session_cutoffs (user_id, used_at)
        values (?1, cast(round(unixepoch('subsec') * 1000) as integer))
        on conflict (user_id) do update set used_at = excluded.used_at
        returning revoked_at, (select revoked_at from session_cutoffs where user_id = '') as "of_all?: i64",
            cast(round(unixepoch('subsec') * 1000) as integer) as "now!: i64"
        "#,
        log_in.user_id,
    )
    .fetch_one(&mut *tx)
    .await?;
    let now = found.now;
    let others = query_scalar!(
        r#"select count(*) as "count!: i64" from sessions where user_id = ?1 and id <> ?2 and ?3 < valid_until"#,
        log_in.user_id,
        id,
        now,
    )
    .fetch_one(&mut *tx)
    .await?
    .unsigned_abs();
    let admission = Admission {
        cutoff_before_lock: before_lock.cutoff.map(row::moment),
        cutoff_of_all_before_lock: before_lock.of_all.map(row::moment),
        cutoff: found.revoked_at.map(row::moment),
        cutoff_of_all: found.of_all.map(row::moment),
        now: row::moment(now),
        others,
    };
    if let Err(refusal) = log_in.admit(&admission) {
        return Ok(refusal);
    }

    let surplus = i64::try_from(log_in.surplus(&admission)).unwrap_or(i64::MAX);
    let ended = query_scalar!(
        r#"
        delete from sessions where id in (
            select id from sessions
            where user_id = ?1 and id <> ?2 and ?3 < valid_until
            order by authenticated_at, id
            limit ?4
        )
        returning id as "id: Uuid"
        "#,
        log_in.user_id,
        id,
        now,
        surplus,
    )
    .fetch_all(&mut *tx)
    .await?;

    let lifetime = row::Millis::from(&Lifetime::begin(row::moment(now), log_in.timeouts));
    let new_hash = &log_in.new_hash.as_bytes()[..];
    let ip = row::address(&log_in.client);
    let row = match &log_in.old_hash {
        Some(old_hash) => {
            let old_hash = &old_hash.as_bytes()[..];
            query_as!(
                Row,
                r#"
                update sessions
                set secret_hash = ?3, user_id = ?4, data = coalesce(?5, data), revision = revision + 1,
                    authenticated_at = ?6, last_seen_at = ?6, idle_timeout = ?7,
                    absolute_expires_at = ?8, valid_until = ?9, expires_at = ?10,
                    ip = coalesce(?11, ip), user_agent = coalesce(?12, user_agent)
                where id = ?1 and secret_hash = ?2 and ?6 < valid_until
                returning id as "id: Uuid", secret_hash, user_id as "user_id?", data, revision, created_at, authenticated_at as "authenticated_at?",
                    last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, last_seen_at as "now!: i64"
                "#,
                id,
                old_hash,
                new_hash,
                log_in.user_id,
                log_in.data,
                now,
                lifetime.idle_timeout,
                lifetime.absolute_expires_at,
                lifetime.valid_until,
                lifetime.expires_at,
                ip,
                log_in.client.user_agent,
            )
            .fetch_optional(&mut *tx)
            .await?
        }
        None => {
            let data = log_in.data.as_deref().unwrap_or("{}");
            query_as!(
                Row,
                r#"
                insert into sessions (id, secret_hash, user_id, data, revision, created_at, authenticated_at,
                    last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, ip, user_agent)
                values (?1, ?2, ?3, ?4, 0, ?5, ?5, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                returning id as "id: Uuid", secret_hash, user_id as "user_id?", data, revision, created_at, authenticated_at as "authenticated_at?",
                    last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, last_seen_at as "now!: i64"
                "#,
                id,
                new_hash,
                log_in.user_id,
                data,
                now,
                lifetime.idle_timeout,
                lifetime.absolute_expires_at,
                lifetime.valid_until,
                lifetime.expires_at,
                ip,
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
    tx.commit().await?;
    let ended = ended.into_iter().map(Into::into).collect();
    Ok(LogInOutcome::LoggedIn(Box::new(record), ended))
}
