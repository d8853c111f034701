use sqlx::{Connection, PgConnection, Postgres, query, query_as, query_scalar};
use uuid::Uuid;

use super::{
    moment::Moment,
    row::{self, Row},
};
use crate::{
    error::Result,
    expiry::Lifetime,
    store::{
        Admission, Cutoff, LogIn, LogInOutcome,
        connections::Connections,
        failure,
        record::{MOST_TWIN_BYTES, SUPERSEDED_FOR},
    },
    token::SecretHash,
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
    let (user_key, all_key) =
        (log_in.realm.cutoff_key(&log_in.user_id), log_in.realm.cutoff_key(""));
    // Read committed, whatever the pool's default: each statement has to see what was committed
    // while the one before it waited for a lock.
    let mut tx = connection.begin_with("begin isolation level read committed").await?;
    let mut locked = lock(&mut tx, &user_key, &all_key).await?;
    if locked.all_key.is_none() {
        // The first log-in of this realm that there ever was.
        add_row_of_all(&mut tx, &all_key).await?;
        let Locked { user_before, all_before, .. } = locked;
        locked = lock(&mut tx, &user_key, &all_key).await?;
        locked = Locked { user_before, all_before, ..locked };
    }
    let now = locked.now;
    let cutoff = |before: Option<Moment>, at: Option<Moment>| Cutoff {
        before_lock: before.map(|at| at.0),
        at: at.map(|at| at.0),
    };
    let admission = Admission {
        of_user: cutoff(locked.user_before, locked.of_user),
        of_all: cutoff(locked.all_before, locked.of_all),
        now: now.0,
        others: if log_in.limit.is_some() { others(&mut tx, log_in, now).await? } else { 0 },
    };
    if admission.of_user.is_ahead(now.0) || admission.of_all.is_ahead(now.0) {
        take_as_now(&mut tx, &[user_key, all_key], now).await?;
    }
    if let Err(refusal) = log_in.admit(&admission) {
        tx.commit().await?;
        return Ok(refusal);
    }
    let surplus = log_in.surplus(&admission);
    let ended =
        if surplus > 0 { end_oldest(&mut tx, log_in, now, surplus).await? } else { Vec::new() };
    let row = match &log_in.old_hash {
        Some(old_hash) => bind(&mut tx, log_in, old_hash, now).await?,
        None => insert(&mut tx, log_in, now).await?,
    };
    let Some(row) = row else {
        return Ok(LogInOutcome::Absent);
    };
    let record = row.try_into()?;
    tx.commit().await?;
    connection.keep();
    let ended = ended.into_iter().map(Into::into).collect();
    Ok(LogInOutcome::LoggedIn(Box::new(record), ended))
}

struct Locked {
    user_before: Option<Moment>,
    all_before: Option<Moment>,
    of_user: Option<Moment>,
    of_all: Option<Moment>,
    /// `None` where the row does not exist.
    all_key: Option<String>,
    now: Moment,
}

/// Takes the user's lock, then everybody's, and reads the clock.
///
/// `before` sees what was committed before the statement began, the two others what is committed once
/// they have their locks. The count makes the second wait for the first.
async fn lock(
    connection: &mut PgConnection,
    user_key: &str,
    all_key: &str,
) -> Result<Locked, sqlx::Error> {
    query_as!(
        Locked,
        r#"
        with before as materialized (
            select (select revoked_at from sessile.session_cutoffs where user_id = $1) as of_user,
                (select revoked_at from sessile.session_cutoffs where user_id = $2) as of_all
        ), locked_user as (
            insert into sessile.session_cutoffs (user_id, used_at) values ($1, now())
            on conflict (user_id) do update set used_at = excluded.used_at
            returning revoked_at
        ), locked_all as (
            select user_id, revoked_at from sessile.session_cutoffs
            where user_id = $2 and (select count(*) from locked_user) = 1
            for share
        )
        select before.of_user as "user_before?", before.of_all as "all_before?", locked_user.revoked_at as "of_user?",
            locked_all.revoked_at as "of_all?", locked_all.user_id as "all_key?", clock_timestamp() as "now!"
        from before cross join locked_user left join locked_all on true
        "#,
        user_key,
        all_key,
    )
    .fetch_one(connection)
    .await
}

