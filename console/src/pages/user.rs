//! A user's active sessions and history.

use axum::{extract::Query, response::Response};
use maud::html;
use serde::Deserialize;
use sessile_admin::{EventFilter, SessionFilter};
use uuid::Uuid;

use super::{
    checked,
    parts::{Shown, event_table, flash, now_is, session_table},
};
use crate::{
    door::Visitor,
    page::{self, Place},
    problem::Result,
    text::{foreign, number, realm, sessions},
};

#[derive(Deserialize)]
pub(crate) struct Asked {
    id: String,
    /// The page of sessions begins after this one.
    after: Option<Uuid>,
    ended: Option<u64>,
}

pub(crate) async fn page(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response> {
    let id = checked(asked.id)?;
    let database = &visitor.shared.database;
    let of_user = SessionFilter { after: asked.after, limit: 50, ..SessionFilter::of_user(&id) };
    let newest = EventFilter { limit: 20, ..EventFilter::of_user(&id) };
    let (list, events, realms, now) = tokio::try_join!(
        database.sessions(&of_user),
        database.events(&newest),
        database.realms_of_user(&id),
        database.now(),
    )?;
    let links = visitor.links();
    let all: u64 = realms.iter().map(|realm| realm.sessions).sum();
    let may_end = visitor.access.may_end();
    let content = html! {
        (now_is(now))
        header.title {
            div {
                p.eyebrow { "User" }
                h1 { (foreign(&id)) }
            }
            @if may_end && all > 0 { a.button.danger href=(links.end_user(&id)) { "End all " (sessions(all)) "…" } }
        }
        (flash(asked.ended))
        section aria-labelledby="sessions" {
            h2 id="sessions" { (number(all)) " active " @if all == 1 { "session" } @else { "sessions" } }
            @if realms.len() > 1 {
                p.quiet { "By realm: " @for (index, one) in realms.iter().enumerate() { @if index > 0 { ", " } (realm(&one.realm)) " " (number(one.sessions)) } }
            }
            @if list.sessions.is_empty() {
                p.empty { @if asked.after.is_some() { "There are no more sessions." } @else { "This user is not logged in anywhere." } }
            } @else {
                (session_table(links, &list.sessions, false, may_end))
            }
            @if asked.after.is_some() || list.next.is_some() {
                p.pages {
                    @if asked.after.is_some() { a.button href=(links.user(&id)) { "The newest" } }
                    @if let Some(next) = list.next { a.button href=(links.with("/user", &[("id", &id), ("after", &next.to_string())])) { "Older sessions" } }
                }
            }
        }
        section aria-labelledby="history" {
            h2 id="history" { "History" }
            @if events.events.is_empty() {
                p.empty { "No event of this user is known. Events are kept for 90 days, unless the application says otherwise." }
            } @else {
                (event_table(links, &events.events, Shown::OfUser))
                @if events.next.is_some() { p.pages { a.button href=(links.with("/events", &[("user", &id)])) { "The whole history" } } }
            }
        }
    };
    Ok(page::page(&visitor, Place::Other, &format!("User {}", crate::text::visible(&id)), &content))
}
