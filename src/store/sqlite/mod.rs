//! Sessions in SQLite 3.42 or newer, in their own file or in the application's.
//!
//! The functions of this module end sessions inside the application's own transaction. So an application can
//! disable an account and end its sessions in one transaction.

mod application;
mod checkpoints;
mod encoding;
mod inbox;
mod log;
mod log_in;
mod migrate;
mod revoke;
mod row;
mod sweep;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use sqlx::{Sqlite, SqlitePool, query, query_as};
use tokio::sync::OnceCell;
use uuid::Uuid;

pub use self::{
    application::{revoke, revoke_all, revoke_others, revoke_user},
    migrate::migrator,
};
use self::{
    checkpoints::Checkpoints,
    row::{InfoRow, Row, Text},
};
use super::{
    Changed, CleanupRun, End, Filed, Holder, HolderState, Invalidation, Lanes, LogIn, LogInOutcome,
    NewSession, Page, Reauthentication, Record, Rehash, Renewal, Revocation, Revoke, Save,
    SessionInfo, Store, SupersededUse, Sweep, Swept, Touch,
    connections::{Connections, End as EndOfTransaction, Lease, Statements, Use},
    failure,
    log_in::MOST_TWIN_BYTES,
    record::SUPERSEDED_FOR,
};
use crate::{
    client,
    error::Result,
    realm::Realm,
    token::{SecretHash, SessionId},
};

/// Sessions in an SQLite database.
///
/// A batch is one JSON array and one statement over `json_each`, because through sqlx the main cost of a
/// statement is its way to the connection's thread and back. Loads come back as one text too, because each
/// column of each row would be allocated separately.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    readers: Connections<Sqlite>,
    writer: Connections<Sqlite>,
    /// `None` on the application's own pool: the application is responsible for its log.
    checkpoints: Option<Checkpoints>,
    is_utf8: Arc<OnceCell<()>>,
}

impl SqliteStore {
    /// On the application's own pool, with its settings. Writers meet at SQLite's lock, so the pool needs a
    /// busy timeout. Of ten connections, sessions keep up to two ready for 15 ms after their last use.
    pub fn new(pool: SqlitePool) -> Self {
        let is_in_memory = is_in_memory(&pool);
        let mut connections = Connections::shared(pool).of_any_runtime();
        if is_in_memory {
            connections = connections.never_closing();
        }
        Self {
            readers: connections.clone(),
            writer: connections,
            checkpoints: None,
            is_utf8: Arc::default(),
        }
    }

    /// On pools that only sessions use: one to read, and another one, of one connection, to write. So writers
    /// queue here instead of polling for the lock. A connection that reads makes a passive checkpoint of the
    /// write-ahead log about every thousand rows.
    pub fn dedicated(readers: SqlitePool, writer: SqlitePool) -> Self {
        let dedicated = |pool| Connections::dedicated(pool).of_any_runtime();
        let (readers, writer) = (dedicated(readers), dedicated(writer));
        let checkpoints = Some(Checkpoints::new(readers.clone()));
        Self { checkpoints, readers, writer, is_utf8: Arc::default() }
    }

    /// The pool that writes.
    pub fn writer(&self) -> &SqlitePool {
        self.writer.pool()
    }

    /// An error if the file has another encoding. Asked once.
    pub(super) async fn check_encoding(&self) -> Result<()> {
        let check = async || encoding::check(self.readers.take(Use::Read).await?).await;
        self.is_utf8.get_or_try_init(check).await.copied()
    }

    fn written(&self, rows: u64) {
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.written(rows);
        }
    }
}

/// For a verb that takes several statements.
async fn in_transaction<T>(
    connection: Lease<Sqlite>,
    statements: impl AsyncFnOnce(&mut Statements<'_, Sqlite>) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    let ended = connection.transaction("begin immediate", async |tx| {
        Ok(EndOfTransaction::Commit(statements(tx).await?))
    });
    ended.await?.into_result()
}

