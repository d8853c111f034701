//! The change of the password, and what it does to sessions.

use axum::{extract::Query, response::Response};
use maud::{Markup, html};
use serde::Deserialize;
use sessile::Session;

use crate::{account, answer::Wants, confirm, page::Visitor, refusal::Result};

#[derive(Deserialize)]
pub(crate) struct Changed {
    ended: Option<u64>,
}

/// The order matters: first the thief's session ends, and then this session gets a cookie that the thief
/// never saw.
pub(crate) async fn change(session: Session, visitor: Visitor, wants: Wants) -> Result<Response> {
    if let Some(page) = confirm::ask_again(&session, &visitor, wants, "/password")? {
        return Ok(page);
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
