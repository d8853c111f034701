use sqlx::{Sqlite, query, query_as};
use uuid::Uuid;

use super::row::{self, Row, Text};
use crate::{
    error::Result,
    store::{
        Admission, Cutoff, LogIn, LogInOutcome,
        connections::{Connections, End, Statements, Use},
        failure,
        log_in::MOST_TWIN_BYTES,
        record::SUPERSEDED_FOR,
    },
    token::SecretHash,
};

/// Writes the row first, and gets the values that decide with it. The transaction holds the database's write
/// lock, so no reader sees a row that is then refused.
pub(super) async fn log_in(
    readers: &Connections<Sqlite>,
    writer: &Connections<Sqlite>,
    log_in: &LogIn,
) -> Result<LogInOutcome> {
    let keys = &(log_in.realm.cutoff_key(&log_in.user_id), log_in.realm.cutoff_key(""));
    let before = readers.take(Use::Read).await?;
    let before = before
        .one(query!(
            r#"
            select (select revoked_at from session_cutoffs where user_id = ?1) as "of_user?: i64",
                (select revoked_at from session_cutoffs where user_id = ?2) as "of_all?: i64"
            "#,
            keys.0,
            keys.1,
        ))
        .await?;
    let before = (before.of_user, before.of_all);
    // Immediate: SQLite refuses the lock to a transaction that reads first and then wants to write, if
    // another transaction has written meanwhile.
    let ended = writer
        .take(Use::Transaction)
        .await?
        .transaction("begin immediate", async |tx| attempt(tx, log_in, keys, before).await);
    let (outcome, ahead_of) = ended.await?.into_result().map_err(failure::of_write)?;
    if let Some(now) = ahead_of {
        let connection = writer.take(Use::Write).await?;
        let done = connection.single(async |tx| take_as_now(tx, keys, now).await).await;
        done.map_err(failure::of_write)?;
    }
    if log_in.is_recorded
        && let Some(reason) = outcome.refusal()
    {
        let connection = writer.take(Use::Write).await?;
        let done = connection.single(async |tx| record_refusal(tx, log_in, reason).await).await;
        done.map_err(failure::of_write)?;
    }
    Ok(outcome)
}

/// Returns the outcome and, for a refused log-in, the time that some cut-offs are ahead of.
async fn attempt(
    tx: &mut Statements<'_, Sqlite>,
    log_in: &LogIn,
    keys: &(String, String),
    before: (Option<i64>, Option<i64>),
) -> Result<End<(LogInOutcome, Option<i64>)>, sqlx::Error> {
    let written = match &log_in.old_hash {
        Some(old_hash) => bind(tx, log_in, keys, old_hash).await?,
        None => insert(tx, log_in, keys).await?,
    };
    let Some(written) = written else {
        return Ok(End::Rollback((LogInOutcome::Absent, None)));
    };
    let cutoff = |before: Option<i64>, at: Option<i64>| Cutoff {
        before_lock: before.map(row::moment),
        at: at.map(row::moment),
    };
    let now = written.last_seen_at;
    let admission = Admission {
        of_user: cutoff(before.0, written.of_user),
        of_all: cutoff(before.1, written.of_all),
        now: row::moment(now),
        others: written.others.unsigned_abs(),
    };
    let is_ahead =
        admission.of_user.is_ahead(admission.now) || admission.of_all.is_ahead(admission.now);
    if let Err(refusal) = log_in.admit(&admission) {
        return Ok(End::Rollback((refusal, is_ahead.then_some(now))));
    }
    if is_ahead {
        take_as_now(tx, keys, now).await?;
    }
    let surplus = log_in.surplus(&admission);
    let ended = if surplus > 0 { end_oldest(tx, log_in, now, surplus).await? } else { Vec::new() };
    if let Some(replaced) = log_in.replaces_user.as_ref().filter(|_| log_in.is_recorded) {
        record_replaced(tx, log_in, now, replaced).await?;
    }
    let record = Row::from(written).into();
    let ended = ended.into_iter().map(Into::into).collect();
    Ok(End::Commit((LogInOutcome::LoggedIn(Box::new(record), ended), None)))
}

