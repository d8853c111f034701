//! Sessions in Postgres 14 or newer, in their own schema.
//!
//! The functions of this module end sessions inside the application's own transaction. So an application can
//! disable an account and end its sessions in one transaction.

mod application;
mod inbox;
mod locked;
mod log;
mod log_in;
mod migrate;
mod moment;
pub(crate) mod pooler;
mod revoke;
mod row;
mod save;
mod sweep;
mod watch;

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use sqlx::{Connection, PgPool, Postgres, query, query_as};
use tokio::sync::OnceCell;
use uuid::Uuid;

pub use self::{
    application::{revoke, revoke_all, revoke_others, revoke_user},
    migrate::migrator,
};
use self::{
    locked::LockedRows,
    moment::Moment,
    row::{InfoRow, Row},
};
use super::{
    Changed, CleanupRun, End, Filed, Holder, HolderState, Invalidation, LogIn, LogInOutcome,
    NewSession, Page, Reauthentication, Record, Rehash, Renewal, Revocation, Revoke, Save,
    SessionInfo, Store, SupersededUse, Survey, Sweep, Swept, Touch,
    connections::{Connections, Ended, Lease, Use},
    failure,
    log_in::MOST_TWIN_BYTES,
    record::SUPERSEDED_FOR,
};
use crate::{
    error::Result,
    metrics,
    realm::Realm,
    token::{SecretHash, SessionId},
};

/// The SQL of `docs/roles.sql`: roles for the application, and for those who only look, end sessions, or clean up. An
/// administrator runs it after the migrations, and again after each later one. `docs/operations.md` describes the roles.
pub const ROLES: &str = include_str!("../../../docs/roles.sql");

/// Sessions in a Postgres database.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    connections: Connections<Postgres>,
    locked_rows: LockedRows,
    is_distributed: Arc<OnceCell<bool>>,
}

impl PostgresStore {
    /// On the application's own pool, with its settings and its limit of connections. Of ten connections,
    /// sessions keep up to two ready for 15 ms after their last use.
    pub fn new(pool: PgPool) -> Self {
        Self::on(Connections::shared(pool))
    }

    /// On a pool that only sessions use.
    pub fn dedicated(pool: PgPool) -> Self {
        Self::on(Connections::dedicated(pool))
    }

    fn on(connections: Connections<Postgres>) -> Self {
        Self { connections, locked_rows: LockedRows::default(), is_distributed: Arc::default() }
    }

    /// Behind a pooler that does not keep prepared statements apart: see
    /// [`ConnectOptions::behind_pooler`](crate::store::ConnectOptions::behind_pooler). The pool's own options
    /// must contain `extra_float_digits(None)`, unless the pooler ignores that parameter.
    pub fn behind_pooler(mut self) -> Self {
        self.connections = self.connections.single_in(SHORT);
        self
    }

    /// The pool.
    pub fn pool(&self) -> &PgPool {
        self.connections.pool()
    }

    async fn read<T, F>(&self, run: impl Fn(Lease<Postgres>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        self.statement(Use::Read, run).await
    }

    async fn write<T, F>(&self, run: impl Fn(Lease<Postgres>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        self.statement(Use::Write, run).await
    }

    /// Runs one statement. Runs it again if it did nothing, or if it reads and its answer is missing: a pool
    /// that does not ping every connection finds out about a restarted server only by such an error.
    async fn statement<T, F>(&self, wanted: Use, run: impl Fn(Lease<Postgres>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        for _ in 1..TRIES {
            match run(self.connections.take(wanted).await?).await {
                Err(error)
                    if failure::did_nothing(&error)
                        || (wanted == Use::Read && failure::is_answer_missing(&error)) =>
                {
                    self.tidy(&error).await;
                    metrics::retry(failure::why_again(&error));
                }
                result => return self.ended(result).await,
            }
        }
        let result = run(self.connections.take(wanted).await?).await;
        self.ended(result).await
    }

    /// Runs a transaction, and again as a whole if it did nothing. Until its commit is sent, it has done nothing.
    async fn transaction<T, F>(&self, run: impl Fn(Lease<Postgres>) -> F) -> Result<T>
    where
        F: Future<Output = Result<Ended<T>, sqlx::Error>>,
    {
        let mut tries = 1;
        loop {
            let error = match run(self.connections.take(Use::Transaction).await?).await {
                Ok(Ended::As(value)) => return Ok(value),
                Ok(Ended::NotCommitted(error)) if !failure::did_nothing(&error) => {
                    return self.ended(Err(error)).await;
                }
                Ok(Ended::NotCommitted(error)) | Err(error) => error,
            };
            self.tidy(&error).await;
            let may_go_another_way =
                failure::did_nothing(&error) || failure::is_lost_connection(&error);
            if !may_go_another_way || tries == TRIES {
                return Err(error.into());
            }
            metrics::retry(failure::why_again(&error));
            tries += 1;
        }
    }

    async fn ended<T>(&self, result: Result<T, sqlx::Error>) -> Result<T> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                self.tidy(&error).await;
                Err(failure::of_write(error))
            }
        }
    }

