//! Actions that need more than a stolen cookie: a log-in within the last minutes.

use axum::{
    extract::Query,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use sessile::{Session, minutes};

use crate::{
    account,
    answer::Wants,
    input::Input,
    page::{Visitor, log_out_button},
    refusal::Result,
};

#[derive(Deserialize)]
pub(crate) struct Changed {
    ended: Option<u64>,
}

/// The order matters: first the thief's session ends, and then this session gets a cookie that the thief
/// never saw.
pub(crate) async fn change(session: Session, visitor: Visitor, wants: Wants) -> Result<Response> {
    if let Err(error) = session.require_recent(minutes(5)) {
        let is_old = error.kind() == sessile::ErrorKind::ReauthenticationRequired;
        if is_old && wants == Wants::Html {
            return Ok((StatusCode::FORBIDDEN, confirm_page(&visitor, None)).into_response());
        }
        return Err(error.into());
    }
    let revocation = session.log_out_others().await?;
    session.renew().await?;
    let next = format!("/password?ended={}", revocation.ended);
    Ok(account::ended(revocation, wants, &next))
}

pub(crate) async fn form(
    session: Session,
    visitor: Visitor,
    Query(changed): Query<Changed>,
) -> Result<Markup> {
    if session.user_id().is_none() {
        return Err(account::log_in_first());
    }
    let content = html! {
        @if let Some(ended) = changed.ended {
            p.notice role="status" {
                "Done. This device has a new cookie, and "
                @match ended {
                    0 => "no other device was logged in.",
                    1 => "one other device was logged out.",
                    _ => { (ended) " other devices were logged out." }
                }
            }
        }
        form.panel.stack method="post" action="/password" {
            p {
                "Everybody’s password here is " code { "demo" } ", and it stays so: there is nothing to type. "
                "What a change of password does to your sessions is real. Every other device is logged out, and "
                "this one gets a new cookie."
            }
            p.quiet { "If your log-in is older than five minutes, you are asked for the password first." }
            button.button.primary { "Change the password" }
        }
    };
    Ok(visitor.account_page("Password", &content))
}

#[derive(Deserialize)]
pub(crate) struct Confirmation {
    password: String,
}

pub(crate) async fn confirm(
    session: Session,
    visitor: Visitor,
    wants: Wants,
    Input(confirmation): Input<Confirmation>,
) -> Result<Response> {
    if session.user_id().is_none() {
        return Err(account::log_in_first());
    }
    match account::check_password(&confirmation.password) {
        Err(refusal) if wants == Wants::Html => {
            let page = confirm_page(&visitor, Some(&refusal.message));
            Ok((refusal.status, page).into_response())
        }
        Err(refusal) => Err(refusal),
        Ok(()) => {
            session.reauthenticate().await?;
            Ok(account::answer_as_me(&session, wants, "/password"))
        }
    }
}

pub(crate) async fn confirm_form(session: Session, visitor: Visitor) -> Result<Markup> {
    match session.user_id() {
        Some(_) => Ok(confirm_page(&visitor, None)),
        None => Err(account::log_in_first()),
    }
}

fn confirm_page(visitor: &Visitor, error: Option<&str>) -> Markup {
    let content = html! {
        section.narrow {
            h1 { "It is you, isn’t it?" }
            p.lead { "You logged in a while ago. Please give your password once more." }
            @if let Some(error) = error { p.notice.bad role="alert" { (error) } }
            form.panel.stack method="post" action="/confirm" {
                input type="hidden" name="user" value=(visitor.user.as_deref().unwrap_or_default()) autocomplete="username";
                div.field {
                    label for="password" { "Password" }
                    input id="password" name="password" type="password" required autocomplete="current-password";
                }
                button.button.primary.wide { "Go on" }
            }
            p.quiet { "Is it somebody else?" }
            (log_out_button())
        }
    };
    visitor.page("It is you, isn’t it?", &content)
}
