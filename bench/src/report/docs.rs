//! Fills the tables of a Markdown page from a run, so that no figure in it is typed by hand.
//!
//! A table stands between `<!-- table: NAME -->` and `<!-- end -->`, and is replaced as a whole.

use std::{fmt::Write, path::Path};

use anyhow::{Context, Result, bail};
use harness::Op;

use super::{Table, number, thousands};
use crate::{
    cell::Cell,
    figure::Figures,
    peers::{Backend, Name},
};

pub(crate) fn fill(path: &Path, cells: &[Cell], figures: Option<&Figures>) -> Result<()> {
    let text = std::fs::read_to_string(path).context(path.display().to_string())?;
    std::fs::write(path, filled(&text, |name| table(name, cells, figures))?)?;
    Ok(())
}

fn filled(page: &str, table: impl Fn(&str) -> Result<Option<String>>) -> Result<String> {
    const BEGIN: &str = "<!-- table: ";
    const END: &str = "<!-- end -->";

    let (mut text, mut rest) = (String::new(), page);
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(" -->").context("a table's name has no end")?;
        let (old, after) =
            after.split_once(END).with_context(|| format!("the table {name} has no end"))?;
        // A table that was not measured this time stays as it was.
        let new = table(name)?.map_or_else(|| old.to_owned(), |table| format!("\n{table}"));
        write!(text, "{before}{BEGIN}{name} -->{new}{END}")?;
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// By name: `machine`; `BACKEND OP`; `BACKEND latency OP`; `cpu`; or a measure.
fn table(name: &str, cells: &[Cell], figures: Option<&Figures>) -> Result<Option<String>> {
    let words: Vec<&str> = name.split(' ').collect();
    let tables = Table::all(cells);
    let find = |backend: &str, op: &str| {
        tables.iter().find(|table| table.backend.text() == backend && table.op.name() == op)
    };
    Ok(match words[..] {
        // A run of single measurements has no comparison.
        ["machine" | "cpu"] if cells.is_empty() => None,
        ["machine"] => figures.map(machine),
        ["cpu"] => Some(processor_time(&tables)),
        [backend @ ("postgres" | "sqlite"), op] => find(backend, op).map(ratios),
        [backend, "latency", op] => find(backend, op).map(latencies),
        [measure] => figures.and_then(|figures| pivot(figures, measure)),
        _ => bail!("no table is called {name}"),
    })
}

fn machine(figures: &Figures) -> String {
    let machine = &figures.machine;
    format!(
        "{} processors ({}), Postgres {}, a {} run: medians of {} rounds of {} s a cell.\n",
        machine.processors,
        machine.processor,
        machine.postgres,
        machine.scale,
        machine.rounds,
        machine.seconds
    )
}

fn ratios(table: &Table<'_>) -> String {
    by_store(table, |cell| match cell.ratio_to_tower {
        Some(ratio) if cell.store != Name::TowerSessions => {
            format!("{ratio:.2} (±{:.0} %)", 50.0 * cell.spread)
        }
        _ => format!("{}/s (±{:.0} %)", thousands(cell.ops_per_s), 50.0 * cell.spread),
    })
}

fn latencies(table: &Table<'_>) -> String {
    by_store(table, |cell| format!("{} / {}", number(cell.p50_us), number(cell.p99_us)))
}

fn by_store(table: &Table<'_>, entry: impl Fn(&Cell) -> String) -> String {
    let header = table.concurrencies.iter().map(|concurrency| format!("c{concurrency}"));
    let rows = table.stores.iter().map(|&store| {
        let entries = table
            .concurrencies
            .iter()
            .map(|&concurrency| table.cell(store, concurrency).map_or_else(String::new, &entry));
        std::iter::once(store.text().to_owned()).chain(entries).collect()
    });
    markdown(std::iter::once(table.op.name().to_owned()).chain(header).collect(), rows)
}

/// Of a load at the highest concurrency.
fn processor_time(tables: &[Table<'_>]) -> String {
    let rows = tables.iter().filter(|table| table.op == Op::Load).flat_map(|table| {
        let concurrency = table.concurrencies.last().copied().unwrap_or_default();
        let row = move |store: &Name| {
            let cell = table.cell(*store, concurrency)?;
            let server = match (table.backend, cell.server_cpu_us) {
                (Backend::Sqlite, _) | (_, None) => String::new(),
                (_, Some(server)) => number(server),
            };
            let sum = number(cell.client_cpu_us + cell.server_cpu_us.unwrap_or(0.0));
            Some(vec![
                format!("{store}, {}", table.backend),
                number(cell.client_cpu_us),
                server,
                sum,
            ])
        };
        table.stores.iter().filter_map(row).collect::<Vec<_>>()
    });
    markdown(
        ["store", "client, µs", "server, µs", "together, µs"].map(str::to_owned).to_vec(),
        rows,
    )
}

/// One row for each case, one column for each figure.
fn pivot(figures: &Figures, measure: &str) -> Option<String> {
    let figures: Vec<_> =
        figures.figures.iter().filter(|figure| figure.measure == measure).collect();
    let unique = |texts: &mut dyn Iterator<Item = &str>| {
        texts.fold(Vec::new(), |mut seen: Vec<String>, text| {
            if !seen.iter().any(|other| other == text) {
                seen.push(text.to_owned());
            }
            seen
        })
    };
    let cases = unique(&mut figures.iter().map(|figure| figure.case.as_str()));
    let columns = unique(&mut figures.iter().map(|figure| figure.what.as_str()));
    let rows = cases.iter().map(|case| {
        let entry = |column: &String| {
            let figure =
                figures.iter().find(|figure| figure.case == *case && figure.what == *column);
            figure.map_or_else(String::new, |figure| number(figure.value))
        };
        std::iter::once(case.clone()).chain(columns.iter().map(entry)).collect()
    });
    let header = std::iter::once(String::new()).chain(columns.iter().cloned()).collect();
    (!figures.is_empty()).then(|| markdown(header, rows))
}

fn markdown(header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let rule = header
        .iter()
        .enumerate()
        .map(|(i, _)| if i == 0 { "---" } else { "--:" }.to_owned())
        .collect();
    let lines = [header, rule].into_iter().chain(rows);
    lines.map(|line: Vec<String>| format!("| {} |\n", line.join(" | "))).collect()
}

#[cfg(test)]
mod tests {
    use super::{filled, table};

    #[test]
    fn tables_are_replaced_and_the_rest_stays() {
        let page = "a\n<!-- table: x -->\nold\n<!-- end -->\nb <!-- table: y -->kept<!-- end --> c";
        let table = |name: &str| Ok((name == "x").then(|| "new\n".to_owned()));
        let once = filled(page, table).unwrap();
        assert_eq!(
            once,
            "a\n<!-- table: x -->\nnew\n<!-- end -->\nb <!-- table: y -->kept<!-- end --> c"
        );
        assert_eq!(filled(&once, table).unwrap(), once);
        assert!(filled("<!-- table: x -->", table).is_err());
    }

    #[test]
    fn a_run_without_the_comparison_leaves_its_tables_as_they_were() {
        assert_eq!(table("cpu", &[], None).unwrap(), None);
    }
}