/// The row, and the values that decide its log-in.
struct Written {
    id: Uuid,
    realm: Text,
    secret_hash: Vec<u8>,
    hash_key: Option<Text>,
    twin_hashes: Vec<u8>,
    replaced_hash: Vec<u8>,
    replaced_at: Option<i64>,
    user_id: Option<Text>,
    remembered: Option<i64>,
    data: Text,
    revision: i64,
    created_at: i64,
    authenticated_at: Option<i64>,
    last_seen_at: i64,
    idle_timeout: i64,
    absolute_expires_at: i64,
    valid_until: i64,
    expires_at: i64,
    of_user: Option<i64>,
    of_all: Option<i64>,
    others: i64,
}

/// Binds the user to the row if the row has the secret, or has replaced it within the last minute and belongs
/// to the same user. In both cases the secret becomes the replaced one. In the second case the row's present
/// secret stays valid as a twin.
async fn bind(
    tx: &mut Statements<'_, Sqlite>,
    log_in: &LogIn,
    keys: &(String, String),
    old_hash: &SecretHash,
) -> Result<Option<Written>, sqlx::Error> {
    let (id, realm) = (log_in.id.as_uuid(), log_in.realm.as_str());
    let as_replaced = &old_hash.as_replaced()[..];
    let (old_hash, new_hash) = (&old_hash.as_bytes()[..], &log_in.new_hash.as_bytes()[..]);
    let (is_limited, ip, key) =
        (log_in.limit.is_some(), log_in.client.address(), log_in.new_hash.key());
    let superseded_for = SUPERSEDED_FOR.num_milliseconds();
    // The event's statement goes with the row's in one trip to SQLite's thread: the way takes longer than the work. sqlx
    // counts the parameters of both, so the id is given twice.
    macro_rules! bind {
        ($recorded:literal $(, $more:expr)*) => {
            query_as!(
        Written,
        r#"
        update sessions
        set secret_hash = ?8, hash_key = ?18,
            twin_hashes = iif(secret_hash = ?7 or coalesce(instr(twin_hashes, ?7), 0) > 0, null,
                cast(coalesce(twin_hashes, x'') || secret_hash as blob)),
            replaced_hash = ?19,
            replaced_at = iif(secret_hash = ?7 or coalesce(instr(twin_hashes, ?7), 0) > 0, now, replaced_at),
            user_id = ?5, data = iif(?17 is not null and user_id = ?5, data, coalesce(?9, data)),
            revision = (revision & 4611686018427387903) + 1,
            authenticated_at = now, last_seen_at = now, idle_timeout = ?10,
            absolute_expires_at = now + 1000 * ?11, valid_until = now + 1000 * ?10,
            expires_at = ((now + 1000 * ?10) / (500 * ?10) + 1) * (500 * ?10),
            ip = coalesce(?12, ip), user_agent = coalesce(?13, user_agent),
            remembered = ?14, pending_user_id = null, pending_since = null, pending_until = null
        from (select cast(round(unixepoch('subsec') * 1000) as integer) as now)
        where id = ?1 and realm = ?6 and now < valid_until
            and (?17 is null or user_id = ?5 or revision = ?17)
            and (secret_hash = ?7 or instr(twin_hashes, ?7) > 0
                or (replaced_hash = ?19 and now - replaced_at < ?15 and user_id = ?5
                    and length(coalesce(twin_hashes, x'')) < ?16))
        returning id as "id: Uuid", realm as "realm: Text", secret_hash, hash_key as "hash_key?: Text", coalesce(twin_hashes, x'') as "twin_hashes!: Vec<u8>",
            coalesce(replaced_hash, x'') as "replaced_hash!: Vec<u8>", replaced_at as "replaced_at?: i64", user_id as "user_id?: Text",
            remembered as "remembered?: i64", data as "data: Text", revision, created_at, authenticated_at as "authenticated_at?", last_seen_at, idle_timeout, absolute_expires_at,
            valid_until, expires_at,
            (select revoked_at from session_cutoffs where user_id = ?2) as "of_user?: i64",
            (select revoked_at from session_cutoffs where user_id = ?3) as "of_all?: i64",
            iif(?4, (
                select count(*) from sessions as o
                where o.user_id = ?5 and o.realm = ?6 and o.id <> ?1 and sessions.last_seen_at < o.valid_until
            ), 0) as "others!: i64"
        "# + $recorded,
        id,
        keys.0,
        keys.1,
        is_limited,
        log_in.user_id,
        realm,
        old_hash,
        new_hash,
        log_in.data,
        log_in.timeouts.idle,
        log_in.timeouts.absolute,
        ip,
        log_in.client.user_agent,
        log_in.remembered,
        superseded_for,
        MOST_TWIN_BYTES,
        log_in.of_revision,
        key,
        as_replaced
        $(, $more)*
    )
        };
    }
    let rows = match log_in.is_recorded {
        false => tx.all(bind!("")).await?,
        true => tx.all(bind!(
            r#"
            ; insert into session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, actor)
            select authenticated_at, 'logged_in', realm, id, user_id, ip, user_agent, 'user'
            from sessions where id = ?1 and changes() = 1
            "#,
            id
        ))
        .await?,
    };
    Ok(rows.into_iter().next())
}

