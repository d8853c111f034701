//! Actions that need more than a stolen cookie: a log-in within the last minutes, or the password once more.

use axum::{
    extract::Query,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use sessile::{ErrorKind, Session, http::local_path, minutes};

use crate::{
    account::{self, GoOn},
    answer::Wants,
    input::Input,
    page::{Visitor, log_out_button},
    refusal::Result,
};

/// The page that asks for the password, if the last authentication is older than five minutes. After it, the browser goes
/// on to `next`. A script gets an error instead.
pub(crate) fn ask_again(
    session: &Session,
    visitor: &Visitor,
    wants: Wants,
    next: &str,
) -> Result<Option<Response>> {
    match session.require_recent(minutes(5)) {
        Ok(()) => Ok(None),
        Err(error)
            if error.kind() == ErrorKind::ReauthenticationRequired && wants == Wants::Html =>
        {
            Ok(Some((StatusCode::FORBIDDEN, page(visitor, next, None)).into_response()))
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
pub(crate) struct Confirmation {
    password: String,
    next: Option<String>,
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
    let next = local(confirmation.next.as_deref());
    match account::check_password(&confirmation.password) {
        Err(refusal) if wants == Wants::Html => {
            let page = page(&visitor, next, Some(&refusal.message));
            Ok((refusal.status, page).into_response())
        }
        Err(refusal) => Err(refusal),
        Ok(()) => {
            session.reauthenticate().await?;
            Ok(account::answer_as_me(&session, wants, next))
        }
    }
}

pub(crate) async fn form(
    session: Session,
    visitor: Visitor,
    Query(go_on): Query<GoOn>,
) -> Result<Markup> {
    match session.user_id() {
        Some(_) => Ok(page(&visitor, local(go_on.next.as_deref()), None)),
        None => Err(account::log_in_first()),
    }
}

fn local(next: Option<&str>) -> &str {
    next.and_then(local_path).unwrap_or("/me")
}

fn page(visitor: &Visitor, next: &str, error: Option<&str>) -> Markup {
    let content = html! {
        section.narrow {
            h1 { "It is you, isn’t it?" }
            p.lead { "You logged in a while ago. Please give your password once more." }
            @if let Some(error) = error { p.notice.bad role="alert" { (error) } }
            form.panel.stack method="post" action="/confirm" {
                input type="hidden" name="next" value=(next);
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
