//! One session with its events, also when it is gone.

use axum::{
    extract::{Path, Query},
    response::Response,
};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;
use sessile_admin::{EventFilter, EventKey, EventPage, Session};
use uuid::Uuid;

use super::{
    parts::{Shown, address, event_table, flash, now_is, user_link},
    scan,
};
use crate::{
    device_name::device_name,
    door::Visitor,
    page::{self, Place},
    problem::{Problem, Result},
    text::{end, foreign, moment, number, realm},
};

#[derive(Deserialize)]
pub(crate) struct Asked {
    /// The user, whose events the index finds.
    user: Option<String>,
    after: Option<EventKeyText>,
    ended: Option<u64>,
}

/// A key in a link.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct EventKeyText(pub(crate) EventKey);

impl TryFrom<String> for EventKeyText {
    type Error = sessile_admin::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

pub(crate) async fn page(
    visitor: Visitor,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    let id = session_id(&id)?;
    let database = &visitor.shared.database;
    let (session, now) = tokio::try_join!(database.session(id), database.now())?;
    let user = match &session {
        Some(session) => session.user_id.clone(),
        None => asked.user.filter(|user| !user.is_empty()),
    };
    let after = asked.after.map(|key| key.0);
    let is_anonymous = session.is_some() && user.is_none();
    let events = match &user {
        Some(user) => {
            let filter = EventFilter { session_id: Some(id), after, ..EventFilter::of_user(user) };
            database.events(&filter).await?
        }
        // Anonymous sessions leave no event before they are ended.
        None if is_anonymous => EventPage { events: Vec::new(), next: None },
        None => {
            let since = began_at(id);
            let filter = EventFilter {
                session_id: Some(id),
                since,
                after,
                scan: scan(&visitor),
                ..EventFilter::default()
            };
            database.events(&filter).await?
        }
    };
    let links = visitor.links();
    let scans = user.is_none() && !is_anonymous;
    let next = events.next.map(|next| {
        let user = user.as_deref().unwrap_or_default();
        links.with(&format!("/session/{id}"), &[("user", user), ("after", &next.to_string())])
    });
    let agent = session.as_ref().and_then(|session| session.user_agent.as_deref());
    let content = html! {
        (now_is(now))
        header.title {
            div {
                p.eyebrow { "Session" }
                h1 { @if session.is_some() { (device_name(agent)) } @else { "A session that is over" } }
            }
            @if session.is_some() && visitor.access.may_end() { a.button.danger href=(links.end_session(id, user.as_deref())) { "End this session…" } }
        }
        (flash(asked.ended))
        @match &session {
            Some(session) => (facts(&visitor, session)),
            None => dl.facts {
                div { dt { "Id" } dd.code { (id) } }
                @if let Some(user) = &user { div { dt { "User" } dd { (user_link(links, Some(user))) } } }
                div { dt { "State" } dd { "It has ended, or it never was." } }
            },
        }
        section aria-labelledby="events" {
            h2 id="events" { "Events" }
            @if scans {
                p.note { "The link has no user, so this page reads the events since the session began, " (number(scan(&visitor).into())) " at a time." }
            }
            @if !events.events.is_empty() { (event_table(links, &events.events, Shown::OfSession)) }
            @else if is_anonymous { p.empty { "A session without a user leaves no events before it is ended." } }
            @else if next.is_some() { p.empty { "None of the events that this page has read is of this session." } }
            @else { p.empty { "No event of this session is known. Events are kept for 90 days, unless the application says otherwise." } }
            @if let Some(next) = next { p.pages { a.button href=(next) { @if scans { "Go on looking" } @else { "Older events" } } } }
        }
    };
    Ok(page::page(&visitor, Place::Other, "Session", &content))
}

pub(super) fn session_id(text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| Problem::not_found("This is not the id of a session."))
}

/// A session's id has the moment of its creation. `None` for an id that a person has made up.
fn began_at(id: Uuid) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    // The clock of the node that made the id, which may be ahead of the database's.
    Some(DateTime::from_timestamp(seconds as i64, nanos)? - chrono::TimeDelta::hours(1))
}

fn facts(visitor: &Visitor, session: &Session) -> Markup {
    let user = session.user_id.as_deref();
    html! {
        dl.facts {
            div { dt { "User" } dd { (user_link(visitor.links(), user)) } }
            div { dt { "Id" } dd.code { (session.id) } }
            @if !session.realm.is_empty() { div { dt { "Realm" } dd { (realm(&session.realm)) } } }
            div { dt { "Address" } dd { (address(session.ip.as_deref())) } }
            div { dt { "Began" } dd { (moment(session.created_at)) } }
            @if let Some(at) = session.authenticated_at { div { dt { "Logged in" } dd { (moment(at)) } } }
            div { dt { "Last seen" } dd { (moment(session.last_seen_at)) } }
            div { dt { "Ends if it is not used" } dd { (end(session.valid_until)) } }
            div { dt { "Ends in any case" } dd { (end(session.absolute_expires_at)) } }
            div { dt { "“Remember me”" } dd { @match session.remembered { Some(true) => "yes", Some(false) => "no", None => "unknown" } } }
            div.wide { dt { "User-Agent" } dd { @match &session.user_agent { Some(agent) if sessile_admin::is_sealed(agent) => span.quiet { "sealed" }, Some(agent) => (foreign(agent)), None => span.quiet { "unknown" } } } }
        }
    }
}