async fn insert(
    tx: &mut Statements<'_, Sqlite>,
    log_in: &LogIn,
    keys: &(String, String),
) -> Result<Option<Written>, sqlx::Error> {
    let (id, realm) = (log_in.id.as_uuid(), log_in.realm.as_str());
    let new_hash = &log_in.new_hash.as_bytes()[..];
    let data = log_in.data.as_deref().unwrap_or("{}");
    let (is_limited, ip, key) =
        (log_in.limit.is_some(), log_in.client.address(), log_in.new_hash.key());
    // As above.
    macro_rules! insert {
        ($recorded:literal $(, $more:expr)*) => {
            query_as!(
        Written,
        r#"
        insert into sessions (id, realm, secret_hash, hash_key, user_id, data, revision, created_at, authenticated_at, last_seen_at,
            idle_timeout, absolute_expires_at, valid_until, expires_at, ip, user_agent, remembered)
        select ?1, ?6, ?7, ?14, ?5, ?8, 0, now, now, now,
            ?9, now + 1000 * ?10, now + 1000 * ?9, ((now + 1000 * ?9) / (500 * ?9) + 1) * (500 * ?9), ?11, ?12, ?13
        from (select cast(round(unixepoch('subsec') * 1000) as integer) as now)
        returning id as "id: Uuid", realm as "realm: Text", secret_hash, hash_key as "hash_key?: Text", coalesce(twin_hashes, x'') as "twin_hashes!: Vec<u8>",
            coalesce(replaced_hash, x'') as "replaced_hash!: Vec<u8>", replaced_at as "replaced_at?: i64", user_id as "user_id?: Text",
            remembered as "remembered?: i64", data as "data: Text", revision, created_at, authenticated_at as "authenticated_at?", last_seen_at, idle_timeout, absolute_expires_at,
            valid_until, expires_at,
            (select revoked_at from session_cutoffs where user_id = ?2) as "of_user?: i64",
            (select revoked_at from session_cutoffs where user_id = ?3) as "of_all?: i64",
            iif(?4, (
                select count(*) from sessions as o
                where o.user_id = ?5 and o.realm = ?6 and o.id <> ?1 and sessions.last_seen_at < o.valid_until
            ), 0) as "others!: i64"
        "# + $recorded,
        id,
        keys.0,
        keys.1,
        is_limited,
        log_in.user_id,
        realm,
        new_hash,
        data,
        log_in.timeouts.idle,
        log_in.timeouts.absolute,
        ip,
        log_in.client.user_agent,
        log_in.remembered,
        key
        $(, $more)*
    )
        };
    }
    let rows = match log_in.is_recorded {
        false => tx.all(insert!("")).await?,
        true => tx.all(insert!(
            r#"
            ; insert into session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, actor)
            select authenticated_at, 'logged_in', realm, id, user_id, ip, user_agent, 'user'
            from sessions where id = ?1 and changes() = 1
            "#,
            id
        ))
        .await?,
    };
    Ok(rows.into_iter().next())
}

