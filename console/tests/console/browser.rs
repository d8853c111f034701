//! A browser that keeps its cookies, on a router.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{
        HeaderMap, Method, Request, StatusCode,
        header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE},
    },
};
use http_body_util::BodyExt;
use sessile_admin::Database;
use sessile_console::{Access, Console, Refusal};
use tower::ServiceExt;

use crate::support::Db;

pub(crate) const BASE: &str = "/admin/sessions";

/// Every page and form, below the base path. Those with `{id}` need the id of a session.
pub(crate) const ROUTES: &[&str] = &[
    "/",
    "/live",
    "/search?q=ada",
    "/search?ip=203.0.113.7",
    "/search/suggest?q=ada",
    "/user?id=ada",
    "/user/end?id=ada",
    "/session/{id}",
    "/session/{id}?user=ada",
    "/session/{id}/end",
    "/events",
    "/events?kind=revoked&actor=console:&within=3600",
    "/end",
    "/nothing/here",
];

pub(crate) const FORMS: &[&str] = &["/user/end?id=ada", "/session/{id}/end", "/end"];

/// What an overview without figures says.
pub(crate) const UNANSWERED: &str = "The database has not answered yet.";

pub(crate) struct Browser {
    app: Router,
    cookies: Mutex<BTreeMap<String, String>>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Browser {
    pub(crate) fn new(app: Router) -> Self {
        Self { app, cookies: Mutex::default() }
    }

    /// A console at [`BASE`], used by `grace`, who may end sessions.
    pub(crate) async fn of(db: &Db) -> Self {
        Self::with(db, || Ok(Access::full("grace"))).await
    }

    pub(crate) async fn with(
        db: &Db,
        access: impl Fn() -> Result<Access, Refusal> + Clone + Send + Sync + 'static,
    ) -> Self {
        let database = Database::open(&db.url).await.unwrap();
        let guard = move |_| std::future::ready(access());
        Self::new(Console::new(database, guard).base_path(BASE).router())
    }

    /// A page. The overview waits only a moment for its figures: it is loaded again until it has them.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        for _ in 0..600 {
            let answer = self.send(Method::GET, path, &[], "").await;
            if !answer.body.contains(UNANSWERED) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{path}: {UNANSWERED}")
    }

    /// A page that has to be there.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        answer.body
    }

    /// Sends the form of a page: with the page's token, and as a browser does.
    pub(crate) async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.page(path).await;
        let token = between(&page, "name=\"token\" value=\"", "\"").to_owned();
        let fields = [&[("token", token.as_str())], fields].concat();
        self.post(path, &[("sec-fetch-site", "same-origin")], &fields).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(Method::POST, path, headers, &body).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let path = if path.starts_with(BASE) { path.to_owned() } else { format!("{BASE}{path}") };
        let mut request = Request::builder().method(method).uri(path).header("host", "example.org");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let cookies: Vec<_> = self
            .cookies
            .lock()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
        }
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, body }
    }
}

impl Answer {
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
        self.headers[LOCATION].to_str().unwrap()
    }
}

pub(crate) fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let rest = text.split_once(begin).unwrap_or_else(|| panic!("{begin} in {text}")).1;
    rest.split_once(end).unwrap().0
}

/// The page's own part, without the frame.
pub(crate) fn main_of(page: &str) -> &str {
    between(page, "<main", "</main>")
}

/// The targets of all links and forms.
pub(crate) fn links(page: &str) -> Vec<String> {
    let of = |attribute: &str| {
        page.split(attribute)
            .skip(1)
            .map(|rest| unescaped(rest.split('"').next().unwrap()))
            .collect::<Vec<_>>()
    };
    [" href=\"", " action=\"", " src=\"", " data-href=\"", " data-live=\"", " data-suggest=\""]
        .iter()
        .flat_map(|name| of(name))
        .collect()
}

/// The text of an attribute.
pub(crate) fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
