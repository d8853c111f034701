//! Users by the beginning of their id, a session by its id, and, on request, sessions by their address.

use std::net::IpAddr;

use axum::{
    extract::Query,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use sessile_admin::{Session, SessionFilter, User};
use uuid::Uuid;

use super::{
    parts::{device, now_is, session_table},
    scan,
};
use crate::{
    door::Visitor,
    page,
    problem::{Problem, Result},
    text::{foreign, number, sessions, visible},
};

#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    q: String,
    ip: Option<String>,
    after: Option<Uuid>,
}

/// Users and a session that fit a text.
struct Found {
    users: Vec<User>,
    session: Option<Session>,
}

async fn find(visitor: &Visitor, text: &str, limit: u32) -> Result<Found> {
    let database = &visitor.shared.database;
    let id = text.trim().parse::<Uuid>().ok();
    let session = match id {
        Some(id) => database.session(id).await?,
        None => None,
    };
    Ok(Found { users: database.users(text, limit).await?, session })
}

pub(crate) async fn page(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response> {
    if let Some(ip) = &asked.ip {
        return by_address(&visitor, ip, asked.after).await;
    }
    const MOST: u32 = 50;
    let text = asked.q.as_str();
    let found = find(&visitor, text, MOST).await?;
    let links = visitor.links();
    let is_user_id = !text.is_empty() && text.len() <= 255 && !text.contains('\0');
    let is_exact = found.users.iter().any(|user| user.user_id == text);
    let id = text.trim().parse::<Uuid>().ok();
    let content = html! {
        h1 { "Search" }
        @if text.is_empty() {
            p.lead { "Type the beginning of a user's id, or the id of a session, into the field above. Upper and lower case count." }
        } @else {
            @if let Some(session) = &found.session {
                section aria-labelledby="session" { h2 id="session" { "Session" } (session_table(links, std::slice::from_ref(session), true, false)) }
            }
            section aria-labelledby="users" {
                h2 id="users" { "Users whose id begins with “" (foreign(text)) "”" }
                @if found.users.is_empty() {
                    p.empty { "No user with an active session has such an id." }
                } @else {
                    table.found {
                        thead { tr { th scope="col" { "User" } th scope="col" { "Active sessions" } } }
                        tbody { @for user in &found.users { tr { th scope="row" { a href=(links.user(&user.user_id)) { (foreign(&user.user_id)) } } td { (of_user(user)) } } } }
                    }
                    @if found.users.len() == MOST as usize { p.quiet { "There may be more. Type more of the id." } }
                }
            }
            section aria-labelledby="more" {
                h2 id="more" { "Not what you look for?" }
                ul.plain {
                    @if is_user_id && !is_exact { li { a href=(links.user(text)) { "The history of the user “" (foreign(text)) "”" } ", who has no active session." } }
                    @if let (Some(id), None) = (id, &found.session) { li { a href=(links.session(id, None)) { "The history of the session " (id) } ", which is not active." } }
                    @if let Ok(ip) = text.trim().parse::<IpAddr>() {
                        li { a href=(links.with("/search", &[("ip", &ip.to_string())])) { "Sessions that were last seen from " (ip) } ": this reads the table of sessions." }
                    }
                    li { "By address:" (address_form(&visitor, "")) }
                }
            }
        }
        @if text.is_empty() { (address_form(&visitor, "")) }
        (now_is(visitor.shared.database.now().await?))
    };
    Ok(page::found(&visitor, text, "Search", &content))
}

fn of_user(user: &User) -> String {
    if user.sessions >= User::MOST_COUNTED {
        return format!("{} or more", number(user.sessions.into()));
    }
    number(user.sessions.into())
}

fn address_form(visitor: &Visitor, ip: &str) -> Markup {
    html! {
        form.inline action=(visitor.links().to("/search")) method="get" {
            label for="ip" { "Address" }
            input #ip name="ip" value=(ip) placeholder="203.0.113.7" autocomplete="off" spellcheck="false" required;
            button { "Find sessions" }
            p.quiet { "No index has the addresses, so this reads " (number(scan(visitor).into())) " sessions for each page, the newest first." }
        }
    }
}

async fn by_address(visitor: &Visitor, text: &str, after: Option<Uuid>) -> Result<Response> {
    let Ok(ip) = text.trim().parse::<IpAddr>() else {
        return Err(Problem::invalid(format!("“{}” is not an address", visible(text))));
    };
    let filter = SessionFilter {
        ip: Some(ip),
        scan: scan(visitor),
        after,
        limit: 50,
        ..SessionFilter::default()
    };
    let database = &visitor.shared.database;
    let (page, now) = tokio::try_join!(database.sessions(&filter), database.now())?;
    let links = visitor.links();
    let next = page.next.map(|next| {
        links.with("/search", &[("ip", &ip.to_string()), ("after", &next.to_string())])
    });
    let content = html! {
        (now_is(now))
        h1 { "Sessions from " span.code { (ip) } }
        (address_form(visitor, &ip.to_string()))
        @if page.sessions.is_empty() {
            p.empty {
                @if next.is_some() { "None of the " (number(scan(visitor).into())) " sessions that this page has read was last seen from there." }
                @else { "No active session was last seen from there." }
            }
        } @else {
            (session_table(links, &page.sessions, true, visitor.access.may_end()))
        }
        @if let Some(next) = next { p { a.button href=(next) { "Go on looking" } } }
    };
    Ok(page::found(visitor, "", "Sessions from an address", &content))
}

/// The options of the list below the search field.
pub(crate) async fn suggest(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response> {
    let found = find(&visitor, &asked.q, 8).await?;
    let links = visitor.links();
    Ok(html! {
        @if let Some(session) = &found.session {
            li role="option" data-href=(links.session(session.id, session.user_id.as_deref())) {
                span { "Session: " (device(session.user_agent.as_deref())) } " " span.quiet { @match &session.user_id { Some(user) => (foreign(user)), None => "without a user" } }
            }
        }
        @for user in &found.users {
            li role="option" data-href=(links.user(&user.user_id)) {
                span { (foreign(&user.user_id)) } " "
                span.quiet { @if user.sessions >= User::MOST_COUNTED { (of_user(user)) " sessions" } @else { (sessions(user.sessions.into())) } }
            }
        }
    }
    .into_response())
}