async fn end_oldest(
    tx: &mut Statements<'_, Sqlite>,
    log_in: &LogIn,
    now: i64,
    surplus: u64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let (id, realm) = (log_in.id.as_uuid(), log_in.realm.as_str());
    let surplus = i64::try_from(surplus).unwrap_or(i64::MAX);
    if log_in.is_recorded {
        tx.execute(query!(
            r#"
            insert into session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
            select ?4, 'revoked', realm, id, user_id, ip, user_agent, 'limit of sessions', 'application'
            from sessions
            where user_id = ?1 and realm = ?2 and id <> ?3 and ?4 < valid_until
            order by authenticated_at, id
            limit ?5
            "#,
            log_in.user_id,
            realm,
            id,
            now,
            surplus,
        ))
        .await?;
    }
    tx.all(
        query!(
            r#"
        delete from sessions where id in (
            select id from sessions
            where user_id = ?1 and realm = ?2 and id <> ?3 and ?4 < valid_until
            order by authenticated_at, id
            limit ?5
        )
        returning id
        "#,
            log_in.user_id,
            realm,
            id,
            now,
            surplus,
        )
        // An id that is none has no name.
        .map(|row| Uuid::from_slice(&row.id).ok()),
    )
    .await
    .map(|ended| ended.into_iter().flatten().collect())
}

/// The event of the user whom the log-in has replaced.
async fn record_replaced(
    tx: &mut Statements<'_, Sqlite>,
    log_in: &LogIn,
    now: i64,
    replaced: &str,
) -> Result<(), sqlx::Error> {
    let id = log_in.id.as_uuid();
    tx.execute(query!(
        r#"
        insert into session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
        select ?2, 'logged_out', realm, id, ?3, ip, user_agent, 'another user logged in', 'user'
        from sessions where id = ?1
        "#,
        id,
        now,
        replaced,
    ))
    .await?;
    Ok(())
}

/// After the transaction, which was rolled back.
async fn record_refusal(
    tx: &mut Statements<'_, Sqlite>,
    log_in: &LogIn,
    reason: &str,
) -> Result<(), sqlx::Error> {
    let (realm, ip) = (log_in.realm.as_str(), log_in.client.address());
    tx.execute(query!(
        r#"
        insert into session_event_inbox (at, event, realm, user_id, ip, user_agent, reason, actor)
        values (cast(round(unixepoch('subsec') * 1000) as integer), 'refused', ?1, ?2, ?3, ?4, ?5, 'user')
        "#,
        realm,
        log_in.user_id,
        ip,
        log_in.client.user_agent,
        reason,
    ))
    .await?;
    Ok(())
}

/// Sets cut-offs that are in the future to now, because the clock was set back after they were written.
async fn take_as_now(
    tx: &mut Statements<'_, Sqlite>,
    keys: &(String, String),
    now: i64,
) -> Result<(), sqlx::Error> {
    tx.execute(query!(
        "update session_cutoffs set revoked_at = ?3 where user_id in (?1, ?2) and revoked_at > ?3",
        keys.0,
        keys.1,
        now,
    ))
    .await?;
    Ok(())
}

impl From<Written> for Row {
    fn from(row: Written) -> Self {
        Self {
            id: row.id,
            realm: row.realm,
            secret_hash: row.secret_hash,
            hash_key: row.hash_key,
            twin_hashes: row.twin_hashes,
            replaced_hash: row.replaced_hash,
            replaced_at: row.replaced_at,
            user_id: row.user_id,
            remembered: row.remembered,
            pending_user_id: None,
            pending_since: None,
            pending_until: None,
            data: row.data,
            revision: row.revision,
            created_at: row.created_at,
            authenticated_at: row.authenticated_at,
            last_seen_at: row.last_seen_at,
            idle_timeout: row.idle_timeout,
            absolute_expires_at: row.absolute_expires_at,
            valid_until: row.valid_until,
            expires_at: row.expires_at,
            now: row.last_seen_at,
        }
    }
}
