//! Plots as SVG. The library writes fixed colours, which the style sheet replaces with those of the reader's theme.

use maud::{Markup, PreEscaped, html};
use plotters::{coord::ranged1d::SegmentValue, prelude::*};

use crate::text::number;

/// Bars of several kinds in each of several columns.
pub(crate) struct Plot<'a> {
    /// Unique on the page.
    pub(crate) id: &'a str,
    pub(crate) title: &'a str,
    /// What the columns are: "Hour, UTC".
    pub(crate) unit: &'a str,
    pub(crate) series: &'a [Series],
    pub(crate) columns: Vec<Column>,
    /// Labels below every so many columns.
    pub(crate) label_every: usize,
}

/// A kind of bars. Those that point down are for ends.
#[derive(Clone, Copy)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) colour: RGBColor,
    pub(crate) points_down: bool,
}

/// The style sheet knows these colours.
pub(crate) const TEAL: RGBColor = RGBColor(0x0F, 0x76, 0x6E);
pub(crate) const BLUE: RGBColor = RGBColor(0x4F, 0x6D, 0xB8);
pub(crate) const SAND: RGBColor = RGBColor(0xB8, 0x86, 0x3B);
pub(crate) const RED: RGBColor = RGBColor(0xB4, 0x3A, 0x2B);
const LINE: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
const AXIS: RGBColor = RGBColor(0x88, 0x88, 0x88);
const TEXT: RGBColor = RGBColor(0x66, 0x66, 0x66);

/// One bar of each series.
pub(crate) struct Column {
    /// Below the axis.
    pub(crate) label: String,
    /// In the table, and under the pointer.
    pub(crate) name: String,
    pub(crate) values: Vec<u64>,
}

const SIZE: (u32, u32) = (520, 230);

