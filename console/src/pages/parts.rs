//! Parts that several pages have.

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};
use sessile_admin::{Event, Session};

use crate::{
    device_name::device_name,
    links::Links,
    text::{end, event, foreign, moment, realm, sessions, visible},
};

/// Tells that a revocation has just ended so many sessions.
pub(super) fn flash(ended: Option<u64>) -> Markup {
    html! {
        @match ended {
            None => {},
            Some(0) => p.note.done role="status" { "There was no active session left to end." },
            Some(ended) => p.note.done role="status" { (sessions(ended)) " ended." },
        }
    }
}

/// The database's clock, for the script: the reader's own may be wrong.
pub(super) fn now_is(now: DateTime<Utc>) -> Markup {
    html! { data #now value=(now.to_rfc3339_opts(SecondsFormat::Millis, true)) hidden {} }
}

/// A device's name. The whole user agent is under the pointer, and on the session's page.
pub(super) fn device(user_agent: Option<&str>) -> Markup {
    let shown = user_agent.filter(|agent| !sessile_admin::is_sealed(agent));
    html! { span title=[shown.map(visible)] { (device_name(shown)) } }
}

pub(super) fn address(ip: Option<&str>) -> Markup {
    html! { @match ip { Some(ip) => span.code { (visible(ip)) }, None => span.quiet { "unknown" } } }
}

/// A list of sessions. `may_end` adds the links that end one.
pub(super) fn session_table(
    links: &Links,
    list: &[Session],
    with_user: bool,
    may_end: bool,
) -> Markup {
    let has_realm = list.iter().any(|session| !session.realm.is_empty());
    html! {
        div.scroll {
            table.cards {
                thead {
                    tr {
                        th scope="col" { "Device" }
                        @if with_user { th scope="col" { "User" } }
                        th scope="col" { "Address" }
                        th scope="col" { "Last seen" }
                        th scope="col" { "Logged in" }
                        th scope="col" { "Ends" }
                        @if has_realm { th scope="col" { "Realm" } }
                        @if may_end { th scope="col" { span.hidden { "Action" } } }
                    }
                }
                tbody {
                    @for session in list {
                        @let user = session.user_id.as_deref();
                        tr {
                            th scope="row" { a href=(links.session(session.id, user)) { (device(session.user_agent.as_deref())) } }
                            @if with_user { td data-label="User" { (user_link(links, user)) } }
                            td data-label="Address" { (address(session.ip.as_deref())) }
                            td data-label="Last seen" { (moment(session.last_seen_at)) }
                            td data-label="Logged in" {
                                @match session.authenticated_at { Some(at) => (moment(at)), None => span.quiet { "no" } }
                            }
                            td data-label="Ends" { (end(session.valid_until)) }
                            @if has_realm { td data-label="Realm" { (realm(&session.realm)) } }
                            @if may_end {
                                td.action {
                                    a.button href=(links.end_session(session.id, user)) {
                                        "End…" span.hidden { " the session on " (device_name(session.user_agent.as_deref())) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn user_link(links: &Links, user: Option<&str>) -> Markup {
    html! { @match user { Some(user) => a href=(links.user(user)) { (foreign(user)) }, None => span.quiet { "nobody" } } }
}

/// Which columns a list of events has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    /// The page names the user.
    OfUser,
    /// The page names the session and its user.
    OfSession,
    /// When, what, of whom and by whom.
    Short,
}

impl Shown {
    fn user(self) -> bool {
        matches!(self, Self::All | Self::Short)
    }

    fn session(self) -> bool {
        matches!(self, Self::All | Self::OfUser)
    }
}

/// A list of events.
pub(super) fn event_table(links: &Links, events: &[Event], shown: Shown) -> Markup {
    let is_long = shown != Shown::Short;
    let has_realm = is_long && events.iter().any(|event| !event.realm.is_empty());
    html! {
        div.scroll {
            table.cards {
                thead {
                    tr {
                        th scope="col" { "When" }
                        th scope="col" { "What" }
                        @if shown.user() { th scope="col" { "User" } }
                        @if shown.session() { th scope="col" { "Session" } }
                        @if is_long { th scope="col" { "Address" } }
                        @if has_realm { th scope="col" { "Realm" } }
                        @if is_long { th scope="col" { "Reason" } }
                        th scope="col" { "Who did it" }
                    }
                }
                tbody {
                    @for event in events { (event_row(links, event, shown, has_realm)) }
                }
            }
        }
    }
}

fn event_row(links: &Links, of: &Event, shown: Shown, has_realm: bool) -> Markup {
    let user = of.user_id.as_deref();
    let is_for_all = of.session_id.is_none() && of.event == "revoked";
    let is_long = shown != Shown::Short;
    html! {
        tr {
            td data-label="When" { (moment(of.at)) }
            td data-label="What" {
                span class={ "kind " (kind_class(&of.event)) } { (visible(event(&of.event))) }
                @if is_for_all { " " @if user.is_some() { "all of the user" } @else { "everybody" } }
            }
            @if shown.user() {
                td data-label="User" { @if is_for_all && user.is_none() { "everybody" } @else { (user_link(links, user)) } }
            }
            @if shown.session() {
                td data-label="Session" {
                    @match of.session_id {
                        Some(id) => a.code href=(links.session(id, user)) title=(id) { "…" (&id.to_string()[28..]) },
                        None => span.quiet { "none" },
                    }
                }
            }
            @if is_long { td data-label="Address" { (address(of.ip.as_deref())) } }
            @if has_realm { td data-label="Realm" { (realm(&of.realm)) } }
            @if is_long { td data-label="Reason" { @if let Some(reason) = &of.reason { (foreign(reason)) } } }
            td data-label="Who did it" { @match &of.actor { Some(actor) => (foreign(actor)), None => span.quiet { "nobody" } } }
        }
    }
}

/// For the colour.
fn kind_class(event: &str) -> &'static str {
    match event {
        "logged_in" | "reauthenticated" => "good",
        "revoked" | "refused" => "bad",
        "superseded" => "odd",
        _ => "plain",
    }
}
