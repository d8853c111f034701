use std::sync::OnceLock;

use sqlx::{Postgres, query, query_as};
use uuid::Uuid;

use super::{
    PostgresStore, WAITING_FOR_LOCKS,
    moment::Moment,
    row::{self, JsonText, Row},
};
use crate::{
    error::Result,
    store::{
        Admission, Cutoff, LogIn, LogInOutcome,
        connections::{End, Statements},
        log_in::MOST_TWIN_BYTES,
        record::SUPERSEDED_FOR,
    },
    token::SecretHash,
};

/// The statement that takes the locks also writes the row, and returns the values that decide. The row is
/// invisible to others until the commit.
pub(super) async fn log_in(store: &PostgresStore, log_in: &LogIn) -> Result<LogInOutcome> {
    let records = log_in.is_recorded && !store.is_distributed().await?;
    let keys = &[log_in.realm.cutoff_key(&log_in.user_id), log_in.realm.cutoff_key("")];
    // The cut-offs from before the first lock.
    let before = &OnceLock::new();
    loop {
        let attempt = store.transaction(|connection| {
            connection.transaction(WAITING_FOR_LOCKS, async |tx| {
                attempt(tx, log_in, keys, before, records).await
            })
        });
        match attempt.await? {
            Attempt::Ended(outcome) => return Ok(outcome),
            Attempt::Refused(outcome, ahead_of) => {
                if let Some(now) = ahead_of {
                    store
                        .write(|connection| {
                            connection.single(async |tx| take_as_now(tx, keys, now).await)
                        })
                        .await?;
                }
                if records && let Some(reason) = outcome.refusal() {
                    store
                        .write(|connection| {
                            connection.single(async |tx| record_refusal(tx, log_in, reason).await)
                        })
                        .await?;
                }
                return Ok(outcome);
            }
            Attempt::NoRowOfAll => {
                store
                    .write(|connection| {
                        connection.single(async |tx| add_row_of_all(tx, &keys[1]).await)
                    })
                    .await?;
            }
        }
    }
}

enum Attempt {
    Ended(LogInOutcome),
    /// And some cut-offs are later than this time.
    Refused(LogInOutcome, Option<Moment>),
    /// The first log-in of this realm: there is no row of everybody to lock yet.
    NoRowOfAll,
}

async fn attempt(
    tx: &mut Statements<'_, Postgres>,
    log_in: &LogIn,
    keys: &[String; 2],
    before: &OnceLock<(Option<Moment>, Option<Moment>)>,
    records: bool,
) -> Result<End<Attempt>, sqlx::Error> {
    let written = match &log_in.old_hash {
        Some(old_hash) => bind(tx, log_in, keys, old_hash, records).await?,
        None => insert(tx, log_in, keys, records).await?,
    };
    let &(user_before, all_before) =
        before.get_or_init(|| (written.user_before, written.all_before));
    let Some(now) = written.now else {
        return Ok(End::Rollback(Attempt::NoRowOfAll));
    };
    let cutoff = |before: Option<Moment>, at: Option<Moment>| Cutoff {
        before_lock: before.map(|at| at.0),
        at: at.map(|at| at.0),
    };
    let admission = Admission {
        of_user: cutoff(user_before, written.of_user),
        of_all: cutoff(all_before, written.of_all),
        now: now.0,
        others: if log_in.limit.is_some() { others(tx, log_in, now).await? } else { 0 },
    };
    let admitted = log_in.admit(&admission);
    let is_ahead = admission.of_user.is_ahead(now.0) || admission.of_all.is_ahead(now.0);
    let (Ok(()), Some(row)) = (&admitted, written.row()) else {
        let outcome = admitted.err().unwrap_or(LogInOutcome::Absent);
        return Ok(End::Rollback(Attempt::Refused(outcome, is_ahead.then_some(now))));
    };
    if is_ahead {
        take_as_now(tx, keys, now).await?;
    }
    let surplus = log_in.surplus(&admission);
    let ended =
        if surplus > 0 { end_oldest(tx, log_in, now, surplus, records).await? } else { Vec::new() };
    let ended = ended.into_iter().map(Into::into).collect();
    let outcome = LogInOutcome::LoggedIn(Box::new(row.into()), ended);
    Ok(End::Commit(Attempt::Ended(outcome)))
}

