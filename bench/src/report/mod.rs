//! The presentation of the results: a table on the terminal, charts, and the tables of the documentation.

pub(crate) mod charts;
pub(crate) mod docs;
mod svg;
pub(crate) mod terminal;

use crate::{
    cell::Cell,
    peers::{Backend, Name},
};
use harness::Op;

/// The cells of one backend and operation, by store and concurrency.
pub(crate) struct Table<'a> {
    pub(crate) backend: Backend,
    pub(crate) op: Op,
    pub(crate) concurrencies: Vec<usize>,
    pub(crate) stores: Vec<Name>,
    cells: Vec<&'a Cell>,
}

impl<'a> Table<'a> {
    /// All tables, in their order.
    pub(crate) fn all(cells: &'a [Cell]) -> Vec<Self> {
        let of = |backend, op| {
            let cells: Vec<&Cell> =
                cells.iter().filter(|cell| cell.backend == backend && cell.op == op).collect();
            let mut concurrencies: Vec<usize> = cells.iter().map(|cell| cell.concurrency).collect();
            concurrencies.sort_unstable();
            concurrencies.dedup();
            let mut stores: Vec<Name> = cells.iter().map(|cell| cell.store).collect();
            stores.sort_unstable();
            stores.dedup();
            Self { backend, op, concurrencies, stores, cells }
        };
        let pairs = Backend::ALL.into_iter().flat_map(|backend| Op::ALL.map(|op| (backend, op)));
        pairs.map(|(backend, op)| of(backend, op)).filter(|table| !table.cells.is_empty()).collect()
    }

    pub(crate) fn cell(&self, store: Name, concurrency: usize) -> Option<&'a Cell> {
        self.cells
            .iter()
            .copied()
            .find(|cell| cell.store == store && cell.concurrency == concurrency)
    }
}

/// With a comma between thousands.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// With only as many digits as are useful.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        x if x >= 100.0 => thousands(value),
        x if x >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let numbers = [0.123, 9.876, 98.76, 987.6, 9_876.0, 1_234_567.0].map(number);
        assert_eq!(numbers, ["0.12", "9.88", "98.8", "988", "9,876", "1,234,567"]);
    }
}