    /// If a connection turned out to be useless, closes the connections that were made beside it: all of them
    /// if the server accepts no writes any more, otherwise the dead ones.
    async fn tidy(&self, error: &sqlx::Error) {
        let is_read_only = failure::is_read_only(error);
        if !is_read_only && !failure::is_lost_connection(error) {
            return;
        }
        self.connections.close_resting();
        while let Some(mut connection) = self.pool().try_acquire() {
            if !is_read_only && connection.ping().await.is_ok() {
                break;
            }
            drop(connection.detach());
        }
    }

    /// Whether Citus distributes the table: some statements then have another text. Checked once.
    async fn is_distributed(&self) -> Result<bool> {
        let answer = self.is_distributed.get_or_try_init(|| {
            self.read(|connection| {
                connection.single(async |tx| {
                    let has_citus = query!(
                        r#"select to_regclass('pg_catalog.pg_dist_partition') is not null as "has!""#
                    );
                    if !tx.one(has_citus).await?.has {
                        return Ok(false);
                    }
                    // Not checked when the crate is built, because the table comes with Citus.
                    let distributed = sqlx::query(
                        "select 1 from pg_catalog.pg_dist_partition where logicalrelid = 'sessile.sessions'::regclass",
                    );
                    Ok(tx.execute(distributed).await?.rows_affected() > 0)
                })
            })
        });
        answer.await.copied()
    }
}

/// How often to try a statement or a transaction that did nothing.
const TRIES: u32 = 5;

/// The beginning of a transaction that waits for locks. It is at read committed, not at the pool's default,
/// because each statement must see the commits that the statement before it waited for. Each wait for a lock
/// is shorter than a log-in's deadline. So is the server's wait for the next statement: a client that
/// vanished would keep the user's lock.
const WAITING_FOR_LOCKS: &str = "begin isolation level read committed; set local lock_timeout = '3s'; set local idle_in_transaction_session_timeout = '2s'";

/// The beginning of a short transaction.
const SHORT: &str = "begin; set local lock_timeout = '1500ms'; set local idle_in_transaction_session_timeout = '2s'";

macro_rules! load {
    ($any:literal, $ids:expr) => {
        query_as!(
            Row,
            r#"
            select id, realm, secret_hash, hash_key, twin_hashes, replaced_hash, replaced_at, user_id, remembered, pending_user_id,
                pending_since, pending_until, data as "data: _", revision, created_at, authenticated_at, last_seen_at,
                idle_timeout, absolute_expires_at, valid_until, expires_at, now() as "now!"
            from sessile.sessions
            where id = any("# + $any + r#") and now() < valid_until
            "#,
            $ids,
        )
    };
}

#[async_trait]
impl Store for PostgresStore {
    async fn load(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        let ids: Vec<Uuid> = ids.iter().map(SessionId::as_uuid).collect();
        // Whatever the number of ids, the plan is the same one, which is kept. Citus has to see them: it looks into
        // every shard else.
        let rows = match self.is_distributed().await? {
            false => {
                self.read(|connection| connection.all(load!("(select $1::uuid[])::uuid[]", &ids)))
                    .await?
            }
            true => self.read(|connection| connection.all(load!("$1::uuid[]", &ids))).await?,
        };
        Ok(rows.into_iter().map(Record::from).collect())
    }