/// The row, if it was written, and the values that decide its log-in.
///
/// `before` sees the commits from before the statement began. `locked` sees the commits from before the
/// statement got its locks: the user's, then everybody's, because the count makes the second wait for the
/// first. `now` is missing if the row of everybody is missing.
struct Written {
    user_before: Option<Moment>,
    all_before: Option<Moment>,
    of_user: Option<Moment>,
    of_all: Option<Moment>,
    now: Option<Moment>,
    id: Option<Uuid>,
    realm: Option<String>,
    secret_hash: Option<Vec<u8>>,
    hash_key: Option<String>,
    twin_hashes: Option<Vec<u8>>,
    replaced_hash: Option<Vec<u8>>,
    replaced_at: Option<Moment>,
    user_id: Option<String>,
    remembered: Option<bool>,
    data: Option<JsonText>,
    revision: Option<i64>,
    created_at: Option<Moment>,
    authenticated_at: Option<Moment>,
    last_seen_at: Option<Moment>,
    idle_timeout: Option<i32>,
    absolute_expires_at: Option<Moment>,
    valid_until: Option<Moment>,
    expires_at: Option<Moment>,
}

impl Written {
    fn row(self) -> Option<Row> {
        Some(Row {
            id: self.id?,
            realm: self.realm?,
            secret_hash: self.secret_hash?,
            hash_key: self.hash_key,
            twin_hashes: self.twin_hashes,
            replaced_hash: self.replaced_hash,
            replaced_at: self.replaced_at,
            user_id: self.user_id,
            remembered: self.remembered,
            pending_user_id: None,
            pending_since: None,
            pending_until: None,
            data: self.data?,
            revision: self.revision?,
            created_at: self.created_at?,
            authenticated_at: self.authenticated_at,
            last_seen_at: self.last_seen_at?,
            idle_timeout: self.idle_timeout?,
            absolute_expires_at: self.absolute_expires_at?,
            valid_until: self.valid_until?,
            expires_at: self.expires_at?,
            now: self.now?,
        })
    }
}

async fn add_row_of_all(
    tx: &mut Statements<'_, Postgres>,
    all_key: &str,
) -> Result<(), sqlx::Error> {
    tx.execute(query!(
        r#"
        insert into sessile.session_cutoffs (user_id, used_at) values ($1, 'infinity')
        on conflict (user_id) do nothing
        "#,
        all_key,
    ))
    .await?;
    Ok(())
}

/// Sets cut-offs that are in the future to now, because the clock was set back after they were written.
async fn take_as_now(
    tx: &mut Statements<'_, Postgres>,
    keys: &[String],
    now: Moment,
) -> Result<(), sqlx::Error> {
    tx.execute(query!(
        "update sessile.session_cutoffs set revoked_at = $2 where user_id = any($1) and revoked_at > $2",
        keys,
        now as Moment,
    ))
    .await?;
    Ok(())
}

/// The number of the user's other live sessions.
async fn others(
    tx: &mut Statements<'_, Postgres>,
    log_in: &LogIn,
    now: Moment,
) -> Result<u64, sqlx::Error> {
    let others = tx
        .one(
            query!(
                r#"
        select count(*) as "count!"
        from sessile.sessions where user_id = $1 and realm = $2 and id <> $3 and $4 < valid_until
        "#,
                log_in.user_id,
                log_in.realm.as_str(),
                log_in.id.as_uuid(),
                now,
            )
            .map(|row| row.count),
        )
        .await?;
    Ok(others.unsigned_abs())
}

async fn end_oldest(
    tx: &mut Statements<'_, Postgres>,
    log_in: &LogIn,
    now: Moment,
    surplus: u64,
    records: bool,
) -> Result<Vec<Uuid>, sqlx::Error> {
    macro_rules! end_oldest {
        ($recorded:literal $(, $more:expr)*) => {
            query!(
                r#"
                with ended as (
                    delete from sessile.sessions where id in (
                        select id from sessile.sessions
                        where user_id = $1 and realm = $2 and id <> $3 and $4 < valid_until
                        order by authenticated_at, id
                        limit $5
                    )
                    returning id, realm, user_id, ip, user_agent
                )
                "# + $recorded + r#"
                select id from ended where (select pg_notify('sessile', 'session ' || id)::text) is not null
                "#,
                log_in.user_id,
                log_in.realm.as_str(),
                log_in.id.as_uuid(),
                now,
                i64::try_from(surplus).unwrap_or(i64::MAX)
                $(, $more)*
            )
            .map(|row| row.id)
        };
    }
    match records {
        false => tx.all(end_oldest!("")).await,
        true => {
            tx.all(end_oldest!(
                r#"
                -- Not where the table is distributed.
                , recorded as (
                    insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
                    select $4, 'revoked', realm, id, user_id, ip, user_agent, 'limit of sessions', $6::text from ended
                )
                "#,
                "application"
            ))
            .await
        }
    }
}

