//! "Your devices": where a user is logged in, with a button to log out each device.

use axum::{
    extract::{Path, Query},
    http::StatusCode,
    response::Response,
};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use sessile::{Device, Session, SessionId};

use crate::{
    account,
    answer::Wants,
    confirm,
    device_name::device_name,
    moment::{day, moment},
    page::Visitor,
    refusal::{Refusal, Result},
};

#[derive(Deserialize)]
pub(crate) struct Shown {
    ended: Option<u64>,
}

pub(crate) async fn show(
    session: Session,
    visitor: Visitor,
    wants: Wants,
    Query(shown): Query<Shown>,
) -> Result<Response> {
    let devices = session.devices().await?;
    Ok(wants.see(&devices, || page(&visitor, &devices, shown.ended)))
}

/// An id is not secret, but it ends no other user's session: the library searches only this user's sessions.
///
/// Whoever has only stolen a cookie cannot log the user out (OWASP ASVS 5.0 §7.5.2): to end other sessions takes a
/// recent log-in, or the password.
pub(crate) async fn log_out(
    session: Session,
    visitor: Visitor,
    wants: Wants,
    Path(id): Path<String>,
) -> Result<Response> {
    let id: Option<SessionId> = id.parse().ok();
    let is_own = id.is_some() && id == session.id();
    if !is_own && let Some(page) = confirm::ask_again(&session, &visitor, wants, "/devices")? {
        return Ok(page);
    }
    let ended = match id {
        Some(id) => session.log_out_device(id).await?,
        None => false,
    };
    if !ended {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "You have no such device."));
    }
    let next = if session.id().is_some() { "/devices?ended=1" } else { "/" };
    Ok(wants.done(StatusCode::NO_CONTENT, next))
}

pub(crate) async fn log_out_others(
    session: Session,
    visitor: Visitor,
    wants: Wants,
) -> Result<Response> {
    if let Some(page) = confirm::ask_again(&session, &visitor, wants, "/devices")? {
        return Ok(page);
    }
    let revocation = session.log_out_others().await?;
    let next = format!("/devices?ended={}", revocation.ended);
    Ok(account::ended(revocation, wants, &next))
}

pub(crate) async fn log_out_everywhere(
    session: Session,
    visitor: Visitor,
    wants: Wants,
) -> Result<Response> {
    if let Some(page) = confirm::ask_again(&session, &visitor, wants, "/devices")? {
        return Ok(page);
    }
    Ok(account::ended(session.log_out_everywhere().await?, wants, "/"))
}

fn page(visitor: &Visitor, devices: &[Device], ended: Option<u64>) -> Markup {
    let content = html! {
        p.lead { "You are logged in here. If you do not know one of them, log it out and change your password." }
        @if let Some(ended) = ended {
            p.notice role="status" {
                @match ended {
                    0 => "No other device was logged in.",
                    1 => "One device was logged out.",
                    _ => { (ended) " devices were logged out." }
                }
            }
        }
        ul.devices { @for device in devices { (entry(device)) } }
        div.actions {
            @if devices.len() > 1 {
                form method="post" action="/logout-others" { button.button { "Log out all others" } }
            }
            form method="post" action="/logout-everywhere" { button.button.danger { "Log out everywhere" } }
        }
    };
    visitor.account_page("Your devices", &content)
}

fn entry(device: &Device) -> Markup {
    let name = device_name(device.user_agent.as_deref());
    html! {
        li.device.panel.current[device.current] {
            (icon(&name))
            div.what {
                h2 { (name) @if device.current { " " span.badge { "This device" } } }
                p.quiet {
                    @if device.current { "Here, now" } @else { "Last seen " (moment(device.last_seen_at)) }
                    @if let Some(ip) = device.ip { " · " (ip) }
                }
                p.quiet { "Since " (day(device.created_at)) }
            }
            form method="post" action={ "/devices/" (device.id) "/log-out" } {
                button.button.small { "Log out" span.hidden { " " (name) } }
            }
        }
    }
}

fn icon(name: &str) -> Markup {
    let shape = if ["iOS", "Android"].iter().any(|system| name.ends_with(system)) {
        r#"<rect x="7" y="2.5" width="10" height="19" rx="2.2"/><path d="M11 18.5h2"/>"#
    } else if name.contains(" on ") {
        r#"<rect x="4" y="4.5" width="16" height="11" rx="1.6"/><path d="M2 19h20"/>"#
    } else {
        r#"<rect x="3" y="4" width="18" height="16" rx="2"/><path d="m7 9 3 3-3 3M12.5 15.5H17"/>"#
    };
    html! { svg.icon viewBox="0 0 24 24" aria-hidden="true" { (PreEscaped(shape)) } }
}