/// Whether the database is lost with its last connection.
fn is_in_memory(pool: &SqlitePool) -> bool {
    let path = pool.connect_options().get_filename().display().to_string();
    // sqlx gives each database in memory a name of this form, so that its connections can share it.
    path.contains("sqlx-in-memory") || path.contains(":memory:")
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        self.check_encoding().await?;
        let ids = row::array(ids.iter().map(|id| json!(row::hex(id))));
        let query = query!(
            r#"
            select group_concat(json_array(hex(sessions.id), realm, hex(secret_hash), hash_key, hex(twin_hashes), hex(replaced_hash), replaced_at,
                user_id, remembered, pending_user_id, pending_since, pending_until, length(cast(data as blob)), revision, created_at,
                authenticated_at, last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, now) || data, '') as "rows?: Vec<u8>"
            from (select cast(round(unixepoch('subsec') * 1000) as integer) as now)
                cross join json_each(?1) as asked cross join sessions on sessions.id = unhex(asked.value)
            where now < valid_until
            "#,
            ids,
        )
        .map(|found| found.rows);
        let connection = self.readers.take(Use::Read).await?;
        let rows =
            connection.single(async |statements| statements.first_of_read(query).await).await?;
        Ok(row::records(&rows.flatten().unwrap_or_default())?)
    }

    async fn create(&self, sessions: &[NewSession]) -> Result<Vec<Record>> {
        self.check_encoding().await?;
        let sessions = row::array(sessions.iter().map(|s| {
            let pending = s.pending.as_ref();
            json!({
                "id": row::hex(&s.id),
                "realm": s.realm.as_str(),
                "secret_hash": hex::encode(s.secret_hash.as_bytes()),
                "hash_key": s.secret_hash.key(),
                "data": s.data,
                "idle": s.timeouts.idle,
                "absolute": s.timeouts.absolute,
                "ip": s.client.address(),
                "user_agent": s.client.user_agent,
                "pending_user": pending.and_then(|pending| pending.user_id.as_ref()),
                "pending": pending.map(|pending| pending.lapses_after),
            })
        }));
        let connection = self.writer.take(Use::Write).await?;
        let rows = connection
            .all(query_as!(
                Row,
                r#"
                insert into sessions (id, realm, secret_hash, hash_key, data, revision, created_at, last_seen_at, idle_timeout,
                    absolute_expires_at, valid_until, expires_at, ip, user_agent,
                    pending_user_id, pending_since, pending_until)
                select unhex(value ->> 'id'), value ->> 'realm', unhex(value ->> 'secret_hash'), value ->> 'hash_key', value ->> 'data', 0, now, now, value ->> 'idle',
                    now + 1000 * (value ->> 'absolute'),
                    now + 1000 * (value ->> 'idle'),
                    ((now + 1000 * (value ->> 'idle')) / (500 * (value ->> 'idle')) + 1) * (500 * (value ->> 'idle')),
                    value ->> 'ip', value ->> 'user_agent',
                    value ->> 'pending_user', iif(value ->> 'pending' is null, null, now), now + 1000 * (value ->> 'pending')
                from json_each(?1), (select cast(round(unixepoch('subsec') * 1000) as integer) as now)
                returning id as "id: Uuid", realm as "realm: Text", secret_hash, hash_key as "hash_key?: Text", coalesce(twin_hashes, x'') as "twin_hashes!: Vec<u8>",
                    coalesce(replaced_hash, x'') as "replaced_hash!: Vec<u8>", replaced_at as "replaced_at?: i64", user_id as "user_id?: Text",
                    remembered as "remembered?: i64", pending_user_id as "pending_user_id?: Text", pending_since as "pending_since?: i64",
                    pending_until as "pending_until?: i64", data as "data: Text", revision, created_at, authenticated_at as "authenticated_at?",
                    last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, created_at as "now!: i64"
                "#,
                sessions,
            ))
            .await
            .map_err(failure::of_write)?;
        self.written(rows.len() as u64);
        Ok(rows.into_iter().map(Record::from).collect())
    }

    async fn save(&self, saves: &[Save]) -> Result<Changed> {
        let saves = row::array(saves.iter().map(|s| {
            json!({
                "id": row::hex(&s.holder.id),
                "secret_hash": hex::encode(s.holder.secret_hash.as_bytes()),
                "revision": s.revision,
                "data": s.data,
                "seen": s.lifetime.last_seen_at.timestamp_millis(),
                "valid": s.lifetime.valid_until.timestamp_millis(),
                "expires": s.lifetime.expires_at.timestamp_millis(),
                "ip": s.ip.map(client::address),
            })
        }));
        let connection = self.writer.take(Use::Write).await?;
        let written = connection
            .all(query!(
                r#"
                update sessions
                set data = new.data, revision = (new.revision & 4611686018427387903) + 1,
                    last_seen_at = max(last_seen_at, new.seen),
                    valid_until = max(valid_until, min(new.valid, absolute_expires_at)),
                    expires_at = max(expires_at, new.expires),
                    ip = coalesce(new.ip, sessions.ip)
                from (
                    select unhex(value ->> 'id') as id, unhex(value ->> 'secret_hash') as secret_hash, value ->> 'revision' as revision,
                        value ->> 'data' as data, value ->> 'seen' as seen, value ->> 'valid' as valid, value ->> 'expires' as expires,
                        value ->> 'ip' as ip
                    from json_each(?1)
                ) as new
                where sessions.id = new.id and sessions.revision = new.revision
                    and cast(round(unixepoch('subsec') * 1000) as integer) < sessions.valid_until
                    and (sessions.secret_hash = new.secret_hash or instr(sessions.twin_hashes, new.secret_hash) > 0)
                returning sessions.id as "id: Uuid"
                "#,
                saves,
            ))
            .await
            .map_err(failure::of_write)?;
        self.written(written.len() as u64);
        Ok(Changed::of(written.into_iter().map(|row| row.id.into())))
    }

    async fn touch(&self, touches: &[Touch]) -> Result<()> {
        let rows = row::array(touches.iter().map(|t| {
            json!({
                "id": row::hex(&t.holder.id),
                "secret_hash": hex::encode(t.holder.secret_hash.as_bytes()),
                "hash_key": t.holder.secret_hash.key(),
                "seen": t.lifetime.last_seen_at.timestamp_millis(),
                "valid": t.lifetime.valid_until.timestamp_millis(),
                "expires": t.lifetime.expires_at.timestamp_millis(),
                "idle": t.lifetime.idle_timeout,
                "absolute": t.lifetime.absolute_expires_at.timestamp_millis(),
                "ip": t.ip.map(client::address),
                "settles": t.settles,
            })
        }));
        let connection = self.writer.take(Use::Write).await?;
        connection
            .execute(query!(
                r#"
                update sessions
                set last_seen_at = max(last_seen_at, new.seen), valid_until = max(valid_until, new.valid),
                    expires_at = max(expires_at, new.expires),
                    ip = coalesce(new.ip, sessions.ip),
                    secret_hash = iif(new.settles, new.secret_hash, sessions.secret_hash),
                    hash_key = iif(new.settles, new.hash_key, sessions.hash_key),
                    twin_hashes = iif(new.settles, null, sessions.twin_hashes)
                from (
                    select unhex(value ->> 'id') as id, unhex(value ->> 'secret_hash') as secret_hash, value ->> 'hash_key' as hash_key,
                        value ->> 'seen' as seen,
                        value ->> 'valid' as valid, value ->> 'expires' as expires, value ->> 'idle' as idle,
                        value ->> 'absolute' as absolute, value ->> 'ip' as ip, value ->> 'settles' as settles
                    from json_each(?1)
                ) as new
                where sessions.id = new.id and (last_seen_at < new.seen or new.settles) and idle_timeout = new.idle
                    and min(absolute_expires_at, 253402300799999) = new.absolute
                    and cast(round(unixepoch('subsec') * 1000) as integer) < valid_until
                    and (sessions.secret_hash = new.secret_hash or instr(sessions.twin_hashes, new.secret_hash) > 0)
                "#,
                rows,
            ))
            .await
            .map_err(failure::of_write)?;
        self.written(touches.len() as u64);
        Ok(())
    }

    async fn renew(&self, renewal: &Renewal) -> Result<bool> {
        let (id, old, new) = (
            renewal.holder.id.as_uuid(),
            &renewal.holder.secret_hash.as_bytes()[..],
            &renewal.new_hash.as_bytes()[..],
        );
        let replaced = &renewal.holder.secret_hash.as_replaced()[..];
        let (ip, key) = (renewal.client.address(), renewal.new_hash.key());
        let pending = renewal.pending.as_ref();
        let since = pending.map(|pending| pending.began_at.timestamp_millis());
        let until = pending.map(|pending| pending.lapses_at.timestamp_millis());
        let at = renewal.at.timestamp_millis();
        let superseded_since = (renewal.at - SUPERSEDED_FOR).timestamp_millis();
        let pending_user = pending.and_then(|pending| pending.user_id.clone());
        let connection = self.writer.take(Use::Write).await?;
        let done = connection
            .execute(query!(
                r#"
                update sessions
                set secret_hash = ?3, hash_key = ?12,
                    twin_hashes = iif(secret_hash = ?2 or coalesce(instr(twin_hashes, ?2), 0) > 0, null,
                        cast(coalesce(twin_hashes, x'') || secret_hash as blob)),
                    replaced_hash = ?13,
                    replaced_at = iif(secret_hash = ?2 or coalesce(instr(twin_hashes, ?2), 0) > 0, ?9, replaced_at),
                    pending_user_id = iif(?6 is null, pending_user_id, ?8),
                    pending_since = coalesce(?6, pending_since), pending_until = coalesce(?7, pending_until),
                    ip = coalesce(?4, ip), user_agent = coalesce(?5, user_agent)
                where id = ?1 and cast(round(unixepoch('subsec') * 1000) as integer) < valid_until
                    and (secret_hash = ?2 or instr(twin_hashes, ?2) > 0
                        or (replaced_hash = ?13 and replaced_at > ?10 and ?6 is not null and user_id is null
                            and pending_since is not null and pending_user_id is ?8
                            and length(coalesce(twin_hashes, x'')) < ?11))
                "#,
                id,
                old,
                new,
                ip,
                renewal.client.user_agent,
                since,
                until,
                pending_user,
                at,
                superseded_since,
                MOST_TWIN_BYTES,
                key,
                replaced,
            ))
            .await
            .map_err(failure::of_write)?;
        self.written(1);
        Ok(done.rows_affected() == 1)
    }

    async fn reauthenticate(&self, to: &Reauthentication) -> Result<Option<Record>> {
        let (renewal, lifetime) = (&to.renewal, row::Millis::from(&to.lifetime));
        let (id, old, new) = (
            renewal.holder.id.as_uuid(),
            &renewal.holder.secret_hash.as_bytes()[..],
            &renewal.new_hash.as_bytes()[..],
        );
        let replaced = &renewal.holder.secret_hash.as_replaced()[..];
        let (ip, key) = (renewal.client.address(), renewal.new_hash.key());
        let update = query_as!(
            Row,
            r#"
                update sessions
                set secret_hash = ?3, hash_key = ?12, twin_hashes = null, replaced_hash = ?13, replaced_at = ?5,
                    revision = (revision & 4611686018427387903) + 1, authenticated_at = ?5, last_seen_at = ?5,
                    idle_timeout = ?6, absolute_expires_at = ?7, valid_until = ?8, expires_at = ?9,
                    ip = coalesce(?10, ip), user_agent = coalesce(?11, user_agent)
                where id = ?1 and user_id = ?4 and cast(round(unixepoch('subsec') * 1000) as integer) < valid_until
                    and (secret_hash = ?2 or instr(twin_hashes, ?2) > 0)
                returning id as "id: Uuid", realm as "realm: Text", secret_hash, hash_key as "hash_key?: Text", coalesce(twin_hashes, x'') as "twin_hashes!: Vec<u8>",
                    coalesce(replaced_hash, x'') as "replaced_hash!: Vec<u8>", replaced_at as "replaced_at?: i64", user_id as "user_id?: Text",
                    remembered as "remembered?: i64", pending_user_id as "pending_user_id?: Text", pending_since as "pending_since?: i64",
                    pending_until as "pending_until?: i64", data as "data: Text", revision, created_at, authenticated_at as "authenticated_at?",
                    last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, cast(round(unixepoch('subsec') * 1000) as integer) as "now!: i64"
                "#,
            id,
            old,
            new,
            to.user_id,
            lifetime.last_seen_at,
            lifetime.idle_timeout,
            lifetime.absolute_expires_at,
            lifetime.valid_until,
            lifetime.expires_at,
            ip,
            renewal.client.user_agent,
            key,
            replaced,
        );
        let connection = self.writer.take(Use::Write).await?;
        let rows = match to.is_recorded {
            false => connection.all(update).await,
            true => {
                in_transaction(connection, async |tx| {
                    let rows = tx.all(update).await?;
                    if !rows.is_empty() {
                        log::reauthenticated(tx, id).await?;
                    }
                    Ok(rows)
                })
                .await
            }
        };
        let rows = rows.map_err(failure::of_write)?;
        self.written(1);
        Ok(rows.into_iter().next().map(Record::from))
    }

    async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome> {
        self.check_encoding().await?;
        let outcome = log_in::log_in(&self.readers, &self.writer, log_in).await?;
        self.written(1);
        Ok(outcome)
    }

    async fn end(&self, ends: &[End]) -> Result<Changed> {
        let connection = self.writer.take(Use::Write).await?;
        let ended = connection.single(async |tx| revoke::end(tx, ends).await).await;
        let ended = ended.map_err(failure::of_write)?;
        self.written(ended.len() as u64);
        Ok(Changed::of(ended))
    }

    async fn revoke(&self, revoke: &Revoke) -> Result<Option<Revocation>> {
        let revocation = revoke::in_own_transaction(&self.writer, revoke).await?;
        self.written(revocation.map_or(0, |revocation| revocation.ended));
        Ok(revocation)
    }

    async fn holding(&self, holders: &[Holder]) -> Result<Vec<HolderState>> {
        let asked = row::array(holders.iter().map(|holder| {
            json!({
                "id": row::hex(&holder.id),
                "secret_hash": hex::encode(holder.secret_hash.as_bytes()),
            })
        }));
        let connection = self.readers.take(Use::Read).await?;
        let live = connection
            .all(query!(
                r#"
                select cast(asked.key as integer) as "n!: i64",
                    sessions.secret_hash = unhex(asked.value ->> 'secret_hash')
                        or coalesce(instr(sessions.twin_hashes, unhex(asked.value ->> 'secret_hash')) > 0, false) as "holds!: bool"
                from json_each(?1) as asked cross join sessions on sessions.id = unhex(asked.value ->> 'id')
                where cast(round(unixepoch('subsec') * 1000) as integer) < valid_until
                "#,
                asked,
            ))
            .await?;
        Ok(HolderState::of_each(holders, live.iter().map(|row| (row.n, row.holds))))
    }

    async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>> {
        let realm = page.realm.as_str();
        let after = page.after.map(|key| key.authenticated_at.timestamp_millis());
        let after_id = page.after.map(|key| key.id.as_uuid());
        let by_id = page.by.map(|holder| holder.id.as_uuid());
        let by_hash = page.by.map(|holder| holder.secret_hash.as_bytes().to_vec());
        let connection = self.readers.take(Use::Read).await?;
        let rows = connection
            .all(query_as!(
                InfoRow,
                r#"
                select id as "id: Uuid", user_id as "user_id?: Text", created_at, authenticated_at as "authenticated_at?", last_seen_at, valid_until, ip as "ip?: Text", user_agent as "user_agent?: Text"
                from (
                    -- Between the first and the last moment that a key can hold, whatever a person has written.
                    select *, min(max(coalesce(authenticated_at, 0), 0), 253402300799999) as authenticated from sessions
                )
                where user_id = ?1 and realm = ?2 and cast(round(unixepoch('subsec') * 1000) as integer) < valid_until
                    and length(id) = 16
                    and (?3 is null or (authenticated, id) < (?3, ?4))
                    and (?6 is null or exists (
                        select 1 from sessions as h
                        where h.id = ?6 and h.user_id = ?1 and cast(round(unixepoch('subsec') * 1000) as integer) < h.valid_until
                            and (h.secret_hash = ?7 or instr(h.twin_hashes, ?7) > 0)))
                order by authenticated desc, id desc
                limit ?5
                "#,
                page.user_id,
                realm,
                after,
                after_id,
                page.limit,
                by_id,
                by_hash,
            ))
            .await?;
        Ok(rows.into_iter().map(SessionInfo::from).collect())
    }

    async fn find(&self, realm: &Realm, id: SessionId) -> Result<Option<SessionInfo>> {
        let (realm, id) = (realm.as_str(), id.as_uuid());
        let connection = self.readers.take(Use::Read).await?;
        let row = connection
            .optional(query_as!(
                InfoRow,
                r#"
                select id as "id: Uuid", user_id as "user_id?: Text", created_at, authenticated_at as "authenticated_at?", last_seen_at, valid_until, ip as "ip?: Text", user_agent as "user_agent?: Text"
                from sessions
                where id = ?1 and realm = ?2 and cast(round(unixepoch('subsec') * 1000) as integer) < valid_until
                "#,
                id,
                realm,
            ))
            .await?;
        Ok(row.map(SessionInfo::from))
    }

    async fn scan(
        &self,
        realm: &Realm,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionId>> {
        let (realm, after) = (realm.as_str(), after.map_or(Uuid::nil(), |id| id.as_uuid()));
        let connection = self.readers.take(Use::Read).await?;
        let ids = connection
            .all(
                query!(
                    r#"
                    select id from sessions
                    where id > ?1 and realm = ?2 and cast(round(unixepoch('subsec') * 1000) as integer) < valid_until
                    order by id
                    limit ?3
                    "#,
                    after,
                    realm,
                    limit,
                )
                // An id that is none has no name.
                .map(|row| Uuid::from_slice(&row.id).ok()),
            )
            .await?;
        Ok(ids.into_iter().flatten().map(Into::into).collect())
    }

    async fn rehash(&self, rehash: &Rehash) -> Result<bool> {
        let (id, key) = (rehash.id.as_uuid(), rehash.new_hash.key());
        let (old, new) = (&rehash.old_hash.as_bytes()[..], &rehash.new_hash.as_bytes()[..]);
        let old_twins = SecretHash::concat(&rehash.old_twins);
        let new_twins = SecretHash::concat(&rehash.new_twins);
        let new_replaced = rehash.new_replaced.map(|hash| hash.as_bytes().to_vec());
        let superseded_since = (rehash.at - SUPERSEDED_FOR).timestamp_millis();
        let connection = self.writer.take(Use::Write).await?;
        let done = connection
            .execute(query!(
                r#"
                update sessions
                set secret_hash = ?4, hash_key = ?5, replaced_hash = coalesce(?7, replaced_hash),
                    twin_hashes = cast(?6 || secret_hash || coalesce(twin_hashes, x'') as blob)
                where id = ?1 and secret_hash = ?2 and coalesce(twin_hashes, x'') = ?3 and hash_key is null
                    and cast(round(unixepoch('subsec') * 1000) as integer) < valid_until
                    and (replaced_at is null or replaced_at < ?8)
                "#,
                id,
                old,
                old_twins,
                new,
                key,
                new_twins,
                new_replaced,
                superseded_since,
            ))
            .await
            .map_err(failure::of_write)?;
        self.written(1);
        Ok(done.rows_affected() == 1)
    }

    async fn count(&self, realm: &Realm, user_id: Option<&str>) -> Result<u64> {
        let realm = realm.as_str();
        let connection = self.readers.take(Use::Read).await?;
        let found = connection
            .one(query!(
                r#"
                select count(*) as "count!: i64"
                from sessions
                where (?1 is null or user_id = ?1) and realm = ?2 and cast(round(unixepoch('subsec') * 1000) as integer) < valid_until
                "#,
                user_id,
                realm,
            ))
            .await?;
        Ok(found.count.unsigned_abs())
    }

    async fn forget(&self, realm: &Realm, user_id: &str) -> Result<u64> {
        let ended = revoke::forget(&self.writer, realm, user_id).await?;
        self.written(ended);
        Ok(ended)
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept> {
        let (swept, written) = sweep::sweep(&self.writer, sweep).await?;
        self.written(written);
        Ok(swept)
    }

    async fn file_events(&self, from: u64, limit: u32) -> Result<Filed> {
        let filed = inbox::file(&self.writer, from, limit).await?;
        self.written(2 * filed.events);
        Ok(filed)
    }

    async fn log_cleanup(&self, run: &CleanupRun) -> Result<()> {
        log::cleanup(&self.writer, run).await
    }

    async fn log_superseded(&self, used: &SupersededUse) -> Result<()> {
        log::superseded(&self.writer, used).await
    }

    async fn migrate(&self) -> Result<()> {
        self.check_encoding().await?;
        migrate::migrate(&self.writer).await
    }

    #[cfg(feature = "testing")]
    async fn age(&self, realm: &Realm, id: SessionId, by: chrono::TimeDelta) -> Result<bool> {
        let (realm, id, by) = (realm.as_str(), id.as_uuid(), by.num_milliseconds());
        let connection = self.writer.take(Use::Write).await?;
        let aged = connection
            .execute(query!(
                r#"
                update sessions
                set created_at = created_at - ?3, authenticated_at = authenticated_at - ?3,
                    last_seen_at = last_seen_at - ?3, absolute_expires_at = absolute_expires_at - ?3,
                    valid_until = valid_until - ?3, expires_at = expires_at - ?3, replaced_at = replaced_at - ?3,
                    pending_since = pending_since - ?3, pending_until = pending_until - ?3
                where id = ?1 and realm = ?2
                "#,
                id,
                realm,
                by,
            ))
            .await
            .map_err(failure::of_write)?;
        Ok(aged.rows_affected() == 1)
    }

    async fn watch(&self, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
        watch::watch(&self.readers, on).await
    }

    fn system_name(&self) -> &'static str {
        "sqlite"
    }

    /// SQLite has one writer at a time.
    fn lanes(&self) -> Lanes {
        Lanes { reads: 2, writes: 1 }
    }
}
