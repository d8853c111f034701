//! A web console for the sessions that [`sessile`] keeps. It finds a user's sessions as you type the id, shows what
//! happened to them, ends them with a reason, and tells who ended which. Its overview has live figures and plots.
//!
//! It is one axum [`Router`](axum::Router), without a build step and without files beside the program. The pages work
//! without script and better with it, on a phone, by keyboard, and in the dark. Postgres and SQLite.
//!
//! # In an application
//!
//! ```
//! use axum::{Router, extract::FromRequestParts, http::request::Parts, routing::get};
//! use sessile::{Session, SessionLayer, Sessions};
//! use sessile_console::{Access, Console, Refusal};
//!
//! /// Who may use the console: the application's own log-in decides.
//! async fn guard(mut request: Parts) -> Result<Access, Refusal> {
//!     let session = Session::from_request_parts(&mut request, &()).await?;
//!     match session.user_id().as_deref() {
//!         Some("grace") => Ok(Access::full("grace")),
//!         Some("alan") => Ok(Access::read_only("alan")), // May look, and not end sessions.
//!         Some(_) => Err(Refusal::not_allowed()),
//!         None => Err(Refusal::not_logged_in()),
//!     }
//! }
//!
//! fn app(pool: sqlx::PgPool, sessions: Sessions) -> Router {
//!     let console = Console::new(pool, guard).base_path("/admin/sessions");
//!     Router::new()
//!         .route("/", get(|| async { "the application" }))
//!         .merge(console.router())
//!         .layer(SessionLayer::new(sessions))
//! }
//! ```
//!
//! The console is then at `/admin/sessions/`. `cargo run -p sessile-console --example mounted` shows it. [`Guard`] has a
//! longer example.
//!
//! # As a program
//!
//! [`Standalone`] serves the console at an address of its own, for one person who has the database's URL. The command
//! `sessile console` uses it.
//!
//! # What it costs
//!
//! With a million sessions and two million events on Postgres, each page takes well below 200 ms. No page reads a whole
//! table: large numbers come from the database's statistics, and the page then says "about". Searches that no index
//! answers are made on request only, say so, and read a bounded number of rows for each page. All viewers of the
//! overview share its figures, which are asked at most every three seconds while somebody looks. After a start, they
//! are counted in the background, the events of two weeks among them, and appear on the first overview when that is done.
//!
//! On Postgres, to look, the database's user needs only the right to read the views: see `docs/operations.md`.
//!
//! # How it is protected
//!
//! - Nobody gets in without the guard's consent. [`Console::new`] takes a guard, so no console is open by accident.
//! - Forms are accepted only from the console's own pages: by [`sessile::CrossSiteLayer`], and by a value in each form
//!   that is bound to the browser and the person.
//! - The Content-Security-Policy allows only the console's own style and script. Every text is escaped, and characters
//!   that would be invisible are shown.
//! - The pages contain neither secrets nor the data of sessions.
//! - Each end of a session is recorded with its reason and with `console:NAME` as the actor.
//!
//! Behind a reverse proxy, let the proxy pass on `Host`, or call [`Console::allow_origin`]. Let it also set
//! `X-Forwarded-Proto`, or call [`Console::https`]: then browsers protect the console's own cookie with a `__Secure-` or
//! `__Host-` name.

mod access;
mod assets;
mod console;
mod device_name;
mod door;
mod figures;
mod flight;
mod form_token;
mod link;
mod links;
mod page;
mod pages;
mod plot;
mod problem;
mod standalone;
mod text;

pub use sessile_admin::Database;

pub use self::{
    access::{Access, Guard, Refusal, is_poll},
    console::Console,
    standalone::{Bound, Standalone},
};