    async fn create(&self, sessions: &[NewSession]) -> Result<Vec<Record>> {
        let ids: Vec<Uuid> = sessions.iter().map(|s| s.id.as_uuid()).collect();
        let realms: Vec<String> = sessions.iter().map(|s| s.realm.to_string()).collect();
        let hashes: Vec<Vec<u8>> =
            sessions.iter().map(|s| s.secret_hash.as_bytes().to_vec()).collect();
        let keys: Vec<Option<String>> =
            sessions.iter().map(|s| s.secret_hash.key().map(str::to_owned)).collect();
        let data: Vec<String> = sessions.iter().map(|s| s.data.clone()).collect();
        let idle: Vec<i32> = sessions.iter().map(|s| row::seconds(s.timeouts.idle)).collect();
        let absolute: Vec<i32> =
            sessions.iter().map(|s| row::seconds(s.timeouts.absolute)).collect();
        let ips: Vec<Option<String>> = sessions.iter().map(|s| s.client.address()).collect();
        let agents: Vec<Option<String>> =
            sessions.iter().map(|s| s.client.user_agent.clone()).collect();
        let pending_users: Vec<Option<String>> =
            sessions.iter().map(|s| s.pending.as_ref()?.user_id.clone()).collect();
        let pending_seconds: Vec<Option<i32>> = sessions
            .iter()
            .map(|s| s.pending.as_ref().map(|pending| row::seconds(pending.lapses_after)))
            .collect();
        let rows = self
            .write(|connection| {
                connection.all(query_as!(
                    Row,
                    r#"
                    insert into sessile.sessions (id, realm, secret_hash, hash_key, data, revision, created_at, last_seen_at, idle_timeout,
                        absolute_expires_at, valid_until, expires_at, ip, user_agent,
                        pending_user_id, pending_since, pending_until)
                    select id, realm, secret_hash, hash_key, data::json, 0, now(), now(), idle,
                        now() + make_interval(secs => absolute),
                        now() + make_interval(secs => idle),
                        date_bin(make_interval(secs => idle / 2.0), now() + make_interval(secs => idle), timestamptz 'epoch')
                            + make_interval(secs => idle / 2.0),
                        ip::inet, user_agent,
                        pending_user, case when pending is not null then now() end, now() + make_interval(secs => pending)
                    from unnest((select $1::uuid[]), $2::text[], $3::bytea[], $4::text[], $5::int[], $6::int[], $7::text[], $8::text[],
                            $9::text[], $10::int[], $11::text[])
                        as new (id, realm, secret_hash, data, idle, absolute, ip, user_agent, pending_user, pending, hash_key)
                    returning id, realm, secret_hash, hash_key, twin_hashes, replaced_hash, replaced_at, user_id, remembered, pending_user_id,
                        pending_since, pending_until, data as "data: _", revision, created_at, authenticated_at, last_seen_at,
                        idle_timeout, absolute_expires_at, valid_until, expires_at, created_at as "now!"
                    "#,
                    &ids,
                    &realms,
                    &hashes,
                    &data,
                    &idle,
                    &absolute,
                    &ips as &[Option<String>],
                    &agents as &[Option<String>],
                    &pending_users as &[Option<String>],
                    &pending_seconds as &[Option<i32>],
                    &keys as &[Option<String>],
                ))
            })
            .await?;
        Ok(rows.into_iter().map(Record::from).collect())
    }

    async fn save(&self, saves: &[Save]) -> Result<Changed> {
        save::save(self, saves).await
    }

    async fn touch(&self, touches: &[Touch]) -> Result<()> {
        save::touch(self, touches).await
    }

