//! Who did what: the log of events, with conditions.

use axum::{extract::Query, response::Response};
use chrono::TimeDelta;
use maud::{Markup, html};
use serde::Deserialize;
use sessile_admin::{EVENTS, EventFilter};

use super::{
    checked,
    parts::{Shown, event_table, now_is},
    scan,
    session::EventKeyText,
};
use crate::{
    door::Visitor,
    page::{self, Place},
    problem::{Problem, Result},
    text::{event, number, visible},
};

/// The choices of time, in seconds.
const TIMES: [(&str, &str); 5] = [
    ("", "at any time"),
    ("3600", "in the last hour"),
    ("86400", "in the last 24 hours"),
    ("604800", "in the last 7 days"),
    ("2592000", "in the last 30 days"),
];

/// Beginnings of actors.
const ACTORS: [(&str, &str); 4] = [
    ("console:", "in the console"),
    ("command:", "with the command"),
    ("role:", "with SQL"),
    ("application", "the application"),
];

/// Empty texts are conditions that are not set: the form sends them.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Asked {
    kind: String,
    actor: String,
    user: String,
    within: String,
    after: Option<EventKeyText>,
}

pub(crate) async fn page(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response> {
    let database = &visitor.shared.database;
    let now = database.now().await?;
    let mut filter = EventFilter { limit: 50, scan: scan(&visitor), ..EventFilter::default() };
    if !asked.user.is_empty() {
        filter.user_id = Some(checked(asked.user.clone())?);
    }
    if !asked.kind.is_empty() {
        if !EVENTS.contains(&asked.kind.as_str()) {
            return Err(Problem::invalid(format!("“{}” is not an event", visible(&asked.kind))));
        }
        filter.events = vec![asked.kind.clone()];
    }
    if !asked.actor.is_empty() {
        filter.actor = Some(asked.actor.replace('\0', ""));
    }
    if !asked.within.is_empty() {
        let seconds = asked.within.parse::<u32>();
        let seconds =
            seconds.map_err(|_| Problem::invalid("The time has to be a number of seconds."))?;
        filter.since = Some(now - TimeDelta::seconds(seconds.into()));
    }
    filter.after = asked.after.as_ref().map(|key| key.0);
    let events = database.events(&filter).await?;
    let links = visitor.links();
    let conditions = [
        ("kind", asked.kind.as_str()),
        ("actor", &asked.actor),
        ("user", &asked.user),
        ("within", &asked.within),
    ];
    let next = events.next.map(|next| {
        let next = next.to_string();
        links.with("/events", &[&conditions[..], &[("after", &next)]].concat())
    });
    let is_later_page = filter.after.is_some();
    let content = html! {
        (now_is(now))
        h1 { "Who did what" }
        (form(&visitor, &asked))
        @if filter.scans() { p.quiet { "The events have an index by user and by time. For other conditions, each page reads up to " (number(scan(&visitor).into())) " events, the newest first." } }
        @if !events.events.is_empty() {
            (event_table(links, &events.events, Shown::All))
        } @else if next.is_some() {
            p.empty { "None of the " (number(scan(&visitor).into())) " events that this page has read fits." }
        } @else if is_later_page {
            p.empty { "There are no more events." }
        } @else {
            p.empty { "No event fits. Events are kept for 90 days, unless the application says otherwise." }
        }
        @if is_later_page || next.is_some() {
            p.pages {
                @if is_later_page { a.button href=(links.with("/events", &conditions)) { "The newest" } }
                @if let Some(next) = next { a.button href=(next) { @if events.events.is_empty() { "Go on looking" } @else { "Older events" } } }
            }
        }
    };
    Ok(page::page(&visitor, Place::Events, "Who did what", &content))
}

fn form(visitor: &Visitor, asked: &Asked) -> Markup {
    let is_known = ACTORS.iter().any(|(value, _)| *value == asked.actor);
    html! {
        form.filter action=(visitor.links().to("/events")) method="get" {
            div {
                label for="kind" { "Event" }
                select #kind name="kind" {
                    option value="" { "every event" }
                    @for kind in EVENTS { option value=(kind) selected[kind == asked.kind] { (event(kind)) } }
                }
            }
            div {
                label for="actor" { "Who did it" }
                select #actor name="actor" {
                    option value="" { "anybody" }
                    @for (value, label) in ACTORS { option value=(value) selected[value == asked.actor] { (label) } }
                    @if !is_known && !asked.actor.is_empty() { option value=(asked.actor) selected { (visible(&asked.actor)) } }
                }
            }
            div {
                label for="within" { "Time" }
                select #within name="within" {
                    @for (value, label) in TIMES { option value=(value) selected[value == asked.within] { (label) } }
                }
            }
            div {
                label for="user" { "User" }
                input #user name="user" value=(asked.user) placeholder="any" maxlength="255" autocomplete="off" autocapitalize="none" spellcheck="false";
            }
            button { "Show" }
        }
    }
}