/// After the transaction, which was rolled back.
async fn record_refusal(
    tx: &mut Statements<'_, Postgres>,
    log_in: &LogIn,
    reason: &str,
) -> Result<(), sqlx::Error> {
    tx.execute(query!(
        r#"
        -- Not where the table is distributed.
        insert into sessile.session_event_inbox (at, event, realm, user_id, ip, user_agent, reason, actor)
        values (now(), 'refused', $1, $2, $3::text::inet, $4, $5, 'user')
        "#,
        log_in.realm.as_str(),
        log_in.user_id,
        log_in.client.address(),
        log_in.client.user_agent,
        reason,
    ))
    .await?;
    Ok(())
}

/// Binds the user to the row if the row has the secret, or has replaced it within the last minute and belongs
/// to the same user. In both cases the secret becomes the replaced one. In the second case the row's present
/// secret stays valid as a twin. Notifies other nodes in the same statement.
async fn bind(
    tx: &mut Statements<'_, Postgres>,
    log_in: &LogIn,
    [user_key, all_key]: &[String; 2],
    old_hash: &SecretHash,
    records: bool,
) -> Result<Written, sqlx::Error> {
    macro_rules! bind {
        ($recorded:literal $(, $more:expr)*) => {
            query_as!(
                Written,
                r#"
        with before as materialized (
            select max(revoked_at) filter (where user_id = $1) as of_user,
                max(revoked_at) filter (where user_id = $2) as of_all
            from sessile.session_cutoffs where user_id in ($1, $2)
        ), locked_user as (
            insert into sessile.session_cutoffs (user_id, used_at) values ($1, now())
            on conflict (user_id) do update set used_at = excluded.used_at
            returning revoked_at
        ), locked_all as (
            select revoked_at from sessile.session_cutoffs
            where user_id = $2 and (select count(*) from locked_user) = 1
            for share
        ), locked as materialized (
            select locked_user.revoked_at as of_user, locked_all.revoked_at as of_all, clock_timestamp() as now
            from locked_user cross join locked_all
        ), new as materialized (
            select now, $8::text::json as data,
                now + make_interval(secs => $10::int) as absolute_expires_at,
                now + make_interval(secs => $9::int) as valid_until,
                date_bin(make_interval(secs => $9::int / 2.0), now + make_interval(secs => $9::int), timestamptz 'epoch')
                    + make_interval(secs => $9::int / 2.0) as expires_at,
                now - make_interval(secs => $14::float8) as superseded_since
            from locked
        ), written as (
            update sessile.sessions as s
            set secret_hash = $6, hash_key = $17,
                twin_hashes = case when s.secret_hash = $5 or position($5 in s.twin_hashes) > 0 then null
                    else coalesce(s.twin_hashes, ''::bytea) || s.secret_hash end,
                replaced_hash = $18,
                replaced_at = case when s.secret_hash = $5 or position($5 in s.twin_hashes) > 0 then new.now
                    else s.replaced_at end,
                user_id = $7, data = case when $16::bigint is not null and s.user_id = $7 then s.data else coalesce(new.data, s.data) end,
                revision = (s.revision & 4611686018427387903) + 1,
                authenticated_at = new.now, last_seen_at = new.now, idle_timeout = $9::int,
                absolute_expires_at = new.absolute_expires_at, valid_until = new.valid_until, expires_at = new.expires_at,
                ip = coalesce($11::text::inet, s.ip), user_agent = coalesce($12, s.user_agent),
                remembered = $13, pending_user_id = null, pending_since = null, pending_until = null
            from new
            where s.id = $3 and s.realm = $4 and new.now < s.valid_until
                and ($16::bigint is null or s.user_id = $7 or s.revision = $16)
                and (s.secret_hash = $5 or position($5 in s.twin_hashes) > 0
                    or (s.replaced_hash = $18 and s.replaced_at > new.superseded_since and s.user_id = $7
                        and octet_length(coalesce(s.twin_hashes, ''::bytea)) < $15))
            returning s.*
        ), told as (
            select 1 from written where (select pg_notify('sessile', 'session ' || id)::text) is not null
        )
        "# + $recorded + r#"
        select before.of_user as "user_before?", before.of_all as "all_before?", locked.of_user as "of_user?", locked.of_all as "of_all?",
            locked.now as "now?", id as "id?", realm as "realm?", secret_hash as "secret_hash?", hash_key as "hash_key?", twin_hashes as "twin_hashes?",
            replaced_hash as "replaced_hash?", replaced_at as "replaced_at?", written.user_id as "user_id?", remembered as "remembered?",
            data as "data?: _", revision as "revision?", created_at as "created_at?", authenticated_at as "authenticated_at?",
            last_seen_at as "last_seen_at?", idle_timeout as "idle_timeout?", absolute_expires_at as "absolute_expires_at?",
            valid_until as "valid_until?", expires_at as "expires_at?"
        from before left join locked on true left join written on true left join told on true
        "#,
                user_key,
                all_key,
                log_in.id.as_uuid(),
                log_in.realm.as_str(),
                old_hash.as_bytes(),
                log_in.new_hash.as_bytes(),
                log_in.user_id,
                log_in.data,
                row::seconds(log_in.timeouts.idle),
                row::seconds(log_in.timeouts.absolute),
                log_in.client.address(),
                log_in.client.user_agent,
                log_in.remembered,
                SUPERSEDED_FOR.as_seconds_f64(),
                MOST_TWIN_BYTES,
                log_in.of_revision,
                log_in.new_hash.key(),
                old_hash.as_replaced()
                $(, $more)*
            )
        };
    }
    match records {
        false => tx.one(bind!("")).await,
        true => {
            tx.one(bind!(
                r#"
                -- Not where the table is distributed.
                , recorded as (
                    insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
                    select authenticated_at, 'logged_in', realm, id, user_id, ip, user_agent, null, 'user' from written
                    union all
                    select authenticated_at, 'logged_out', realm, id, $19, ip, user_agent, 'another user logged in', 'user'
                    from written where $19::text is not null
                )
                "#,
                log_in.replaces_user
            ))
            .await
        }
    }
}

