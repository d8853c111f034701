//! The charts: one panel for each operation, one bar for each store.

use std::path::Path;

use anyhow::{Context, Result};
use harness::Op;

use super::{
    Table, number,
    svg::{Anchor, Ink, Svg},
    thousands,
};
use crate::{
    cell::Cell,
    peers::{Backend, Name},
};

const ROW: f64 = 22.0;
const BAR: f64 = 15.0;
const LABELS: f64 = 150.0;
const BARS: f64 = 190.0;
const VALUES: f64 = 80.0;
const PANEL: f64 = LABELS + BARS + VALUES;
const HEAD: f64 = 34.0;
const FOOT: f64 = 26.0;

/// Draws the charts for which there are cells. Returns the names of the files.
pub(crate) fn draw(folder: &Path, cells: &[Cell]) -> Result<Vec<String>> {
    std::fs::create_dir_all(folder).context(folder.display().to_string())?;
    let tables = Table::all(cells);
    let mut drawn = Vec::new();
    for (backend, concurrency, name) in [
        (Backend::Postgres, 64, "postgres-64"),
        (Backend::Postgres, 1, "postgres-1"),
        (Backend::Sqlite, 64, "sqlite-64"),
    ] {
        let of: Vec<&Table<'_>> = tables.iter().filter(|table| table.backend == backend).collect();
        let panels: Vec<Panel> =
            of.iter().filter_map(|table| throughput(table, concurrency)).collect();
        let how = if concurrency == 1 { "one request at a time" } else { "64 requests at once" };
        let title = format!("{}: operations a second, {how}", title(backend));
        drawn.extend(write(folder, name, &title, &panels)?);
    }
    let is_charted = |table: &&Table<'_>| {
        table.backend == Backend::Postgres && matches!(table.op, Op::Load | Op::Mix)
    };
    let panels: Vec<Panel> =
        tables.iter().filter(is_charted).filter_map(|table| processor_time(table, 256)).collect();
    let title =
        "Postgres: processor time of one operation, 256 at once (client, and server paler), µs";
    drawn.extend(write(folder, "cpu", title, &panels)?);
    Ok(drawn)
}

fn title(backend: Backend) -> &'static str {
    match backend {
        Backend::Postgres => "Postgres",
        Backend::Sqlite => "SQLite",
    }
}

struct Panel {
    title: String,
    bars: Vec<Bar>,
}

struct Bar {
    label: &'static str,
    parts: Vec<(f64, Ink)>,
    text: String,
}

impl Bar {
    fn length(&self) -> f64 {
        self.parts.iter().map(|(length, _)| length).sum()
    }
}

fn inks(store: Name) -> (Ink, Ink) {
    match store {
        Name::Sessile | Name::SessileCached => (Ink::Ours, Ink::OursPale),
        Name::Redis | Name::RedisAlways => (Ink::Other, Ink::OtherPale),
        _ => (Ink::Theirs, Ink::TheirsPale),
    }
}

fn throughput(table: &Table<'_>, concurrency: usize) -> Option<Panel> {
    let bar = |store: &Name| {
        let cell = table.cell(*store, concurrency)?;
        let parts = vec![(cell.ops_per_s, inks(*store).0)];
        Some(Bar { label: store.text(), parts, text: thousands(cell.ops_per_s) })
    };
    panel(table, bar)
}

fn processor_time(table: &Table<'_>, concurrency: usize) -> Option<Panel> {
    let bar = |store: &Name| {
        let cell = table.cell(*store, concurrency)?;
        let (client, server) = (cell.client_cpu_us, cell.server_cpu_us?);
        let (ink, pale) = inks(*store);
        let text = number(client + server);
        Some(Bar { label: store.text(), parts: vec![(client, ink), (server, pale)], text })
    };
    panel(table, bar)
}

fn panel(table: &Table<'_>, bar: impl Fn(&Name) -> Option<Bar>) -> Option<Panel> {
    // A hit in the cache is not the same work, and its bar would dwarf the others.
    let charted = table.stores.iter().filter(|&&store| store != Name::SessileCached);
    let bars: Vec<Bar> = charted.filter_map(bar).collect();
    (!bars.is_empty()).then(|| Panel { title: table.op.name().to_owned(), bars })
}

/// Two panels beside each other.
fn write(folder: &Path, name: &str, title: &str, panels: &[Panel]) -> Result<Option<String>> {
    if panels.is_empty() {
        return Ok(None);
    }
    let columns = panels.len().min(2);
    let height = |row: &[Panel]| {
        HEAD + ROW * row.iter().map(|p| p.bars.len()).max().unwrap_or(0) as f64 + FOOT
    };
    let rows: Vec<&[Panel]> = panels.chunks(columns).collect();
    let total: f64 = HEAD + rows.iter().map(|row| height(row)).sum::<f64>();

    let mut svg = Svg::new(PANEL * columns as f64, total, title);
    svg.heading(8.0, 22.0, title);
    let mut top = HEAD;
    for row in rows {
        for (column, panel) in row.iter().enumerate() {
            draw_panel(&mut svg, panel, PANEL * column as f64, top);
        }
        top += height(row);
    }
    let file = format!("{name}.svg");
    std::fs::write(folder.join(&file), svg.finish())?;
    Ok(Some(file))
}

fn draw_panel(svg: &mut Svg, panel: &Panel, left: f64, top: f64) {
    let zero = left + LABELS;
    let longest = panel.bars.iter().map(Bar::length).fold(f64::MIN_POSITIVE, f64::max);
    svg.text(zero, top + 20.0, Ink::Faint, Anchor::Start, &panel.title);
    let bottom = top + HEAD + ROW * panel.bars.len() as f64;
    svg.line((zero - 1.0, top + HEAD - 6.0), (zero - 1.0, bottom));
    for (i, bar) in panel.bars.iter().enumerate() {
        let y = top + HEAD + ROW * i as f64;
        svg.text(zero - 8.0, y + 12.0, Ink::Text, Anchor::End, bar.label);
        let mut x = zero;
        for &(length, ink) in &bar.parts {
            let width = BARS * length / longest;
            svg.bar(x, y, width.max(1.0), BAR, ink);
            x += width;
        }
        svg.text(x + 6.0, y + 12.0, Ink::Faint, Anchor::Start, &bar.text);
    }
}
