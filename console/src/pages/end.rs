//! Ending sessions: a page that asks, and the form that it sends.

use axum::{
    Form,
    extract::{Path, Query},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use sessile_admin::{Ends, InRealm};

use super::{
    checked,
    parts::{device, now_is},
    session::session_id,
};
use crate::{
    door::Visitor,
    page::{self, Place},
    problem::{Problem, Result},
    text::{count, foreign, moment, number, realm, sessions},
};

/// The longest reason, in bytes: the library's own limit.
const LONGEST_REASON: usize = 500;

/// What a person types to end everybody's sessions.
const WORDS: &str = "end all sessions";

#[derive(Deserialize)]
pub(crate) struct OfUser {
    id: String,
}

#[derive(Deserialize)]
pub(crate) struct OfSession {
    user: Option<String>,
}

/// The form.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Sent {
    token: String,
    reason: String,
    /// Only of the form that ends everybody's sessions.
    realm: String,
    words: String,
}

impl Sent {
    /// Checks who sent the form. Returns what is wrong with it, in words.
    fn check(&self, visitor: &Visitor, words: Option<&str>) -> Result<Option<&'static str>> {
        visitor.check_may_end()?;
        if !visitor.form.fits(&self.token) {
            return Err(Problem::forged());
        }
        let reason = self.reason.trim();
        Ok(if reason.is_empty() {
            Some("Give a reason.")
        } else if reason.len() > LONGEST_REASON {
            Some("The reason is too long: it may have 500 bytes, which are 500 English letters.")
        } else if reason.contains(char::is_control) {
            Some("The reason has a control character, such as a line break.")
        } else if words.is_some_and(|words| self.words.trim() != words) {
            Some("The words are not the same.")
        } else {
            None
        })
    }
}

/// The page that asks, with what was wrong with the form that was sent.
struct Asking<'a> {
    title: &'a str,
    question: Markup,
    consequence: Markup,
    /// Fields before and after the reason.
    before: Markup,
    after: Markup,
    action: String,
    button: String,
    back: String,
    sent: &'a Sent,
    wrong: Option<&'static str>,
}

impl Asking<'_> {
    async fn answer(self, visitor: &Visitor, place: Place) -> Result<Response> {
        let wrong = self.wrong;
        let actor = visitor.shared.database.actor(&visitor.access.actor()).await?;
        let content = html! {
            section.narrow {
                h1 { (self.question) }
                p.lead { (self.consequence) }
                form.ask method="post" action=(self.action) {
                    input type="hidden" name="token" value=(visitor.form.value());
                    (self.before)
                    label for="reason" { "Reason" }
                    input #reason name="reason" value=(self.sent.reason) required maxlength=(LONGEST_REASON) autocomplete="off" autofocus
                        aria-describedby="reason-help" aria-invalid=[wrong.map(|_| "true")];
                    p #reason-help .quiet { "The events keep it, with your name: " (foreign(&actor)) "." }
                    (self.after)
                    @if let Some(wrong) = wrong { p.bad role="alert" { (wrong) } }
                    p.pages { button.danger { (self.button) } a.button href=(self.back) { "Cancel" } }
                }
            }
        };
        let response = page::page(visitor, place, self.title, &content);
        Ok(if wrong.is_some() {
            (StatusCode::UNPROCESSABLE_ENTITY, response).into_response()
        } else {
            response
        })
    }
}

async fn end(visitor: &Visitor, realm: &str, which: Ends<'_>, sent: &Sent) -> Result<u64> {
    let database = &visitor.shared.database;
    Ok(database.end(realm, which, Some(sent.reason.trim()), &visitor.access.actor()).await?)
}

pub(crate) async fn confirm_session(
    visitor: Visitor,
    Path(id): Path<String>,
    Query(of): Query<OfSession>,
) -> Result<Response> {
    visitor.check_may_end()?;
    ask_session(&visitor, &id, &of, &Sent::default(), None).await
}

async fn ask_session(
    visitor: &Visitor,
    id: &str,
    of: &OfSession,
    sent: &Sent,
    wrong: Option<&'static str>,
) -> Result<Response> {
    let id = session_id(id)?;
    let database = &visitor.shared.database;
    let Some(session) = database.session(id).await? else {
        return Ok(gone(visitor, id, of.user.as_deref()));
    };
    let user = session.user_id.as_deref();
    let asking = Asking {
        title: "End a session",
        question: html! { "End this session?" },
        consequence: html! {
            (now_is(database.now().await?))
            "This ends 1 session of " @match user { Some(user) => strong { (foreign(user)) }, None => "somebody who is not logged in" } ": "
            (device(session.user_agent.as_deref())) ", last seen " (moment(session.last_seen_at)) ". The browser is logged out at its next request."
        },
        before: html! {},
        after: html! {},
        action: visitor.links().end_session(id, user),
        button: "End this session".to_owned(),
        back: visitor.links().session(id, user),
        sent,
        wrong,
    };
    asking.answer(visitor, Place::Other).await
}

/// Back to the page of a session that had ended before.
fn gone(visitor: &Visitor, id: uuid::Uuid, user: Option<&str>) -> Response {
    let user = user.unwrap_or_default();
    let link = visitor.links().with(&format!("/session/{id}"), &[("user", user), ("ended", "0")]);
    Redirect::to(&link).into_response()
}