async fn add_row_of_all(connection: &mut PgConnection, all_key: &str) -> Result<(), sqlx::Error> {
    query!(
        r#"
        insert into sessile.session_cutoffs (user_id, used_at) values ($1, 'infinity')
        on conflict (user_id) do nothing
        "#,
        all_key,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The clock was set back since they were written.
async fn take_as_now(
    connection: &mut PgConnection,
    keys: &[String],
    now: Moment,
) -> Result<(), sqlx::Error> {
    query!(
        "update sessile.session_cutoffs set revoked_at = $2 where user_id = any($1) and revoked_at > $2",
        keys,
        now as Moment,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// How many live sessions the user has without this one.
async fn others(
    connection: &mut PgConnection,
    log_in: &LogIn,
    now: Moment,
) -> Result<u64, sqlx::Error> {
    let others = query_scalar!(
        r#"
        select count(*) as "count!"
        from sessile.sessions where user_id = $1 and realm = $2 and id <> $3 and $4 < valid_until
        "#,
        log_in.user_id,
        log_in.realm.as_str(),
        log_in.id.as_uuid(),
        now,
    )
    .fetch_one(connection)
    .await?;
    Ok(others.unsigned_abs())
}

async fn end_oldest(
    connection: &mut PgConnection,
    log_in: &LogIn,
    now: Moment,
    surplus: u64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    query_scalar!(
        r#"
        with ended as (
            delete from sessile.sessions where id in (
                select id from sessile.sessions
                where user_id = $1 and realm = $2 and id <> $3 and $4 < valid_until
                order by authenticated_at, id
                limit $5
            )
            returning id
        )
        select id from ended, pg_notify('sessile', 'session ' || id)
        "#,
        log_in.user_id,
        log_in.realm.as_str(),
        log_in.id.as_uuid(),
        now,
        i64::try_from(surplus).unwrap_or(i64::MAX),
    )
    .fetch_all(connection)
    .await
}

/// The row has the secret, or replaced it within the last minute and is the same user's by now.
/// Either way the secret is the replaced one afterwards; in the second case the one that replaced
/// it goes on being good. Tells other nodes in the same statement; a new row is in nobody's cache.
async fn bind(
    connection: &mut PgConnection,
    log_in: &LogIn,
    old_hash: &SecretHash,
    now: Moment,
) -> Result<Option<Row>, sqlx::Error> {
    let lifetime = Lifetime::begin(now.0, log_in.timeouts);
    query_as!(
        Row,
        r#"
        with bound as (
            update sessile.sessions
            set secret_hash = $3,
                twin_hashes = case when secret_hash = $2 or position($2 in twin_hashes) > 0 then null
                    else coalesce(twin_hashes, ''::bytea) || secret_hash end,
                replaced_hash = $2,
                replaced_at = case when secret_hash = $2 or position($2 in twin_hashes) > 0 then $6 else replaced_at end,
                user_id = $4, data = coalesce($5::text::json, data), revision = revision + 1,
                authenticated_at = $6, last_seen_at = $6, idle_timeout = $7,
                absolute_expires_at = $8, valid_until = $9, expires_at = $10,
                ip = coalesce($11::text::inet, ip), user_agent = coalesce($12, user_agent),
                remembered = $13, pending_user_id = null, pending_since = null, pending_until = null
            where id = $1 and realm = $16 and $6 < valid_until
                and (secret_hash = $2 or position($2 in twin_hashes) > 0
                    or (replaced_hash = $2 and replaced_at > $14 and user_id = $4
                        and octet_length(coalesce(twin_hashes, ''::bytea)) < $15))
            returning *
        )
        select id, realm, secret_hash, twin_hashes, replaced_hash, replaced_at, user_id, remembered, pending_user_id,
            pending_since, pending_until, data as "data: _", revision, created_at, authenticated_at, last_seen_at,
            idle_timeout, absolute_expires_at, valid_until, expires_at, $6::timestamptz as "now!"
        from bound, pg_notify('sessile', 'session ' || id)
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
        log_in.client.address(),
        log_in.client.user_agent,
        log_in.remembered,
        Moment(now.0 - SUPERSEDED_FOR),
        MOST_TWIN_BYTES,
        log_in.realm.as_str(),
    )
    .fetch_optional(connection)
    .await
}

async fn insert(
    connection: &mut PgConnection,
    log_in: &LogIn,
    now: Moment,
) -> Result<Option<Row>, sqlx::Error> {
    let lifetime = Lifetime::begin(now.0, log_in.timeouts);
    query_as!(
        Row,
        r#"
        insert into sessile.sessions (id, realm, secret_hash, user_id, data, revision, created_at, authenticated_at,
            last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, ip, user_agent, remembered)
        values ($1, $2, $3, $4, $5::text::json, 0, $6, $6, $6, $7, $8, $9, $10, $11::text::inet, $12, $13)
        returning id, realm, secret_hash, twin_hashes, replaced_hash, replaced_at, user_id, remembered, pending_user_id,
            pending_since, pending_until, data as "data: _", revision, created_at, authenticated_at, last_seen_at,
            idle_timeout, absolute_expires_at, valid_until, expires_at, $6::timestamptz as "now!"
        "#,
        log_in.id.as_uuid(),
        log_in.realm.as_str(),
        log_in.new_hash.as_bytes(),
        log_in.user_id,
        log_in.data.as_deref().unwrap_or("{}"),
        now,
        row::seconds(lifetime.idle_timeout),
        Moment(lifetime.absolute_expires_at),
        Moment(lifetime.valid_until),
        Moment(lifetime.expires_at),
        log_in.client.address(),
        log_in.client.user_agent,
        log_in.remembered,
    )
    .fetch_optional(connection)
    .await
}
