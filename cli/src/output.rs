//! Tables for people, JSON and CSV for programs.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use comfy_table::{ColumnConstraint, ContentArrangement, LineStyle, Row, Table, TableStyle, Width};
use serde::Serialize;

use crate::{failure::Result, text};

/// How to print rows.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct OutputArgs {
    /// Print one array of JSON objects.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values. A value that a spreadsheet would take for a formula gets a ' before it.
    #[arg(long)]
    csv: bool,
}

/// A column of a table for people.
pub(crate) struct Column<T> {
    pub(crate) title: &'static str,
    pub(crate) cell: Box<dyn Fn(&T) -> String>,
}

impl<T> Column<T> {
    pub(crate) fn new(title: &'static str, cell: impl Fn(&T) -> String + 'static) -> Self {
        Self { title, cell: Box::new(cell) }
    }
}

/// Prints rows page by page, in one format.
pub(crate) struct Printer<T> {
    output: OutputArgs,
    columns: Vec<Column<T>>,
    printed: u64,
}

impl OutputArgs {
    pub(crate) fn is_table(self) -> bool {
        !self.json && !self.csv
    }

    pub(crate) fn printer<T: Serialize>(self, columns: Vec<Column<T>>) -> Printer<T> {
        Printer { output: self, columns, printed: 0 }
    }

    /// Prints all rows at once.
    pub(crate) fn print<T: Serialize>(self, columns: Vec<Column<T>>, rows: &[T]) -> Result {
        let mut printer = self.printer(columns);
        printer.page(rows)?;
        printer.end()
    }
}

impl<T: Serialize> Printer<T> {
    pub(crate) fn printed(&self) -> u64 {
        self.printed
    }

    pub(crate) fn page(&mut self, rows: &[T]) -> Result {
        let mut out = io::stdout().lock();
        if self.output.json {
            for row in rows {
                let separator = if self.printed == 0 { "[\n  " } else { ",\n  " };
                let json = serde_json::to_string(row).map_err(io::Error::other)?;
                write!(out, "{separator}{}", text::json(&json))?;
                self.printed += 1;
            }
        } else if self.output.csv {
            out.write_all(&self.csv(rows)?)?;
            self.printed += rows.len() as u64;
        } else if !rows.is_empty() {
            writeln!(out, "{}", table(&self.columns, rows))?;
            self.printed += rows.len() as u64;
        }
        out.flush()?;
        Ok(())
    }

    /// Closes the array of JSON.
    pub(crate) fn end(&self) -> Result {
        let mut out = io::stdout().lock();
        if self.output.json {
            writeln!(out, "{}", if self.printed == 0 { "[]" } else { "\n]" })?;
        }
        Ok(out.flush()?)
    }

    /// The names of the fields are the header. Writes twice: the crate takes structs, and then each cell is made safe.
    fn csv(&self, rows: &[T]) -> Result<Vec<u8>, io::Error> {
        let mut plain = csv::Writer::from_writer(Vec::new());
        for row in rows {
            plain.serialize(row).map_err(io::Error::other)?;
        }
        let plain = plain.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(plain.as_slice());
        let mut safe = csv::Writer::from_writer(Vec::new());
        // Later pages have no header.
        for record in reader.records().skip(usize::from(self.printed > 0)) {
            let record = record.map_err(io::Error::other)?;
            safe.write_record(record.iter().map(text::cell)).map_err(io::Error::other)?;
        }
        safe.into_inner().map_err(|error| io::Error::other(error.to_string()))
    }
}

/// One line under the header, so that a row is a line for `grep`.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// As wide as the terminal. Elsewhere no line is broken.
pub(crate) fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// A table of rows, without the columns that have no value in any row.
pub(crate) fn table<T>(columns: &[Column<T>], rows: &[T]) -> Table {
    let cells = |column: &Column<T>| -> Vec<_> {
        rows.iter().map(|row| text::shown(&(column.cell)(row))).collect()
    };
    let filled = columns.iter().map(|column| (column, cells(column)));
    let filled: Vec<_> =
        filled.filter(|(_, cells)| cells.iter().any(|cell| !cell.is_empty())).collect();
    // A browser's name says enough in its first words.
    let is_list = columns.iter().any(|column| column.title == "browser");
    let mut table = new_table();
    table.set_header(filled.iter().map(|(column, _)| column.title));
    for row in 0..rows.len() {
        let mut row = Row::from(filled.iter().map(|(_, cells)| &cells[row]));
        if is_list {
            row.max_height(1);
        }
        table.add_row(row);
    }
    for (index, (column, _)) in filled.iter().enumerate() {
        // An id in two lines cannot be copied. Only sentences break, and not after each word.
        let is_sentence = matches!(column.title, "browser" | "reason" | "found" | "remedy");
        let constraint = match is_sentence {
            true => ColumnConstraint::LowerBoundary(Width::Fixed(20)),
            false => ColumnConstraint::ContentWidth,
        };
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(constraint);
        }
    }
    table
}

/// Prints a line for people on standard error, so that it never mixes with rows.
pub(crate) fn note(text: impl AsRef<str>) {
    // Nobody reads it if it cannot be written. `eprintln!` would panic.
    writeln!(io::stderr(), "{}", text.as_ref()).ok();
}
