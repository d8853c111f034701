//! The lock that `sqlx migrate run` and sqlx's `Migrator` take, so that only one migrator runs at a time.
//! sqlx's lock belongs to the database session, and the lock here ends with the transaction. A lock of a database
//! session would stay on a connection of a pool or a pooler, and no migrator could run any more.

use sqlx::{PgConnection, Row, query, query_scalar};

use crate::error::{Error, ErrorKind, Result};

/// sqlx's key for a database. The constants are sqlx's own, and so is the checksum, CRC-32.
pub(super) fn key(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(crc32(database.as_bytes()))
}

pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shift))
}

/// Takes the lock until the transaction ends, if the lock is free. Returns whether it was free.
pub(super) async fn take(tx: &mut PgConnection, key: i64) -> Result<bool, sqlx::Error> {
    let take = query_scalar("select pg_try_advisory_xact_lock($1)").bind(key).persistent(false);
    take.fetch_one(tx).await
}

/// The error that names the holder of the lock.
pub(super) async fn is_held(tx: &mut PgConnection, key: i64) -> Error {
    let holder = "
        select l.pid, coalesce(a.usename::text, '') as role, coalesce(a.application_name, '') as application
        from pg_locks l left join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
            and l.database = (select oid from pg_database where datname = current_database())
            and l.classid::bigint << 32 | l.objid::bigint = $1
        limit 1";
    let found = query(holder).bind(key).persistent(false).fetch_optional(tx).await;
    let who = |row: &sqlx::postgres::PgRow| {
        let pid: i32 = row.try_get("pid")?;
        let role: String = row.try_get("role")?;
        let application: String = row.try_get("application")?;
        let who = format!("backend {pid} (role {role:?}, application_name {application:?})");
        Ok::<_, sqlx::Error>((who, pid.to_string()))
    };
    let (who, pid) = match &found {
        Ok(Some(row)) => who(row).ok(),
        _ => None,
    }
    .unwrap_or_else(|| ("another connection".to_owned(), "…".to_owned()));
    let message = format!(
        "the lock under which migrations run is held by {who}: a node that migrates, `sqlx migrate run`, or a connection that one of them gave back to a pool or a pooler with the lock on it. Wait for the former; end the latter: select pg_terminate_backend({pid})"
    );
    Error::new(ErrorKind::Schema, message).transient()
}
