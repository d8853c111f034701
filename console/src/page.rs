//! The common parts of all pages.

use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sessile_admin::Kind;

use crate::{
    access::Access,
    assets::{ICON, SCRIPT, STYLE},
    door::Visitor,
    links::Links,
};

pub(crate) const HTML: &str = "text/html; charset=utf-8";

/// What the frame of a page shows.
pub(crate) struct Frame<'a> {
    links: &'a Links,
    /// `None` for somebody whom the guard has not let in.
    visitor: Option<(&'a Access, Kind)>,
    place: Place,
    query: &'a str,
}

/// The entry of the navigation that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Overview,
    Events,
    EndAll,
    Other,
}

impl<'a> Frame<'a> {
    pub(crate) fn of(visitor: &'a Visitor) -> Self {
        let shared = &visitor.shared;
        let access = Some((&visitor.access, shared.database.kind()));
        Self { links: &shared.links, visitor: access, place: Place::Other, query: "" }
    }

    pub(crate) fn start(&self) -> String {
        self.links.overview()
    }

    pub(crate) fn of_stranger(links: &'a Links) -> Self {
        Self { links, visitor: None, place: Place::Other, query: "" }
    }
}

/// A page in the frame.
pub(crate) fn page(visitor: &Visitor, place: Place, title: &str, content: &Markup) -> Response {
    finished(visitor, &Frame { place, ..Frame::of(visitor) }, title, content)
}

/// A page in the frame, with a text in the search.
pub(crate) fn found(visitor: &Visitor, query: &str, title: &str, content: &Markup) -> Response {
    finished(visitor, &Frame { query, ..Frame::of(visitor) }, title, content)
}

fn finished(visitor: &Visitor, frame: &Frame<'_>, title: &str, content: &Markup) -> Response {
    let mut response = render(frame, title, content).into_response();
    let cookie = visitor.form.set_cookie(visitor.scope());
    response.headers_mut().extend(cookie);
    response
}

pub(crate) fn render(frame: &Frame<'_>, title: &str, content: &Markup) -> Markup {
    let links = frame.links;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · Sessions" }
                link rel="icon" href=(links.to(&ICON.path)) type="image/svg+xml";
                link rel="stylesheet" href=(links.to(&STYLE.path));
                script src=(links.to(&SCRIPT.path)) defer {}
            }
            body {
                a.skip href="#content" { "To the content" }
                (header(frame))
                main #content tabindex="-1" { (content) }
                footer {
                    div.inside {
                        p { "sessile " (env!("CARGO_PKG_VERSION")) @if let Some((_, kind)) = frame.visitor { " on " (name(kind)) } }
                        @if frame.visitor.is_some() {
                            p.keys { kbd { "/" } " search" }
                            noscript { p { "Without script, moments are in UTC, and a page shows new figures when it is loaded again." } }
                        }
                    }
                }
            }
        }
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Postgres => "Postgres",
        Kind::Sqlite => "SQLite",
    }
}

fn header(frame: &Frame<'_>) -> Markup {
    let links = frame.links;
    let entries = [
        (Place::Overview, links.overview(), "Overview"),
        (Place::Events, links.to("/events"), "Who did what"),
        (Place::EndAll, links.end_all(), "End all"),
    ];
    html! {
        header.bar {
            div.inside {
                a.brand href=(links.overview()) { (PreEscaped(include_str!("icon.svg").replacen("<svg ", "<svg aria-hidden=\"true\" ", 1))) span { "Sessions" } }
                @if let Some((access, _)) = frame.visitor {
                    nav aria-label="Console" {
                        @for (place, link, label) in entries {
                            @if place != Place::EndAll || access.may_end() {
                                a href=(link) aria-current=[(place == frame.place).then_some("page")] { (label) }
                            }
                        }
                    }
                    (search(links, frame.query))
                    p.who title=(if access.may_end() { "You may end sessions" } else { "You may look, and not end sessions" }) {
                        (crate::text::foreign(access.name()))
                        @if !access.may_end() { span.badge { "may only look" } }
                    }
                }
            }
        }
    }
}

fn search(links: &Links, query: &str) -> Markup {
    html! {
        form.search role="search" action=(links.to("/search")) method="get" data-suggest=(links.to("/search/suggest")) {
            label.hidden for="search" { "Search by the beginning of a user's id, or by a session's id" }
            input #search type="search" name="q" value=(query) placeholder="User or session id" maxlength="255"
                autocomplete="off" autocapitalize="none" spellcheck="false" aria-keyshortcuts="/";
            button { "Search" }
            ul #suggestions role="listbox" aria-label="Users and sessions" hidden {}
            p #suggested .hidden role="status" {}
        }
    }
}
