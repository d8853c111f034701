//! Logging in and out, and the page about it.

use axum::{
    Json,
    extract::{Query, State},
    http::{HeaderName, StatusCode},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};
use sessile::{Revocation, Session, http::local_path};

use crate::{
    answer::Wants,
    customers::Customers,
    input::{Input, checkbox},
    moment::moment,
    page::Visitor,
    preferences,
    refusal::{Refusal, Result},
};

/// The password of every user. A real shop stores slow hashes, and slows down guessing.
const PASSWORD: &str = "demo";
const LONGEST_NAME: usize = 40;

pub(crate) fn check_password(password: &str) -> Result<()> {
    match password == PASSWORD {
        true => Ok(()),
        false => {
            Err(Refusal::new(StatusCode::UNAUTHORIZED, "That is not the password. It is “demo”."))
        }
    }
}

fn check_name(name: &str) -> Result<&str> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(Refusal::unprocessable("A name has 1 to 40 characters."));
    }
    Ok(name)
}

#[derive(Deserialize)]
pub(crate) struct Credentials {
    user: String,
    password: String,
    #[serde(default, deserialize_with = "checkbox")]
    remember: bool,
    next: Option<String>,
}

pub(crate) async fn log_in(
    State(customers): State<Customers>,
    session: Session,
    visitor: Visitor,
    wants: Wants,
    Input(credentials): Input<Credentials>,
) -> Result<Response> {
    let next = credentials.next.as_deref().and_then(local_path).unwrap_or("/");
    match try_log_in(&customers, &session, &credentials).await {
        Ok(()) => Ok(wants.done(Json(me(&session)), next)),
        Err(refusal) if wants == Wants::Html && refusal.status.is_client_error() => {
            let page = form(&visitor, credentials.user.trim(), next, Some(&refusal.message));
            Ok((refusal.status, page).into_response())
        }
        Err(refusal) => Err(refusal),
    }
}

async fn try_log_in(
    customers: &Customers,
    session: &Session,
    credentials: &Credentials,
) -> Result<()> {
    let user = check_name(&credentials.user)?;
    check_password(&credentials.password)?;
    let preferences = preferences::meet(customers, session, user).await?;
    session.log_in(user).remember_me(credentials.remember).await?;
    for (key, value) in preferences {
        session.insert(&key, value)?;
    }
    Ok(())
}

#[derive(Deserialize)]
pub(crate) struct GoOn {
    pub(crate) next: Option<String>,
}

pub(crate) async fn log_in_form(visitor: Visitor, Query(go_on): Query<GoOn>) -> Markup {
    let next = go_on.next.as_deref().and_then(local_path).unwrap_or("/");
    form(&visitor, "", next, None)
}

fn form(visitor: &Visitor, user: &str, next: &str, error: Option<&str>) -> Markup {
    let content = html! {
        section.narrow {
            h1 { "Log in" }
            p.lead { "Any name will do. The password is " code { "demo" } "." }
            @if let Some(error) = error { p.notice.bad role="alert" { (error) } }
            form.panel.stack method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                div.field {
                    label for="user" { "Name" }
                    input id="user" name="user" value=(user) required maxlength=(LONGEST_NAME)
                        autocomplete="username" autocapitalize="none" spellcheck="false";
                }
                div.field {
                    label for="password" { "Password" }
                    input id="password" name="password" type="password" required autocomplete="current-password";
                }
                label.check {
                    input type="checkbox" name="remember";
                    span { "Stay logged in for 30 days" }
                }
                button.button.primary.wide { "Log in" }
            }
            p.quiet { "What is in your cart stays in it." }
        }
    };
    visitor.page("Log in", &content)
}

/// The logged-in user, as JSON. `None` if nobody is logged in.
fn me(session: &Session) -> Option<Value> {
    Some(json!({
        "user": session.user_id()?,
        "session_id": session.id(),
        "authenticated_at": session.authenticated_at(),
        "expires_at": session.expires_at(),
    }))
}

pub(crate) fn log_in_first() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "Nobody is logged in.")
}

pub(crate) async fn show(session: Session, visitor: Visitor, wants: Wants) -> Result<Response> {
    let me = me(&session).ok_or_else(log_in_first)?;
    Ok(wants.see(me, || page(&session, &visitor)))
}

pub(crate) fn answer_as_me(session: &Session, wants: Wants, next: &str) -> Response {
    wants.done(Json(me(session)), next)
}

fn page(session: &Session, visitor: &Visitor) -> Markup {
    let content = html! {
        dl.facts.panel {
            div { dt { "Name" } dd { (visitor.user.as_deref().unwrap_or_default()) } }
            @if let Some(id) = session.id() { div { dt { "Session" } dd { code { (id) } } } }
            @if let Some(at) = session.authenticated_at() { div { dt { "Logged in" } dd { (moment(at)) } } }
            @if let Some(at) = session.expires_at() { div { dt { "Ends" } dd { (moment(at)) } } }
        }
    };
    visitor.account_page("Your account", &content)
}

/// 204, or the next page. A header tells how many sessions ended.
pub(crate) fn ended(revocation: Revocation, wants: Wants, next: &str) -> Response {
    const ENDED: HeaderName = HeaderName::from_static("x-sessions-ended");
    let response = wants.done(StatusCode::NO_CONTENT, next);
    ([(ENDED, revocation.ended.to_string())], response).into_response()
}

pub(crate) async fn log_out(session: Session, wants: Wants) -> Result<Response> {
    Ok(ended(session.log_out().await?, wants, "/"))
}
