//! Loads from tables of several sizes, warm.

use std::sync::Arc;

use anyhow::Result;
use harness::{Arrivals, Op, Plan, Sample, drive};

use super::On;
use crate::{
    cell::median,
    figure::{Figure, row},
    fill::{self, Seen},
    matrix::CONCURRENCIES,
    peers::Sessile,
    postgres::Database,
    stores,
};

/// Loaded again and again, so that the depth of the index is measured and not the disk.
const WORKING_SET: usize = 50_000;

struct Table {
    database: Database,
    peer: Arc<Sessile>,
    rows: usize,
}

pub(super) async fn run(on: &On<'_>) -> Result<Vec<Figure>> {
    let mut tables = Vec::new();
    for &rows in on.scale.table_sizes {
        on.progress.doing(format!("rows: filling {rows}"));
        let database = on.filled(&format!("rows_{rows}"), rows, Seen::Now).await?;
        let ids = fill::ids(&database.pool, WORKING_SET).await?;
        let store = stores::open(&database.url).await?;
        for chunk in ids.chunks(1_000) {
            store.load(chunk).await?;
        }
        tables.push(Table { peer: Arc::new(Sessile::new(store, ids).await?), database, rows });
    }
    on.postgres.checkpoint().await?;

    let mut figures = Vec::new();
    for concurrency in [CONCURRENCIES[0], CONCURRENCIES[2]] {
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); tables.len()];
        for round in 0..on.scale.rounds {
            for (table, samples) in tables.iter().zip(&mut samples) {
                on.progress.doing(format!("rows: {} of them, {concurrency} at once", table.rows));
                samples.push(drive(&table.peer, &plan(on, concurrency, round)).await?);
            }
        }
        for (table, samples) in tables.iter().zip(samples) {
            let over = |value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
            figures.extend(row(
                "rows",
                format!("{} rows, {concurrency} at once", table.rows),
                [
                    ("loads/s", over(|s| s.ops_per_s)),
                    ("p50, µs", over(|s| s.p50_us)),
                    ("p99, µs", over(|s| s.p99_us)),
                ],
            ));
        }
    }
    for table in tables {
        table.database.drop().await?;
    }
    Ok(figures)
}

fn plan(on: &On<'_>, concurrency: usize, round: usize) -> Plan {
    Plan {
        op: Op::Load,
        arrivals: Arrivals::AtOnce(concurrency),
        warm_up: on.scale.warm_up,
        measured: on.scale.measured,
        seed: round as u64,
        server: on.postgres.cpu,
    }
}
