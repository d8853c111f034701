//! Sessions in Postgres 14 or newer, in a schema of their own.
//!
//! The functions of this module end sessions inside the application's own transaction, so that
//! "disable the account and end its sessions" commits or rolls back as one.

mod log_in;
mod migrate;
mod moment;
mod revoke;
mod row;
mod sweep;
mod watch;

use std::ops::Range;

use async_trait::async_trait;
use sqlx::{Connection, PgPool, Postgres, query, query_as};
use uuid::Uuid;

pub use self::revoke::{revoke, revoke_all, revoke_others, revoke_user};
use self::{
    moment::Moment,
    row::{InfoRow, Row},
};
use super::{
    End, Invalidation, LogIn, LogInOutcome, NewSession, Page, Reauthentication, Record, Renewal,
    Revocation, Save, Scope, SessionInfo, Store, Survey, Swept, Touch,
    connections::{Connections, Lease},
    failure,
    whole::to_its_end,
};
use crate::{error::Result, token::SessionId};

/// Sessions in a Postgres database.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    connections: Connections<Postgres>,
}

impl PostgresStore {
    /// On the application's own pool, with its settings and its limit of connections. Of ten
    /// connections, sessions keep up to two at hand for a second after their last use.
    pub fn new(pool: PgPool) -> Self {
        Self { connections: Connections::shared(pool) }
    }

    /// On a pool that nothing else uses.
    pub fn dedicated(pool: PgPool) -> Self {
        Self { connections: Connections::dedicated(pool) }
    }

    /// The pool.
    pub fn pool(&self) -> &PgPool {
        self.connections.pool()
    }

