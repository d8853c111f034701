//! How many sessions there are, what happens to them, and whether the cleanup keeps up.

use std::sync::Arc;

use axum::{
    extract::Query,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use maud::{Markup, html};
use serde::Deserialize;
use sessile_admin::{CleanupRun, Period};

use super::parts::{Shown, event_table, flash, now_is};
use crate::{
    door::Visitor,
    figures::{AHEAD, DAYS, Now},
    page::{self, Place},
    plot::{BLUE, Column, Plot, RED, SAND, Series, TEAL},
    problem::{Problem, Result},
    text::{count, count_in_a_tile, duration, moment, number},
};

#[derive(Deserialize)]
pub(crate) struct Asked {
    /// How many sessions a revocation has just ended.
    ended: Option<u64>,
}

pub(crate) async fn page(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response> {
    let content = html! {
        h1 { "Overview" }
        (flash(asked.ended))
        div #live data-live=(visitor.links().to("/live")) { (figures(&visitor).await?) }
    };
    Ok(page::page(&visitor, Place::Overview, "Overview", &content))
}

/// Only the figures, for the script of the page.
pub(crate) async fn live(visitor: Visitor) -> Result<Response> {
    Ok(figures(&visitor).await?.into_response())
}

async fn figures(visitor: &Visitor) -> Result<Markup> {
    let figures = &visitor.shared.figures;
    let (now, hours) = tokio::join!(figures.now(), figures.hours());
    let now = now.transpose().map_err(|error| Problem::from(&*error))?;
    let hours = hours.transpose().map_err(|error| Problem::from(&*error))?;
    let is_incomplete = now.is_none() || hours.is_none();
    Ok(html! {
        @if is_incomplete { p.note role="status" data-again="1" { "The database has not answered yet. The figures appear here when it has." noscript { " Load the page again in a moment." } } }
        @if let Some(now) = &now {
            (now_is(now.at))
            (tiles(now, hours.as_deref()))
        }
        @if let (Some(now), Some(hours)) = (&now, &hours) { (plots(now, hours)) }
        @if let Some(now) = &now {
            div.pair {
                section aria-labelledby="newest" {
                    h2 id="newest" { "Newest events" }
                    @if now.newest.is_empty() { p.empty { "Nothing has happened yet. The first log-in appears here." } }
                    @else { (event_table(visitor.links(), &now.newest, Shown::Short)) }
                }
                section aria-labelledby="runs" {
                    h2 id="runs" { "Cleanup runs" }
                    @if now.runs.is_empty() { p.empty { "The cleanup has not run in the last 90 days. Expired sessions are unusable all the same." } }
                    @else { (runs(&now.runs)) }
                }
            }
        }
    })
}

fn tiles(now: &Now, hours: Option<&Vec<Period>>) -> Markup {
    let this_hour = now.at.duration_trunc(TimeDelta::hours(1)).unwrap_or(now.at);
    let of_hour = hours.map(|hours| hours.iter().find(|hour| hour.begins_at == this_hour).cloned());
    let number_of = |of: fn(&Period) -> u64| match &of_hour {
        None => "…".to_owned(),
        Some(hour) => number(hour.as_ref().map_or(0, of)),
    };
    let last = now.runs.first();
    html! {
        dl.tiles {
            div.tile.main { dt { "Active sessions" } dd { (count_in_a_tile(now.live.all)) } dd.quiet { (count(now.live.anonymous)) " without a user" } }
            div.tile { dt { "Log-ins this hour" } dd { (number_of(|hour| hour.logged_in)) } dd.quiet { (number_of(|hour| hour.refused)) " refused" } }
            div.tile { dt { "Ends this hour" } dd { (number_of(ends)) } dd.quiet { (number_of(|hour| hour.revoked)) " from outside" } }
            div.tile {
                dt { "Waiting for the cleanup" }
                @match &now.backlog {
                    Some(backlog) => {
                        dd { (count_in_a_tile(backlog.rows)) }
                        dd.quiet {
                            @match backlog.oldest {
                                Some(oldest) => { "the oldest for " (duration((now.at - oldest).num_seconds())) }
                                None => "no expired session is left",
                            }
                        }
                    }
                    None => { dd { "unknown" } dd.quiet { "this database user may not read the table" } }
                }
            }
            div.tile {
                dt { "Last cleanup" }
                dd.small { @match last { Some(run) => (moment(run.ended_at)), None => "none" } }
                @if let Some(run) = last {
                    dd.quiet { @match &run.error { Some(_) => span.bad { "it ended early" }, None => { "deleted " (number(run.sessions)) } } }
                }
            }
        }
    }
}

fn ends(period: &Period) -> u64 {
    period.logged_out + period.revoked + period.expired
}

const COMINGS: [Series; 4] = [
    Series { name: "Log-ins", colour: TEAL, points_down: false },
    Series { name: "Logged out", colour: BLUE, points_down: true },
    Series { name: "Expired", colour: SAND, points_down: true },
    Series { name: "Ended from outside", colour: RED, points_down: true },
];
const REFUSALS: [Series; 2] = [
    Series { name: "Log-ins refused", colour: RED, points_down: false },
    Series { name: "Old secrets used", colour: SAND, points_down: false },
];
const EXPIRY: [Series; 1] = [Series { name: "Sessions", colour: TEAL, points_down: false }];

fn plots(now: &Now, hours: &Arc<Vec<Period>>) -> Markup {
    let comings =
        |period: &Period| vec![period.logged_in, period.logged_out, period.expired, period.revoked];
    let refusals = |period: &Period| vec![period.refused, period.superseded];
    let day = TimeDelta::days(1);
    let today = now.at.duration_trunc(day).unwrap_or(now.at);
    let days: Vec<_> = (0..DAYS).rev().map(|ago| today - day * ago as i32).collect();
    let by_day =
        |values: &dyn Fn(&Period) -> Vec<u64>| columns(&days, day, hours, values, "%-d %b");
    let hour = TimeDelta::hours(1);
    let this_hour = now.at.duration_trunc(hour).unwrap_or(now.at);
    let last_hours: Vec<_> = (0..24).rev().map(|ago| this_hour - hour * ago).collect();
    let ahead = ["1 h", "6 h", "1 day", "3 days", "7 days", "30 days"];
    let mut from = "now";
    let ending = now.ending.iter().zip(ahead).map(|(ending, to)| {
        let name = format!("from {from} to {to}");
        from = to;
        Column { label: to.to_owned(), name, values: vec![ending.sessions.number()] }
    });
    debug_assert_eq!(AHEAD.len(), ahead.len());
    html! {
        div.plots {
            (Plot {
                id: "by-hour", title: "Log-ins and ends in the last 24 hours", unit: "Hour, UTC", series: &COMINGS,
                columns: columns(&last_hours, hour, hours, &comings, "%H:%M"), label_every: 4,
            }.markup())
            (Plot {
                id: "by-day", title: "Log-ins and ends in the last 14 days", unit: "Day, UTC", series: &COMINGS,
                columns: by_day(&comings), label_every: 3,
            }.markup())
            (Plot {
                id: "ahead", title: "When sessions end if nobody uses them", unit: "Ends", series: &EXPIRY,
                columns: ending.collect(), label_every: 1,
            }.markup())
            (Plot {
                id: "refused", title: "Refusals in the last 14 days", unit: "Day, UTC", series: &REFUSALS,
                columns: by_day(&refusals), label_every: 3,
            }.markup())
        }
    }
}

/// A column for each of these periods, whether or not anything happened in it.
fn columns(
    begins: &[DateTime<Utc>],
    length: TimeDelta,
    hours: &[Period],
    values: &dyn Fn(&Period) -> Vec<u64>,
    format: &str,
) -> Vec<Column> {
    let width = values(&Period::empty(DateTime::UNIX_EPOCH));
    let of_period = |&begin: &DateTime<Utc>| {
        let inside = hours.iter().filter(|hour| (begin..begin + length).contains(&hour.begins_at));
        let sum = inside.map(values).fold(width.clone(), |sum, more| {
            sum.iter().zip(more).map(|(a, b)| a.saturating_add(b)).collect()
        });
        let label = begin.format(format).to_string();
        let name = if length > TimeDelta::hours(1) {
            label.clone()
        } else {
            begin.format("%-d %b, %H:%M").to_string()
        };
        Column { label, name, values: sum }
    };
    begins.iter().map(of_period).collect()
}

fn runs(runs: &[CleanupRun]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Cleanup runs: table" {
            table {
                thead { tr { th scope="col" { "Ended" } th.number scope="col" { "Deleted" } th.number scope="col" { "Took" } th scope="col" { "Result" } } }
                tbody {
                    @for run in runs {
                        tr {
                            td { (moment(run.ended_at)) }
                            td.number { (number(run.sessions)) }
                            td.number { (format!("{:.1} s", (run.ended_at - run.started_at).num_milliseconds() as f64 / 1000.)) }
                            td { @match &run.error { Some(error) => span.bad { (crate::text::visible(error)) }, None => "complete" } }
                        }
                    }
                }
            }
        }
    }
}