    async fn renew(&self, renewal: &Renewal) -> Result<bool> {
        let pending = renewal.pending.as_ref();
        let renewed = self
            .write(|connection| {
                connection.optional(query!(
                    r#"
                    with patience as materialized (
                        select set_config('lock_timeout', '1s', true) as of_a_row
                    ), renewed as (
                        update sessile.sessions
                        set secret_hash = $3, hash_key = $12,
                            twin_hashes = case when secret_hash = $2 or position($2 in twin_hashes) > 0 then null
                                else coalesce(twin_hashes, ''::bytea) || secret_hash end,
                            replaced_hash = $13,
                            replaced_at = case when secret_hash = $2 or position($2 in twin_hashes) > 0 then $9
                                else replaced_at end,
                            pending_user_id = case when $6::timestamptz is null then pending_user_id else $8 end,
                            pending_since = coalesce($6, pending_since), pending_until = coalesce($7, pending_until),
                            ip = coalesce($4::text::inet, ip), user_agent = coalesce($5, user_agent)
                        where id = $1 and now() < valid_until and (select of_a_row from patience) is not null
                            and (secret_hash = $2 or position($2 in twin_hashes) > 0
                                or (replaced_hash = $13 and replaced_at > $10 and $6::timestamptz is not null and user_id is null
                                    and pending_since is not null and pending_user_id is not distinct from $8
                                    and octet_length(coalesce(twin_hashes, ''::bytea)) < $11))
                        returning id
                    )
                    select id from renewed where (select pg_notify('sessile', 'session ' || id)::text) is not null
                    "#,
                    renewal.holder.id.as_uuid(),
                    renewal.holder.secret_hash.as_bytes(),
                    renewal.new_hash.as_bytes(),
                    renewal.client.address(),
                    renewal.client.user_agent,
                    pending.map(|pending| Moment(pending.began_at)) as Option<Moment>,
                    pending.map(|pending| Moment(pending.lapses_at)) as Option<Moment>,
                    pending.and_then(|pending| pending.user_id.clone()),
                    Moment(renewal.at),
                    Moment(renewal.at - SUPERSEDED_FOR),
                    MOST_TWIN_BYTES,
                    renewal.new_hash.key(),
                    renewal.holder.secret_hash.as_replaced(),
                ))
            })
            .await?;
        Ok(renewed.is_some())
    }

