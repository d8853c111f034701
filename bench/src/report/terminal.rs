//! The end of a run: ratios to tower-sessions, and the spread between the rounds.

use std::fmt::Write;

use super::{Table, thousands};
use crate::{cell::Cell, figure::Figure, peers::Name};

pub(crate) fn cells(cells: &[Cell]) -> String {
    let mut text = String::new();
    for table in Table::all(cells) {
        let title = format!("{} {}", table.backend, table.op);
        write!(text, "\n{title:20}").ok();
        for concurrency in &table.concurrencies {
            write!(text, "{:>16}", format!("c{concurrency}")).ok();
        }
        text.push('\n');
        for &store in &table.stores {
            write!(text, "  {store:18}").ok();
            for &concurrency in &table.concurrencies {
                let cell = table.cell(store, concurrency);
                write!(text, "{:>16}", cell.map_or_else(String::new, entry)).ok();
            }
            text.push('\n');
        }
    }
    if !text.is_empty() {
        text.push_str(
            "\nOperations/s of tower-sessions, and everything else as a multiple of it. In parentheses\n\
             how far the rounds were apart, as a part of their median: differences of less than\n\
             that mean nothing.\n",
        );
    }
    text
}

fn entry(cell: &Cell) -> String {
    let value = match cell.ratio_to_tower {
        Some(ratio) if cell.store != Name::TowerSessions => format!("{ratio:.2}"),
        _ => thousands(cell.ops_per_s),
    };
    format!("{value} ({:.0} %)", 100.0 * cell.spread)
}

pub(crate) fn figures(figures: &[Figure]) -> String {
    let mut text = String::new();
    let mut last = "";
    for figure in figures {
        if figure.measure != last {
            last = &figure.measure;
            write!(text, "\n{last}\n").ok();
        }
        writeln!(
            text,
            "  {:52} {:34} {:>12}",
            figure.case,
            figure.what,
            super::number(figure.value)
        )
        .ok();
    }
    text
}
