//! The sessions at the beginning, written without the store, so that a million of them take only seconds.

use anyhow::Result;
use harness::{encode, values};
use sessile::{
    SessionId,
    store::{SecretHash, Timeouts},
};
use sha2::{Digest, Sha256};
use sqlx::{PgPool, SqlitePool};
use uuid::Uuid;

const WEEK: i32 = 7 * 86_400;

/// The secret of every session here. A load hashes it and compares, as a request does.
const SECRET: [u8; 32] = *b"the same for all of the sessions";

pub(crate) fn secret_hash() -> SecretHash {
    <[u8; 32]>::from(Sha256::digest(std::hint::black_box(SECRET))).into()
}

/// Long enough that no session ends during a measurement.
pub(crate) fn timeouts() -> Timeouts {
    Timeouts::new(WEEK.unsigned_abs(), 4 * WEEK.unsigned_abs())
}

/// When the sessions were last seen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    /// All of them now.
    Now,
    /// At any time within a quarter of the idle timeout, so that their ends are at different times.
    Spread,
    /// Half of them so long ago that they have ended, in no order.
    HalfEnded,
}

/// Fills the empty table `sessile.sessions`. Three of four sessions belong to a user.
pub(crate) async fn postgres(pool: &PgPool, sessions: usize, seen: Seen) -> Result<()> {
    let seconds_ago = match seen {
        Seen::Now => "0",
        Seen::Spread => "$4 / 4.0 * random()",
        Seen::HalfEnded => "(case when random() < 0.5 then 3 else 0 end) * $4",
    };
    let statement = format!(
        "insert into sessile.sessions (id, revision, created_at, authenticated_at, last_seen_at,
             absolute_expires_at, valid_until, expires_at, idle_timeout, secret_hash, user_id, data)
         select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint - $1 + i), 12, '0')
                 || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid,
             0, seen, case when i % 4 > 0 then seen end, seen,
             seen + make_interval(secs => 4 * $4), seen + idle,
             date_bin(idle / 2, seen + idle, timestamptz 'epoch') + idle / 2,
             $4, $2, case when i % 4 > 0 then 'user-' || i / 2 end, $3::text::json
         from (
             select i, now() - make_interval(secs => {seconds_ago}) as seen,
                 make_interval(secs => $4) as idle
             from generate_series(1, $1) as i
         ) as new"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(i64::try_from(sessions)?)
        .bind(secret_hash().as_bytes())
        .bind(encode(&values())?)
        .bind(WEEK)
        .execute(pool)
        .await?;
    sqlx::raw_sql("vacuum analyze sessile.sessions").execute(pool).await?;
    Ok(())
}

/// The ids of live sessions: at most this many, in no order, from all parts of the table.
pub(crate) async fn ids(pool: &PgPool, at_most: usize) -> Result<Vec<SessionId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select id from sessile.sessions
         where now() < valid_until
             and random() < 3.0 * $1
                 / (select reltuples from pg_class where oid = 'sessile.sessions'::regclass)
         order by random() limit $1",
    )
    .bind(i64::try_from(at_most)?)
    .fetch_all(pool)
    .await?;
    anyhow::ensure!(!ids.is_empty(), "the table is empty");
    Ok(ids.into_iter().map(SessionId::from).collect())
}

/// The same for SQLite.
pub(crate) async fn sqlite(pool: &SqlitePool, sessions: usize) -> Result<Vec<SessionId>> {
    sqlx::query(
        "with recursive numbers (i) as (select 1 union all select i + 1 from numbers where i < ?1)
         insert into sessions (id, revision, created_at, authenticated_at, last_seen_at,
             absolute_expires_at, valid_until, expires_at, idle_timeout, secret_hash, user_id, data)
         select unhex(printf('%012x', now - ?1 + i) || '7' || substr(hex(randomblob(2)), 2) || '8'
                 || substr(hex(randomblob(8)), 2)),
             0, now, iif(i % 4 > 0, now, null), now, now + 4000 * ?4, now + 1000 * ?4,
             ((now + 1000 * ?4) / (500 * ?4) + 1) * (500 * ?4), ?4, ?2,
             iif(i % 4 > 0, 'user-' || (i / 2), null), ?3
         from numbers, (select cast(round(unixepoch('subsec') * 1000) as integer) as now)",
    )
    .bind(i64::try_from(sessions)?)
    .bind(secret_hash().as_bytes().to_vec())
    .bind(encode(&values())?)
    .bind(WEEK)
    .execute(pool)
    .await?;
    sqlx::raw_sql("analyze; pragma wal_checkpoint(truncate)").execute(pool).await?;
    let ids: Vec<Uuid> = sqlx::query_scalar("select id from sessions").fetch_all(pool).await?;
    Ok(ids.into_iter().map(SessionId::from).collect())
}