    /// Runs one statement, and again where it lost a deadlock or a serialization check.
    async fn once<T, F>(&self, run: impl Fn(Lease<Postgres>) -> F) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        failure::again_if_rolled_back(|| async { run(self.connections.take().await?).await }).await
    }

    /// Runs what may safely run twice, and runs it again if the connection turned out to be dead: a
    /// pool that does not ping every connection it hands out learns of a restarted server that way.
    async fn twice<T, F>(&self, run: impl Fn(Lease<Postgres>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        match self.once(&run).await {
            Err(error) if failure::is_dead_connection(&error) => {
                self.drop_dead_connections().await;
                Ok(self.once(&run).await?)
            }
            result => Ok(result?),
        }
    }

    async fn drop_dead_connections(&self) {
        self.connections.give_back();
        while let Some(mut connection) = self.pool().try_acquire() {
            if connection.ping().await.is_ok() {
                break;
            }
            connection.close_on_drop();
        }
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn load(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        let ids: Vec<Uuid> = ids.iter().map(SessionId::as_uuid).collect();
        let rows = self
            .twice(|connection| {
                connection.all(query_as!(
                    Row,
                    r#"
                    select id, secret_hash, user_id, data as "data: _", revision, created_at, authenticated_at,
                        last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, now() as "now!"
                    from sessile.sessions
                    where id = any((select $1::uuid[])::uuid[]) and now() < valid_until
                    "#,
                    &ids,
                ))
            })
            .await?;
        Ok(rows.into_iter().map(Record::try_from).collect::<Result<_, sqlx::Error>>()?)
    }

    async fn create(&self, sessions: &[NewSession]) -> Result<Vec<Record>> {
        let ids: Vec<Uuid> = sessions.iter().map(|s| s.id.as_uuid()).collect();
        let hashes: Vec<Vec<u8>> =
            sessions.iter().map(|s| s.secret_hash.as_bytes().to_vec()).collect();
        let data: Vec<String> = sessions.iter().map(|s| s.data.clone()).collect();
        let idle: Vec<i32> = sessions.iter().map(|s| row::seconds(s.timeouts.idle)).collect();
        let absolute: Vec<i32> =
            sessions.iter().map(|s| row::seconds(s.timeouts.absolute)).collect();
        let ips: Vec<Option<String>> = sessions.iter().map(|s| row::address(&s.client)).collect();
        let agents: Vec<Option<String>> =
            sessions.iter().map(|s| s.client.user_agent.clone()).collect();
        let rows = self
            .once(|connection| {
                connection.all(query_as!(
                    Row,
                    r#"
                    insert into sessile.sessions (id, secret_hash, data, revision, created_at, last_seen_at, idle_timeout,
                        absolute_expires_at, valid_until, expires_at, ip, user_agent)
                    select id, secret_hash, data::json, 0, now(), now(), idle,
                        now() + make_interval(secs => absolute),
                        now() + make_interval(secs => idle),
                        date_bin(make_interval(secs => idle / 2.0), now() + make_interval(secs => idle), timestamptz 'epoch')
                            + make_interval(secs => idle / 2.0),
                        ip::inet, user_agent
                    from unnest((select $1::uuid[]), $2::bytea[], $3::text[], $4::int[], $5::int[], $6::text[], $7::text[])
                        as new (id, secret_hash, data, idle, absolute, ip, user_agent)
                    returning id, secret_hash, user_id, data as "data: _", revision, created_at, authenticated_at,
                        last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, now() as "now!"
                    "#,
                    &ids,
                    &hashes,
                    &data,
                    &idle,
                    &absolute,
                    &ips as &[Option<String>],
                    &agents as &[Option<String>],
                ))
            })
            .await?;
        Ok(rows.into_iter().map(Record::try_from).collect::<Result<_, sqlx::Error>>()?)
    }

    async fn save(&self, saves: &[Save]) -> Result<Vec<SessionId>> {
        let ids: Vec<Uuid> = saves.iter().map(|s| s.id.as_uuid()).collect();
        let revisions: Vec<i64> = saves.iter().map(|s| s.revision).collect();
        let data: Vec<String> = saves.iter().map(|s| s.data.clone()).collect();
        let seen: Vec<Moment> = saves.iter().map(|s| Moment(s.lifetime.last_seen_at)).collect();
        let valid: Vec<Moment> = saves.iter().map(|s| Moment(s.lifetime.valid_until)).collect();
        let expires: Vec<Moment> = saves.iter().map(|s| Moment(s.lifetime.expires_at)).collect();
        let written = self
            .once(|connection| {
                connection.all(query!(
                    r#"
                    update sessile.sessions as s
                    set data = new.data::json, revision = new.revision + 1,
                        last_seen_at = greatest(s.last_seen_at, new.seen),
                        valid_until = greatest(s.valid_until, new.valid),
                        expires_at = greatest(s.expires_at, new.expires)
                    from unnest((select $1::uuid[]), $2::bigint[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
                        as new (id, revision, data, seen, valid, expires)
                    where s.id = new.id and s.revision = new.revision and now() < s.valid_until
                    returning s.id
                    "#,
                    &ids,
                    &revisions,
                    &data,
                    &seen,
                    &valid,
                    &expires,
                ))
            })
            .await?;
        Ok(written.into_iter().map(|row| row.id.into()).collect())
    }

    async fn touch(&self, touches: &[Touch]) -> Result<()> {
        let ids: Vec<Uuid> = touches.iter().map(|t| t.id.as_uuid()).collect();
        let seen: Vec<Moment> = touches.iter().map(|t| Moment(t.lifetime.last_seen_at)).collect();
        let valid: Vec<Moment> = touches.iter().map(|t| Moment(t.lifetime.valid_until)).collect();
        let expires: Vec<Moment> = touches.iter().map(|t| Moment(t.lifetime.expires_at)).collect();
        let idle: Vec<i32> =
            touches.iter().map(|t| row::seconds(t.lifetime.idle_timeout)).collect();
        let absolute: Vec<Moment> =
            touches.iter().map(|t| Moment(t.lifetime.absolute_expires_at)).collect();
        self.twice(|connection| {
            connection.execute(query!(
                r#"
                update sessile.sessions as s
                set last_seen_at = new.seen, valid_until = new.valid,
                    expires_at = greatest(s.expires_at, new.expires)
                from unnest((select $1::uuid[]), $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::int[], $6::timestamptz[])
                    as new (id, seen, valid, expires, idle, absolute)
                where s.id = new.id and s.last_seen_at < new.seen and s.idle_timeout = new.idle
                    and s.absolute_expires_at = new.absolute and now() < s.valid_until
                "#,
                &ids,
                &seen,
                &valid,
                &expires,
                &idle,
                &absolute,
            ))
        })
        .await?;
        Ok(())
    }

    async fn renew(&self, renewal: &Renewal) -> Result<bool> {
        let renewed = self
            .once(|connection| {
                connection.optional(query!(
                    r#"
                    with renewed as (
                        update sessile.sessions
                        set secret_hash = $3, ip = coalesce($4::text::inet, ip), user_agent = coalesce($5, user_agent)
                        where id = $1 and secret_hash = $2 and now() < valid_until
                        returning id
                    )
                    select id from renewed, pg_notify('sessile', 'session ' || id)
                    "#,
                    renewal.id.as_uuid(),
                    renewal.old_hash.as_bytes(),
                    renewal.new_hash.as_bytes(),
                    row::address(&renewal.client),
                    renewal.client.user_agent,
                ))
            })
            .await?;
        Ok(renewed.is_some())
    }

    async fn reauthenticate(&self, to: &Reauthentication) -> Result<Option<Record>> {
        let (renewal, lifetime) = (&to.renewal, &to.lifetime);
        let row = self
            .once(|connection| {
                connection.optional(query_as!(
                    Row,
                    r#"
                    with renewed as (
                        update sessile.sessions
                        set secret_hash = $3, revision = revision + 1, authenticated_at = $5, last_seen_at = $5,
                            idle_timeout = $6, absolute_expires_at = $7, valid_until = $8, expires_at = $9,
                            ip = coalesce($10::text::inet, ip), user_agent = coalesce($11, user_agent)
                        where id = $1 and secret_hash = $2 and user_id = $4 and now() < valid_until
                        returning *
                    )
                    select id, secret_hash, user_id, data as "data: _", revision, created_at, authenticated_at,
                        last_seen_at, idle_timeout, absolute_expires_at, valid_until, expires_at, now() as "now!"
                    from renewed, pg_notify('sessile', 'session ' || id)
                    "#,
                    renewal.id.as_uuid(),
                    renewal.old_hash.as_bytes(),
                    renewal.new_hash.as_bytes(),
                    to.user_id,
                    Moment(lifetime.last_seen_at),
                    row::seconds(lifetime.idle_timeout),
                    Moment(lifetime.absolute_expires_at),
                    Moment(lifetime.valid_until),
                    Moment(lifetime.expires_at),
                    row::address(&renewal.client),
                    renewal.client.user_agent,
                ))
            })
            .await?;
        Ok(row.map(Record::try_from).transpose()?)
    }

    async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome> {
        let (connections, log_in) = (self.connections.clone(), log_in.clone());
        to_its_end(async move { log_in::log_in(&connections, &log_in).await }).await
    }

    async fn end(&self, ends: &[End]) -> Result<Vec<SessionId>> {
        let (store, ends) = (self.clone(), ends.to_vec());
        to_its_end(async move {
            let end = async |mut connection: Lease<Postgres>| {
                let ended = revoke::end(&mut connection, &ends).await?;
                connection.keep();
                Ok(ended)
            };
            Ok(store.once(end).await?)
        })
        .await
    }

    async fn revoke(&self, scope: &Scope) -> Result<Revocation> {
        let (connections, scope) = (self.connections.clone(), scope.clone());
        to_its_end(async move { revoke::in_own_transaction(&connections, &scope).await }).await
    }

    async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>> {
        let rows = self
            .twice(|connection| {
                connection.all(query_as!(
                    InfoRow,
                    r#"
                    select id, user_id, created_at, authenticated_at, last_seen_at, valid_until, host(ip) as ip, user_agent
                    from sessile.sessions
                    where user_id = $1 and ($2::uuid is null or id < $2) and now() < valid_until
                    order by id desc
                    limit $3
                    "#,
                    page.user_id,
                    page.before.map(|id| id.as_uuid()),
                    i64::from(page.limit),
                ))
            })
            .await?;
        Ok(rows.into_iter().map(SessionInfo::from).collect())
    }

    async fn find(&self, id: SessionId) -> Result<Option<SessionInfo>> {
        let row = self
            .twice(|connection| {
                connection.optional(query_as!(
                    InfoRow,
                    r#"
                    select id, user_id, created_at, authenticated_at, last_seen_at, valid_until, host(ip) as ip, user_agent
                    from sessile.sessions
                    where id = $1 and now() < valid_until
                    "#,
                    id.as_uuid(),
                ))
            })
            .await?;
        Ok(row.map(SessionInfo::from))
    }

    async fn count(&self, user_id: Option<&str>) -> Result<u64> {
        let found = self
            .twice(|connection| {
                connection.one(query!(
                    r#"
                    select count(*) as "count!"
                    from sessile.sessions
                    where ($1::text is null or user_id = $1) and now() < valid_until
                    "#,
                    user_id,
                ))
            })
            .await?;
        Ok(found.count.unsigned_abs())
    }

    async fn sweep(&self, limit: u32) -> Result<Swept> {
        sweep::sweep(self, limit).await
    }

    async fn survey(&self) -> Result<Option<Survey>> {
        sweep::survey(self).await
    }

    async fn sweep_pages(&self, pages: Range<u32>) -> Result<Swept> {
        sweep::sweep_pages(self, pages).await
    }

    async fn migrate(&self) -> Result<()> {
        self.connections.give_back();
        migrate::migrate(self.pool()).await
    }

    async fn watch(&self, on: &(dyn Fn(Invalidation) + Send + Sync)) -> Result<()> {
        self.connections.give_back();
        watch::watch(self.pool(), on).await
    }
}
