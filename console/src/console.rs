use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{any, get},
};
use sessile::CrossSiteLayer;
use sessile_admin::Database;

use crate::{
    access::{AnyGuard, Guard},
    assets, device_name, door,
    figures::Figures,
    links::Links,
    pages,
};

/// The console, to be merged into an application's router: see the [docs of the crate](crate).
///
/// It has no default for the guard, so that no console is open by accident:
///
/// ```compile_fail
/// # fn example(pool: sqlx::PgPool) -> axum::Router {
/// sessile_console::Console::new(pool).router()
/// # }
/// ```
#[derive(Debug)]
pub struct Console {
    database: Database,
    guard: AnyGuard,
    base_path: String,
    origins: Vec<String>,
    is_https: bool,
    help: &'static str,
    warms_up: bool,
}

impl Console {
    /// The base path, if none is set: `/sessile`.
    pub const BASE_PATH: &str = "/sessile";

    /// A console over a database, for the people whom the guard lets in. The database is the application's own pool
    /// (`PgPool`, `SqlitePool`), or one that [`Database::open`] opened.
    pub fn new(database: impl Into<Database>, guard: impl Guard) -> Self {
        Self {
            database: database.into(),
            guard: AnyGuard::new(guard),
            base_path: Self::BASE_PATH.to_owned(),
            origins: Vec::new(),
            is_https: false,
            help: "log in to the application as somebody who may use this console",
            warms_up: false,
        }
    }

    /// The path below which browsers see the console: `/admin/sessions`. Default: [`BASE_PATH`](Self::BASE_PATH). An
    /// empty path gives the console all paths of the router.
    ///
    /// A path begins with `/` and has letters, digits, `/`, `-`, `.`, `_` and `~`. [`router`](Self::router) panics if
    /// this is another text.
    #[must_use]
    pub fn base_path(mut self, path: &str) -> Self {
        self.base_path = path.to_owned();
        self
    }

    /// Accepts forms of pages whose address has this origin, such as `https://admin.example.org`. Necessary only if a
    /// proxy in front of the application does not pass on the header `Host`.
    ///
    /// # Errors
    ///
    /// [`Configuration`](sessile::ErrorKind::Configuration) if the text is not an origin.
    pub fn allow_origin(mut self, origin: &str) -> sessile::Result<Self> {
        CrossSiteLayer::new().allow_origin(origin)?;
        self.origins.push(origin.to_owned());
        Ok(self)
    }

    /// Browsers use HTTPS, even if a request does not say so. The console's own cookie is then `Secure` in any case, and
    /// its name begins with `__Host-`, or with `__Secure-` if there is a base path. Necessary only if the application
    /// itself ends TLS, or if a proxy in front of it does not pass on the header `X-Forwarded-Proto`. Default: off.
    #[must_use]
    pub fn https(mut self, is_https: bool) -> Self {
        self.is_https = is_https;
        self
    }

    /// What somebody without access has to do.
    pub(crate) fn help(mut self, sentence: &'static str) -> Self {
        self.help = sentence;
        self
    }

    /// Asks for the figures of the overview at once, before anybody looks.
    pub(crate) fn warm_up(mut self) -> Self {
        self.warms_up = true;
        self
    }

    /// The routes of the console. They begin with its base path, so `merge` them into the application's router, and do
    /// not `nest` them. Put the application's layers around both, so that the guard finds what they add to a request. An
    /// application with a state calls `with_state` before it merges the console.
    ///
    /// # Panics
    ///
    /// If the base path is not a path.
    pub fn router(self) -> Router {
        match Links::new(&self.base_path) {
            Ok(links) => self.router_at(links),
            Err(sentence) => panic!("{sentence}"),
        }
    }

    pub(crate) fn router_at(self, links: Links) -> Router {
        device_name::prepare();
        let base = links.base().to_owned();
        let at = |path: &str| format!("{base}{path}");
        let shared = Arc::new(Shared {
            figures: Figures::new(self.database.clone()),
            database: self.database,
            guard: self.guard,
            links,
            is_https: self.is_https,
            help: self.help,
        });
        if self.warms_up {
            let shared = shared.clone();
            tokio::spawn(async move { tokio::join!(shared.figures.now(), shared.figures.hours()) });
        }
        let mut pages = Router::new()
            .route(&at("/"), get(pages::overview::page))
            .route(&at("/live"), get(pages::overview::live))
            .route(&at("/search"), get(pages::search::page))
            .route(&at("/search/suggest"), get(pages::search::suggest))
            .route(&at("/user"), get(pages::user::page))
            .route(&at("/user/end"), get(pages::end::confirm_user).post(pages::end::user))
            .route(&at("/session/{id}"), get(pages::session::page))
            .route(
                &at("/session/{id}/end"),
                get(pages::end::confirm_session).post(pages::end::session),
            )
            .route(&at("/events"), get(pages::events::page))
            .route(&at("/end"), get(pages::end::confirm_all).post(pages::end::all))
            .route(&at("/{*rest}"), any(pages::not_found));
        if !base.is_empty() {
            pages = pages.route(&base, get(pages::overview::page));
        }
        let mut cross_site = CrossSiteLayer::new();
        for origin in &self.origins {
            // Checked when it was added.
            cross_site = cross_site.clone().allow_origin(origin).unwrap_or(cross_site);
        }
        let forged = {
            let links = shared.links.clone();
            cross_site.answer(move |_, _| door::forged(&links))
        };
        pages
            .layer(middleware::from_fn_with_state(shared.clone(), door::enter))
            .route(&at("/assets/{name}"), get(assets::get))
            .layer(forged)
            .layer(DefaultBodyLimit::max(16 * 1024))
            .layer(middleware::map_response(door::protect))
            .with_state(shared)
    }
}

/// What all requests have in common.
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) guard: AnyGuard,
    pub(crate) links: Links,
    pub(crate) figures: Figures,
    pub(crate) is_https: bool,
    pub(crate) help: &'static str,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("links", &self.links).finish_non_exhaustive()
    }
}