impl Plot<'_> {
    /// The picture, its legend, and its figures as a table.
    pub(crate) fn markup(&self) -> Markup {
        let is_empty =
            self.columns.iter().all(|column| column.values.iter().all(|&value| value == 0));
        html! {
            figure.plot {
                figcaption id=(self.id) { (self.title) }
                @if is_empty {
                    p.empty { "Nothing yet." }
                } @else {
                    @if self.series.len() > 1 {
                        ul.legend aria-hidden="true" {
                            @for series in self.series { li { (swatch(series.colour)) (series.name) } }
                        }
                    }
                    // Without a picture, the table is still there.
                    @if let Some((picture, hits)) = self.picture() {
                        svg viewBox={ "0 0 " (SIZE.0) " " (SIZE.1) } role="img" aria-labelledby=(self.id) aria-describedby={ (self.id) "-sum" } {
                            (PreEscaped(picture)) (hits)
                        }
                    }
                    p.hidden id={ (self.id) "-sum" } {
                        @for (index, series) in self.series.iter().enumerate() {
                            (series.name) ": " (number(self.columns.iter().map(|column| column.values[index]).sum())) ". "
                        }
                    }
                    (self.table())
                }
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            details id={ (self.id) "-table" } {
                summary { "As a table" }
                div.scroll tabindex="0" role="region" aria-label={ (self.title) ": table" } {
                    table {
                        thead { tr { th scope="col" { (self.unit) } @for series in self.series { th.number scope="col" { (series.name) } } } }
                        tbody {
                            @for column in self.columns.iter().rev() {
                                tr { th scope="row" { (column.name) } @for &value in &column.values { td.number { (number(value)) } } }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The library's elements, and one invisible area above each column that tells its figures.
    fn picture(&self) -> Option<(String, Markup)> {
        let mut text = String::new();
        let hits = self.draw(SVGBackend::with_string(&mut text, SIZE))?;
        // The outer element is the page's own.
        let inner = text.split_once("<svg")?.1.split_once('>')?.1.rsplit_once("</svg>")?.0;
        Some((inner.to_owned(), hits))
    }

    fn sums(&self, column: &Column, points_down: bool) -> u64 {
        let series = self.series.iter().zip(&column.values);
        series
            .filter(|(series, _)| series.points_down == points_down)
            .map(|(_, &value)| value)
            .sum()
    }

    fn draw(&self, backend: SVGBackend<'_>) -> Option<Markup> {
        let most =
            |down| self.columns.iter().map(|column| self.sums(column, down)).max().unwrap_or(0);
        let (up, down) = (most(false) as f64, most(true) as f64);
        let margin = ((up + down) * 0.06).max(0.5);
        let bottom = if down > 0. { -down - margin } else { 0. };
        let root = backend.into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(6)
            .margin_right(4)
            .x_label_area_size(24)
            .y_label_area_size(46)
            .build_cartesian_2d((0..self.columns.len() - 1).into_segmented(), bottom..up + margin)
            .ok()?;
        let label = |at: &SegmentValue<usize>| match at {
            SegmentValue::CenterOf(index) if index % self.label_every == 0 => {
                self.columns.get(*index).map(|column| column.label.clone()).unwrap_or_default()
            }
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(LINE)
            .light_line_style(TRANSPARENT)
            .axis_style(TRANSPARENT)
            .x_labels(self.columns.len())
            .x_label_formatter(&label)
            .y_labels(5)
            .y_label_formatter(&|value| short(value.abs()))
            .label_style(("sans-serif", 14).into_font().color(&TEXT))
            .draw()
            .ok()?;
        // The library counts the last column's number as the end of the axis.
        let right_of = |index: usize| match index + 1 {
            next if next == self.columns.len() => SegmentValue::Last,
            next => SegmentValue::Exact(next),
        };
        let mut areas = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let (mut top, mut low) = (0., 0.);
            for (series, &value) in self.series.iter().zip(&column.values) {
                let end = if series.points_down { &mut low } else { &mut top };
                let from = *end;
                *end += if series.points_down { -(value as f64) } else { value as f64 };
                if value == 0 {
                    continue;
                }
                let corners = [(SegmentValue::Exact(index), from), (right_of(index), *end)];
                let mut bar = Rectangle::new(corners, series.colour.filled());
                bar.set_margin(0, 0, 1, 1);
                chart.draw_series([bar]).ok()?;
            }
            let corner = |at, value| chart.backend_coord(&(at, value));
            areas.push((
                corner(SegmentValue::Exact(index), up + margin),
                corner(right_of(index), bottom),
                self.told(column),
            ));
        }
        let zero = [(SegmentValue::Exact(0), 0.), (SegmentValue::Last, 0.)];
        chart.draw_series([PathElement::new(zero, AXIS)]).ok()?;
        root.present().ok()?;
        drop(chart);
        drop(root);
        Some(html! {
            @for ((left, top), (right, bottom), told) in &areas {
                rect.hit x=(left) y=(top) width=(right - left) height=(bottom - top) { title { (told) } }
            }
        })
    }

    fn told(&self, column: &Column) -> String {
        let values = self.series.iter().zip(&column.values);
        let values = values.map(|(series, &value)| format!("{}: {}", series.name, number(value)));
        format!("{}\n{}", column.name, values.collect::<Vec<_>>().join("\n"))
    }
}

fn swatch(colour: RGBColor) -> Markup {
    let RGBColor(red, green, blue) = colour;
    html! { svg.swatch viewBox="0 0 10 10" { rect width="10" height="10" rx="2" fill=(format!("#{red:02X}{green:02X}{blue:02X}")) {} } }
}

/// `950`, `1.2k`, `30k`, `1.5M`. Nothing between whole numbers.
fn short(value: f64) -> String {
    let scaled = |value: f64, unit| {
        let text = format!("{value:.1}");
        format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
    };
    match value {
        1_000_000.0.. => scaled(value / 1_000_000., "M"),
        1_000.0.. => scaled(value / 1_000., "k"),
        _ if value.fract().abs() < 1e-6 => format!("{value:.0}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_no_style_that_the_policy_refuses_and_tells_its_figures() {
        let series = [
            Series { name: "Log-ins", colour: TEAL, points_down: false },
            Series { name: "Expired", colour: SAND, points_down: true },
        ];
        let columns = |values: [u64; 2]| Column {
            label: "7".into(),
            name: "7 Nov".into(),
            values: values.into(),
        };
        let plot = |values| Plot {
            id: "days",
            title: "Days",
            unit: "Day",
            series: &series,
            columns: vec![columns(values)],
            label_every: 1,
        };
        let text = plot([1_234, 5]).markup().into_string();
        assert!(!text.contains("style=") && !text.contains("<style") && !text.contains("<script"));
        for part in [
            "fill=\"#0F766E\"",
            "role=\"img\"",
            "<td class=\"number\">1,234</td>",
            "<title>7 Nov\nLog-ins: 1,234\nExpired: 5</title>",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(plot([0, 0]).markup().into_string().contains("Nothing yet"));
        // The largest number that a column can have.
        plot([u64::MAX / 2, 1]).markup();
    }

    #[test]
    fn labels_are_short() {
        for (value, text) in [
            (0., "0"),
            (950., "950"),
            (1_200., "1.2k"),
            (30_000., "30k"),
            (1.5e6, "1.5M"),
            (0.5, ""),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
