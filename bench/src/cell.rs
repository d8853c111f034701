//! The results of the comparison: one cell for each store, operation and concurrency.

use std::path::Path;

use anyhow::{Context, Result};
use harness::{Op, Sample};
use serde::{Deserialize, Serialize};

use crate::peers::{Backend, Name};

/// Medians over the rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) backend: Backend,
    pub(crate) op: Op,
    pub(crate) concurrency: usize,
    pub(crate) store: Name,
    pub(crate) ops_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// An operation's processor time in the client, which for SQLite is all of it.
    pub(crate) client_cpu_us: f64,
    /// The same in the database's processes; null if they are not on this machine.
    pub(crate) server_cpu_us: Option<f64>,
    /// Operations a second, as a multiple of tower-sessions' in the same run; null if tower-sessions did not
    /// run.
    pub(crate) ratio_to_tower: Option<f64>,
    /// The spread of `ops_per_s` over the rounds: (largest − smallest) / median.
    pub(crate) spread: f64,
}

impl Cell {
    pub(crate) fn of(
        backend: Backend,
        op: Op,
        concurrency: usize,
        store: Name,
        rounds: &[Sample],
    ) -> Self {
        let over = |value: fn(&Sample) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
        let ops = over(|sample| sample.ops_per_s);
        let servers: Option<Vec<f64>> = rounds.iter().map(|sample| sample.server_cpu_us).collect();
        let spread = spread(&ops);
        let ops_per_s = median(ops);
        Self {
            backend,
            op,
            concurrency,
            store,
            ops_per_s: rounded(ops_per_s),
            p50_us: rounded(median(over(|sample| sample.p50_us))),
            p99_us: rounded(median(over(|sample| sample.p99_us))),
            client_cpu_us: rounded(median(over(|sample| sample.client_cpu_us))),
            server_cpu_us: servers.map(|servers| rounded(median(servers))),
            ratio_to_tower: None,
            spread: rounded(spread),
        }
    }

    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        (self.backend, self.op, self.concurrency) == (other.backend, other.op, other.concurrency)
    }
}

/// Fills in the fields that compare a cell with another one.
pub(crate) fn relate(cells: &mut [Cell]) {
    let towers: Vec<Cell> =
        cells.iter().filter(|cell| cell.store == Name::TowerSessions).cloned().collect();
    for cell in cells {
        let tower = towers.iter().find(|tower| tower.is_beside(cell));
        cell.ratio_to_tower = tower.map(|tower| rounded(cell.ops_per_s / tower.ops_per_s));
    }
}

pub(crate) fn write(path: &Path, cells: &[Cell]) -> Result<()> {
    let lines: Vec<String> = cells.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    std::fs::write(path, format!("[\n{}\n]\n", lines.join(",\n")))
        .context(path.display().to_string())
}

pub(crate) fn read(path: &Path) -> Result<Vec<Cell>> {
    let text = std::fs::read_to_string(path).context(path.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// With an even number of values, the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// (Largest − smallest) / median.
pub(crate) fn spread(values: &[f64]) -> f64 {
    let (least, most) =
        values.iter().fold((f64::MAX, f64::MIN), |(least, most), &x| (least.min(x), most.max(x)));
    (most - least) / median(values.to_vec())
}

/// To four digits: no measurement here is more precise.
pub(crate) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10_f64.powi(value.abs().log10().floor() as i32 - 3);
    let rounded = (value / unit).round() * unit;
    // Removes the rest that the multiplication leaves after the fourth digit.
    format!("{rounded:.6}").parse().unwrap_or(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_rounding() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(rounded(123_456.0), 123_500.0);
        assert_eq!(rounded(0.123_456), 0.1235);
        assert_eq!(rounded(0.0), 0.0);
    }

    #[test]
    fn a_cell_is_compared_with_tower_beside_it() {
        let sample = |ops_per_s| Sample {
            ops: 1,
            ops_per_s,
            p50_us: 1.0,
            p99_us: 1.0,
            client_cpu_us: 1.0,
            server_cpu_us: None,
        };
        let cell = |concurrency, store, ops: [f64; 3]| {
            Cell::of(Backend::Postgres, Op::Load, concurrency, store, &ops.map(sample))
        };
        let mut cells = [
            cell(1, Name::TowerSessions, [10.0, 20.0, 30.0]),
            cell(1, Name::Sessile, [60.0, 60.0, 66.0]),
            cell(8, Name::Sessile, [60.0, 60.0, 66.0]),
        ];
        relate(&mut cells);
        assert_eq!(cells.each_ref().map(|cell| cell.ratio_to_tower), [Some(1.0), Some(3.0), None]);
        assert_eq!((cells[0].spread, cells[1].spread), (1.0, 0.1));
    }
}