/// Sends no notification: a new row is in no cache.
async fn insert(
    tx: &mut Statements<'_, Postgres>,
    log_in: &LogIn,
    [user_key, all_key]: &[String; 2],
    records: bool,
) -> Result<Written, sqlx::Error> {
    macro_rules! insert {
        ($recorded:literal $(, $more:expr)*) => {
            query_as!(
                Written,
                r#"
        with before as materialized (
            select max(revoked_at) filter (where user_id = $1) as of_user,
                max(revoked_at) filter (where user_id = $2) as of_all
            from sessile.session_cutoffs where user_id in ($1, $2)
        ), locked_user as (
            insert into sessile.session_cutoffs (user_id, used_at) values ($1, now())
            on conflict (user_id) do update set used_at = excluded.used_at
            returning revoked_at
        ), locked_all as (
            select revoked_at from sessile.session_cutoffs
            where user_id = $2 and (select count(*) from locked_user) = 1
            for share
        ), locked as materialized (
            select locked_user.revoked_at as of_user, locked_all.revoked_at as of_all, clock_timestamp() as now
            from locked_user cross join locked_all
        ), written as (
            insert into sessile.sessions (id, realm, secret_hash, hash_key, user_id, data, revision, created_at, authenticated_at,
                last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, ip, user_agent, remembered)
            select $3, $4, $5, $13, $6, $7::text::json, 0, now, now,
                now, $8::int, now + make_interval(secs => $9::int), now + make_interval(secs => $8::int),
                date_bin(make_interval(secs => $8::int / 2.0), now + make_interval(secs => $8::int), timestamptz 'epoch')
                    + make_interval(secs => $8::int / 2.0),
                $10::text::inet, $11, $12
            from locked
            returning *
        )
        "# + $recorded + r#"
        select before.of_user as "user_before?", before.of_all as "all_before?", locked.of_user as "of_user?", locked.of_all as "of_all?",
            locked.now as "now?", id as "id?", realm as "realm?", secret_hash as "secret_hash?", hash_key as "hash_key?", twin_hashes as "twin_hashes?",
            replaced_hash as "replaced_hash?", replaced_at as "replaced_at?", written.user_id as "user_id?", remembered as "remembered?",
            data as "data?: _", revision as "revision?", created_at as "created_at?", authenticated_at as "authenticated_at?",
            last_seen_at as "last_seen_at?", idle_timeout as "idle_timeout?", absolute_expires_at as "absolute_expires_at?",
            valid_until as "valid_until?", expires_at as "expires_at?"
        from before left join locked on true left join written on true
        "#,
                user_key,
                all_key,
                log_in.id.as_uuid(),
                log_in.realm.as_str(),
                log_in.new_hash.as_bytes(),
                log_in.user_id,
                log_in.data.as_deref().unwrap_or("{}"),
                row::seconds(log_in.timeouts.idle),
                row::seconds(log_in.timeouts.absolute),
                log_in.client.address(),
                log_in.client.user_agent,
                log_in.remembered,
                log_in.new_hash.key()
                $(, $more)*
            )
        };
    }
    match records {
        false => tx.one(insert!("")).await,
        true => {
            tx.one(insert!(
                r#"
                -- Not where the table is distributed.
                , recorded as (
                    insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
                    select authenticated_at, 'logged_in', realm, id, user_id, ip, user_agent, null, $14::text from written
                )
                "#,
                "user"
            ))
            .await
        }
    }
}