    async fn reauthenticate(&self, to: &Reauthentication) -> Result<Option<Record>> {
        let (renewal, lifetime) = (&to.renewal, &to.lifetime);
        let records = to.is_recorded && !self.is_distributed().await?;
        macro_rules! reauthenticate {
            ($recorded:literal $(, $more:expr)*) => {
                query_as!(
                    Row,
                    r#"
                    with patience as materialized (
                        select set_config('lock_timeout', '1s', true) as of_a_row
                    ), renewed as (
                        update sessile.sessions
                        set secret_hash = $3, hash_key = $12, twin_hashes = null, replaced_hash = $13, replaced_at = $5,
                            revision = (revision & 4611686018427387903) + 1, authenticated_at = $5, last_seen_at = $5,
                            idle_timeout = $6, absolute_expires_at = $7, valid_until = $8, expires_at = $9,
                            ip = coalesce($10::text::inet, ip), user_agent = coalesce($11, user_agent)
                        where id = $1 and user_id = $4 and now() < valid_until
                            and (select of_a_row from patience) is not null
                            and (secret_hash = $2 or position($2 in twin_hashes) > 0)
                        returning *
                    )
                    "# + $recorded + r#"
                    select id, realm, secret_hash, hash_key, twin_hashes, replaced_hash, replaced_at, user_id, remembered, pending_user_id,
                        pending_since, pending_until, data as "data: _", revision, created_at, authenticated_at, last_seen_at,
                        idle_timeout, absolute_expires_at, valid_until, expires_at, now() as "now!"
                    from renewed where (select pg_notify('sessile', 'session ' || id)::text) is not null
                    "#,
                    renewal.holder.id.as_uuid(),
                    renewal.holder.secret_hash.as_bytes(),
                    renewal.new_hash.as_bytes(),
                    to.user_id,
                    Moment(lifetime.last_seen_at),
                    row::seconds(lifetime.idle_timeout),
                    Moment(lifetime.absolute_expires_at),
                    Moment(lifetime.valid_until),
                    Moment(lifetime.expires_at),
                    renewal.client.address(),
                    renewal.client.user_agent,
                    renewal.new_hash.key(),
                    renewal.holder.secret_hash.as_replaced()
                    $(, $more)*
                )
            };
        }
        let row = match records {
            false => self.write(|connection| connection.optional(reauthenticate!(""))).await?,
            true => {
                self.write(|connection| {
                    connection.optional(reauthenticate!(
                        r#"
                        -- Not where the table is distributed.
                        , recorded as (
                            insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, actor)
                            select now(), 'reauthenticated', realm, id, user_id, ip, user_agent, $14::text from renewed
                        )
                        "#,
                        "user"
                    ))
                })
                .await?
            }
        };
        Ok(row.map(Record::from))
    }

    async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome> {
        log_in::log_in(self, log_in).await
    }

    async fn end(&self, ends: &[End]) -> Result<Changed> {
        revoke::end(self, ends).await
    }

    async fn revoke(&self, revoke: &Revoke) -> Result<Option<Revocation>> {
        revoke::in_own_transaction(self, revoke).await
    }

    async fn holding(&self, holders: &[Holder]) -> Result<Vec<HolderState>> {
        let ids: Vec<Uuid> = holders.iter().map(|holder| holder.id.as_uuid()).collect();
        let hashes: Vec<Vec<u8>> =
            holders.iter().map(|holder| holder.secret_hash.as_bytes().to_vec()).collect();
        let live = self
            .read(|connection| {
                connection.all(query!(
                    r#"
                    select of.n as "n!",
                        s.secret_hash = of.secret_hash or coalesce(position(of.secret_hash in s.twin_hashes) > 0, false) as "holds!"
                    from unnest((select $1::uuid[]), $2::bytea[]) with ordinality as of (id, secret_hash, n)
                    join sessile.sessions as s on s.id = of.id
                    where now() < s.valid_until
                    "#,
                    &ids,
                    &hashes,
                ))
            })
            .await?;
        Ok(HolderState::of_each(holders, live.iter().map(|row| (row.n - 1, row.holds))))
    }

    async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>> {
        let rows = self
            .read(|connection| {
                connection.all(query_as!(
                    InfoRow,
                    r#"
                    select id, user_id, created_at, authenticated_at, last_seen_at, valid_until, host(ip) as ip, user_agent
                    from sessile.sessions
                    where user_id = $1 and realm = $2 and now() < valid_until
                        -- Between the first and the last moment that a key can hold, whatever a person has written.
                        and ($3::timestamptz is null
                            or (least(greatest(authenticated_at, timestamptz 'epoch'), timestamptz '9999-12-31 23:59:59.999Z'), id) < ($3, $4))
                        and ($6::uuid is null or exists (
                            select 1 from sessile.sessions as h
                            where h.id = $6 and h.user_id = $1 and now() < h.valid_until
                                and (h.secret_hash = $7 or position($7 in h.twin_hashes) > 0)))
                    order by least(greatest(authenticated_at, timestamptz 'epoch'), timestamptz '9999-12-31 23:59:59.999Z') desc, id desc
                    limit $5
                    "#,
                    page.user_id,
                    page.realm.as_str(),
                    page.after.map(|key| Moment(key.authenticated_at)) as Option<Moment>,
                    page.after.map(|key| key.id.as_uuid()),
                    i64::from(page.limit),
                    page.by.map(|holder| holder.id.as_uuid()),
                    page.by.map(|holder| holder.secret_hash.as_bytes().to_vec()),
                ))
            })
            .await?;
        Ok(rows.into_iter().map(SessionInfo::from).collect())
    }

    async fn find(&self, realm: &Realm, id: SessionId) -> Result<Option<SessionInfo>> {
        let row = self
            .read(|connection| {
                connection.optional(query_as!(
                    InfoRow,
                    r#"
                    select id, user_id, created_at, authenticated_at, last_seen_at, valid_until, host(ip) as ip, user_agent
                    from sessile.sessions
                    where id = $1 and realm = $2 and now() < valid_until
                    "#,
                    id.as_uuid(),
                    realm.as_str(),
                ))
            })
            .await?;
        Ok(row.map(SessionInfo::from))
    }

    async fn scan(
        &self,
        realm: &Realm,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionId>> {
        let after = after.map_or(Uuid::nil(), |id| id.as_uuid());
        let ids = self
            .read(|connection| {
                connection.all(
                    query!(
                        r#"
                        select id from sessile.sessions
                        where id > $1 and realm = $2 and now() < valid_until
                        order by id
                        limit $3::int
                        "#,
                        after,
                        realm.as_str(),
                        i32::try_from(limit).unwrap_or(i32::MAX),
                    )
                    .map(|row| row.id),
                )
            })
            .await?;
        Ok(ids.into_iter().map(Into::into).collect())
    }

    async fn rehash(&self, rehash: &Rehash) -> Result<bool> {
        let rehashed = self
            .write(|connection| {
                connection.execute(query!(
                    r#"
                    with patience as materialized (
                        select set_config('lock_timeout', '1s', true) as of_a_row
                    )
                    update sessile.sessions
                    set secret_hash = $4, hash_key = $5, replaced_hash = coalesce($7, replaced_hash),
                        twin_hashes = $6 || secret_hash || coalesce(twin_hashes, ''::bytea)
                    where id = $1 and secret_hash = $2 and coalesce(twin_hashes, ''::bytea) = $3 and hash_key is null
                        and now() < valid_until and (replaced_at is null or replaced_at < $8)
                        and (select of_a_row from patience) is not null
                    "#,
                    rehash.id.as_uuid(),
                    rehash.old_hash.as_bytes(),
                    SecretHash::concat(&rehash.old_twins),
                    rehash.new_hash.as_bytes(),
                    rehash.new_hash.key(),
                    SecretHash::concat(&rehash.new_twins),
                    rehash.new_replaced.map(|hash| hash.as_bytes().to_vec()),
                    Moment(rehash.at - SUPERSEDED_FOR),
                ))
            })
            .await?;
        Ok(rehashed.rows_affected() == 1)
    }

    async fn count(&self, realm: &Realm, user_id: Option<&str>) -> Result<u64> {
        let found = self
            .read(|connection| {
                connection.one(query!(
                    r#"
                    select count(*) as "count!"
                    from sessile.sessions
                    where ($1::text is null or user_id = $1) and realm = $2 and now() < valid_until
                    "#,
                    user_id,
                    realm.as_str(),
                ))
            })
            .await?;
        Ok(found.count.unsigned_abs())
    }

    async fn forget(&self, realm: &Realm, user_id: &str) -> Result<u64> {
        revoke::forget(self, realm, user_id).await
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept> {
        sweep::sweep(self, sweep).await
    }

    async fn survey(&self) -> Result<Option<Survey>> {
        sweep::survey(self).await
    }

    async fn sweep_pages(&self, pages: Range<u32>, is_recorded: bool) -> Result<Swept> {
        sweep::sweep_pages(self, pages, is_recorded).await
    }

    async fn file_events(&self, from: u64, limit: u32) -> Result<Filed> {
        inbox::file(self, from, limit).await
    }

    async fn log_cleanup(&self, run: &CleanupRun) -> Result<()> {
        log::cleanup(self, run).await
    }

    async fn log_superseded(&self, used: &SupersededUse) -> Result<()> {
        log::superseded(self, used).await
    }

    async fn migrate(&self) -> Result<()> {
        self.connections.close_resting();
        migrate::migrate(self.pool()).await
    }

    #[cfg(feature = "testing")]
    async fn age(&self, realm: &Realm, id: SessionId, by: chrono::TimeDelta) -> Result<bool> {
        if self.is_distributed().await? {
            let message =
                "sessions in a distributed table cannot be made older: test without Citus";
            return Err(crate::Error::new(crate::ErrorKind::Configuration, message));
        }
        let aged = self
            .write(|connection| {
                connection.optional(query!(
                    r#"
                    -- Not where the table is distributed.
                    with aged as (
                        update sessile.sessions
                        set created_at = created_at - of.age, authenticated_at = authenticated_at - of.age,
                            last_seen_at = last_seen_at - of.age, absolute_expires_at = absolute_expires_at - of.age,
                            valid_until = valid_until - of.age, expires_at = expires_at - of.age,
                            replaced_at = replaced_at - of.age, pending_since = pending_since - of.age,
                            pending_until = pending_until - of.age
                        from (select $3::bigint * interval '1 millisecond') as of (age)
                        where id = $1 and realm = $2
                        returning id
                    )
                    select id from aged where (select pg_notify('sessile', 'session ' || id)::text) is not null
                    "#,
                    id.as_uuid(),
                    realm.as_str(),
                    by.num_milliseconds(),
                ))
            })
            .await?;
        Ok(aged.is_some())
    }

    async fn watch(&self, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
        watch::watch(self.pool(), on).await
    }

    fn system_name(&self) -> &'static str {
        "postgresql"
    }
}
