//! Ten touches of each session, a twentieth of the idle timeout apart.

use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::TimeDelta;
use sessile::store::{Holder, Record, Store, Touch, postgres::PostgresStore};
use sqlx::{PgPool, Row};

use super::On;
use crate::{
    figure::{Figure, row},
    fill::{self, Seen},
    postgres::Database,
};

const TOUCHES: i32 = 10;
/// About as many touches as share a statement in the background.
const BATCH: usize = 200;

pub(super) async fn run(on: &On<'_>) -> Result<Vec<Figure>> {
    let database = on.filled("touch", on.scale.touched, Seen::Spread).await?;
    let pool = PgPool::connect(&database.url).await?;
    let store = PostgresStore::dedicated(pool.clone());
    let ids = fill::ids(&database.pool, on.scale.touched).await?;
    let mut records = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(1_000) {
        records.extend(store.load(chunk).await?);
    }
    on.postgres.checkpoint().await?;

    let (before, begun) = (Sizes::of(&database).await?, Instant::now());
    let mut random = fastrand::Rng::with_seed(1);
    let mut left_alone = 0;
    for _ in 0..TOUCHES {
        random.shuffle(&mut records);
        for batch in records.chunks_mut(BATCH) {
            batch.sort_unstable_by_key(|record| record.id);
            let touches: Vec<Touch> =
                batch.iter_mut().map(|record| touch(record, &mut left_alone)).collect();
            store.touch(&touches).await?;
        }
    }
    let elapsed = begun.elapsed();
    // A backend reports its counts at its end, at the latest.
    pool.close().await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let after = Sizes::of(&database).await?;
    let touches = records.len() as f64 * f64::from(TOUCHES);
    let megabytes = |bytes: f64| bytes / 1e6;
    let figures = row(
        "touch",
        format!("{} sessions, {TOUCHES} touches each", records.len()),
        [
            (
                "heap-only, %",
                100.0 * (after.heap_only - before.heap_only) / (after.updated - before.updated),
            ),
            ("at most, %", 100.0 * f64::from(left_alone) / touches),
            ("touches/s", touches / elapsed.as_secs_f64()),
            ("WAL a touch, bytes", (after.wal - before.wal) / touches),
            ("expiry index before, MB", megabytes(before.expiry_index)),
            ("expiry index after, MB", megabytes(after.expiry_index)),
            ("user index before, MB", megabytes(before.user_index)),
            ("user index after, MB", megabytes(after.user_index)),
        ],
    );
    database.drop().await?;
    Ok(figures)
}

fn touch(record: &mut Record, left_alone: &mut u32) -> Touch {
    let step = TimeDelta::seconds(i64::from(record.lifetime.idle_timeout)) / 20;
    let before = record.lifetime;
    record.lifetime = before.seen(before.last_seen_at + step);
    *left_alone += u32::from(record.lifetime.expires_at == before.expires_at);
    let holder = Holder { id: record.id, secret_hash: record.secret_hash };
    Touch { holder, lifetime: record.lifetime, ip: None, settles: false }
}

struct Sizes {
    updated: f64,
    heap_only: f64,
    wal: f64,
    expiry_index: f64,
    user_index: f64,
}

impl Sizes {
    async fn of(database: &Database) -> Result<Self> {
        let row = sqlx::query(
            "select n_tup_upd::float8, n_tup_hot_upd::float8,
                 pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8,
                 pg_relation_size('sessile.sessions_expires_at_idx')::float8,
                 pg_relation_size('sessile.sessions_user_id_idx')::float8
             from pg_stat_all_tables where relid = 'sessile.sessions'::regclass",
        )
        .fetch_one(&database.pool)
        .await?;
        Ok(Self {
            updated: row.try_get(0)?,
            heap_only: row.try_get(1)?,
            wal: row.try_get(2)?,
            expiry_index: row.try_get(3)?,
            user_index: row.try_get(4)?,
        })
    }
}