pub(crate) async fn session(
    visitor: Visitor,
    Path(id): Path<String>,
    Query(of): Query<OfSession>,
    Form(sent): Form<Sent>,
) -> Result<Response> {
    if let wrong @ Some(_) = sent.check(&visitor, None)? {
        return ask_session(&visitor, &id, &of, &sent, wrong).await;
    }
    let id = session_id(&id)?;
    let database = &visitor.shared.database;
    // The row says which realm it is of.
    let Some(session) = database.session(id).await? else {
        return Ok(gone(&visitor, id, of.user.as_deref()));
    };
    let ended = end(&visitor, &session.realm, Ends::Session(id), &sent).await?;
    let user = session.user_id.as_deref().unwrap_or_default();
    let link = visitor
        .links()
        .with(&format!("/session/{id}"), &[("user", user), ("ended", &ended.to_string())]);
    Ok(Redirect::to(&link).into_response())
}

pub(crate) async fn confirm_user(visitor: Visitor, Query(of): Query<OfUser>) -> Result<Response> {
    visitor.check_may_end()?;
    ask_user(&visitor, of.id, &Sent::default(), None).await
}

async fn ask_user(
    visitor: &Visitor,
    id: String,
    sent: &Sent,
    wrong: Option<&'static str>,
) -> Result<Response> {
    let id = checked(id)?;
    let realms = visitor.shared.database.realms_of_user(&id).await?;
    let all: u64 = realms.iter().map(|one| one.sessions).sum();
    let asking = Asking {
        title: "End all sessions of a user",
        question: html! { "End all sessions of " (foreign(&id)) "?" },
        consequence: html! {
            "This ends " strong { (sessions(all)) } " of " strong { (foreign(&id)) } (in_realms(&realms))
            ". It also refuses log-ins that this user has begun. The user can log in again afterwards."
        },
        before: html! {},
        after: html! {},
        action: visitor.links().end_user(&id),
        button: format!("End {}", sessions(all)),
        back: visitor.links().user(&id),
        sent,
        wrong,
    };
    asking.answer(visitor, Place::Other).await
}

fn in_realms(realms: &[InRealm]) -> Markup {
    html! {
        @if realms.iter().any(|one| !one.realm.is_empty()) {
            " (by realm: " @for (index, one) in realms.iter().enumerate() { @if index > 0 { ", " } (realm(&one.realm)) " " (number(one.sessions)) } ")"
        }
    }
}

pub(crate) async fn user(
    visitor: Visitor,
    Query(of): Query<OfUser>,
    Form(sent): Form<Sent>,
) -> Result<Response> {
    if let wrong @ Some(_) = sent.check(&visitor, None)? {
        return ask_user(&visitor, of.id, &sent, wrong).await;
    }
    let id = checked(of.id)?;
    let database = &visitor.shared.database;
    let mut realms: Vec<_> =
        database.realms_of_user(&id).await?.into_iter().map(|one| one.realm).collect();
    if realms.is_empty() {
        // Nothing to end, but log-ins in flight are refused.
        realms.push(String::new());
    }
    let mut ended = 0;
    for realm in realms {
        ended += end(&visitor, &realm, Ends::User(&id), &sent).await?;
    }
    let link = visitor.links().with("/user", &[("id", &id), ("ended", &ended.to_string())]);
    Ok(Redirect::to(&link).into_response())
}

pub(crate) async fn confirm_all(visitor: Visitor) -> Result<Response> {
    visitor.check_may_end()?;
    ask_all(&visitor, &Sent::default(), None).await
}

async fn ask_all(visitor: &Visitor, sent: &Sent, wrong: Option<&'static str>) -> Result<Response> {
    let database = &visitor.shared.database;
    let (live, realms) = tokio::try_join!(database.live(), database.realms())?;
    let asking = Asking {
        title: "End all sessions",
        question: html! { "End all sessions of everybody?" },
        consequence: html! {
            "There are " strong { (count(live.all)) } " active sessions" @if realms.len() > 1 { " in all realms together" } ". This ends "
            @if realms.len() > 1 { "those of one realm" } @else { "all of them" }
            ", also those without a user, and refuses log-ins that have begun. Everybody has to log in again."
        },
        before: html! {
            @if realms.len() > 1 {
                fieldset {
                    legend { "Realm" }
                    @for one in &realms {
                        label.choice { input type="radio" name="realm" value=(one) checked[*one == sent.realm]; span { (realm(one)) } }
                    }
                }
            }
        },
        after: html! {
            label for="words" { "Type “" (WORDS) "” to confirm" }
            input #words name="words" value=(sent.words) required autocomplete="off" autocapitalize="none" spellcheck="false";
        },
        action: visitor.links().end_all(),
        button: "End all sessions".to_owned(),
        back: visitor.links().overview(),
        sent,
        wrong,
    };
    asking.answer(visitor, Place::EndAll).await
}

pub(crate) async fn all(visitor: Visitor, Form(sent): Form<Sent>) -> Result<Response> {
    if let wrong @ Some(_) = sent.check(&visitor, Some(WORDS))? {
        return ask_all(&visitor, &sent, wrong).await;
    }
    let ended = end(&visitor, &sent.realm, Ends::All, &sent).await?;
    let link = visitor.links().with("/", &[("ended", &ended.to_string())]);
    Ok(Redirect::to(&link).into_response())
}
