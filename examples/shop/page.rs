//! The common parts of all pages: head, header, footer, style.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::LazyLock,
};

use axum::{
    extract::{FromRequestParts, RawQuery},
    http::{
        header::{CACHE_CONTROL, CONTENT_TYPE},
        request::Parts,
    },
    response::IntoResponse,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sessile::Session;

use crate::{cart::Cart, preferences};

const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("art/icon.svg");

/// Part of the style's address, so that a browser may keep the file forever and still gets a new one.
static STYLE_VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    STYLE.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
});

pub(crate) async fn style(RawQuery(version): RawQuery) -> impl IntoResponse {
    let cache = match version.as_deref() == Some(STYLE_VERSION.as_str()) {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, cache)], STYLE)
}

pub(crate) async fn icon() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, "public, max-age=86400")], ICON)
}

/// The data about a visitor that the frame of every page shows.
pub(crate) struct Visitor {
    pub(crate) user: Option<String>,
    in_cart: u64,
    theme: &'static str,
    size: &'static str,
    path: String,
}

impl Visitor {
    pub(crate) fn of(session: &Session, path: String) -> Self {
        Self {
            user: session.user_id(),
            in_cart: Cart::of(session).map_or(0, |cart| cart.count()),
            theme: preferences::theme(session),
            size: preferences::size(session),
            path,
        }
    }

    pub(crate) fn page(&self, title: &str, content: &Markup) -> Markup {
        render(Some(self), title, content)
    }

    /// A page about the user, with links to the others.
    pub(crate) fn account_page(&self, title: &str, content: &Markup) -> Markup {
        let tabs = [
            ("/me", "Account"),
            ("/devices", "Devices"),
            ("/preferences", "Preferences"),
            ("/password", "Password"),
        ];
        let content = html! {
            section.account {
                header {
                    div {
                        @if let Some(user) = &self.user { p.quiet { "Logged in as " strong { (user) } } }
                        h1 { (title) }
                    }
                    @if self.user.is_some() { (log_out_button()) }
                }
                @if self.user.is_some() {
                    nav.tabs aria-label="Account" {
                        @for (path, label) in tabs {
                            a href=(path) aria-current=[(path == self.path).then_some("page")] { (label) }
                        }
                    }
                }
                (content)
            }
        };
        self.page(title, &content)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = sessile::Error;

    /// The handler's session and this one are the same.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let session = Session::from_request_parts(parts, state).await?;
        Ok(Self::of(&session, parts.uri.path().to_owned()))
    }
}

/// On every page about the user (OWASP ASVS 5.0 §7.4.4).
pub(crate) fn log_out_button() -> Markup {
    html! { form.log-out method="post" action="/logout" { button.button.small { "Log out" } } }
}

/// Without a visitor if the visitor is unknown.
pub(crate) fn render(visitor: Option<&Visitor>, title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[visitor.map(|visitor| visitor.theme)] data-size=[visitor.map(|visitor| visitor.size)] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Holdfast" }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href={ "/style.css?" (*STYLE_VERSION) };
            }
            body {
                a.skip href="#content" { "To the content" }
                (header(visitor))
                main #content { (content) }
                (footer(visitor))
            }
        }
    }
}

fn header(visitor: Option<&Visitor>) -> Markup {
    html! {
        header.bar {
            div.inside {
                a.brand href="/" { (PreEscaped(ICON)) span { "Holdfast" } }
                @if let Some(visitor) = visitor {
                    nav aria-label="Shop" {
                        @match &visitor.user {
                            Some(user) => a.who href="/me" { (symbol(PERSON)) span.name { (user) } },
                            None => a.who href="/login" { (symbol(PERSON)) span { "Log in" } },
                        }
                        a.to-cart href="/cart" {
                            (symbol(CART))
                            span.label { "Cart" }
                            @if visitor.in_cart > 0 {
                                span.count { span.hidden { ", " } (visitor.in_cart) span.hidden { " items" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn footer(visitor: Option<&Visitor>) -> Markup {
    html! {
        footer {
            div.inside {
                p { "A demonstration of " strong { "sessile" } ". Nothing is for sale." }
                @if let Some(visitor) = visitor {
                    form.themes method="post" action="/preferences/theme" {
                        input type="hidden" name="next" value=(visitor.path);
                        span id="theme" { "Theme" }
                        div role="group" aria-labelledby="theme" {
                            @for (value, label) in [("auto", "Auto"), ("light", "Light"), ("dark", "Dark")] {
                                button name="value" value=(value) aria-pressed=(value == visitor.theme) { (label) }
                            }
                        }
                    }
                }
            }
        }
    }
}

const PERSON: &str =
    r#"<circle cx="12" cy="8.2" r="3.7"/><path d="M4.5 20c.8-4 3.7-6 7.5-6s6.7 2 7.5 6"/>"#;
const CART: &str = r#"<path d="M4 9h16l-1.6 9.2a2 2 0 0 1-2 1.8H7.6a2 2 0 0 1-2-1.8zM8 9l2.6-5.5M16 9l-2.6-5.5"/>"#;

fn symbol(shape: &'static str) -> Markup {
    html! { svg.icon viewBox="0 0 24 24" aria-hidden="true" { (PreEscaped(shape)) } }
}
