//! Who gets in, and who may end sessions.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::FromRequestParts,
    http::{Method, StatusCode, request::Parts},
    response::Redirect,
    routing::get,
};
use sessile::{Session, SessionCookie, SessionLayer, Sessions};
use sessile_admin::Database;
use sessile_console::{Access, Console, Guard, Refusal};

use crate::{
    browser::{BASE, Browser, FORMS, ROUTES, between, links, main_of},
    pages::{FIREFOX, shows},
    support::{self, Db, log_in},
};

support::cases! {
    nobody_gets_in_without_the_guards_consent,
    who_may_only_look_ends_nothing,
    who_may_no_longer_end_ends_nothing,
    a_form_of_another_page_ends_nothing,
    an_origin_can_be_allowed,
    the_applications_own_log_in_is_a_guard,
    a_poll_does_not_keep_its_reader_logged_in,
    a_console_without_a_base_path_has_all_paths,
}

async fn live(sessions: &Sessions) -> usize {
    sessions.of_user("ada").await.unwrap().len()
}

async fn nobody_gets_in_without_the_guards_consent(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await.to_string();
    let assets: Vec<_> = links(&Browser::of(&db).await.page("/").await)
        .into_iter()
        .filter(|link| link.contains("/assets/"))
        .collect();
    for (refusal, status) in [
        (Refusal::not_logged_in as fn() -> Refusal, StatusCode::UNAUTHORIZED),
        (Refusal::not_allowed, StatusCode::FORBIDDEN),
        (|| Refusal::answer(Redirect::to("/login")), StatusCode::SEE_OTHER),
    ] {
        let browser = Browser::with(&db, move || Err(refusal())).await;
        for path in ROUTES.iter().chain(&["", "/user?id=", "/session/x", "/assets", "/assets/"]) {
            let path = path.replace("{id}", &id);
            for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT] {
                let answer = browser.send(method.clone(), &path, &[], "reason=x").await;
                assert_eq!(answer.status, status, "{method} {path}");
                assert!(
                    !answer.body.contains("ada") && !answer.body.contains("203.0.113"),
                    "{}",
                    answer.body
                );
                assert!(answer.headers.contains_key("content-security-policy"));
            }
        }
        for asset in &assets {
            assert_eq!(
                browser.get(asset).await.status,
                StatusCode::OK,
                "everybody may have the style"
            );
        }
        if status == StatusCode::SEE_OTHER {
            assert_eq!(browser.get("/").await.location(), "/login");
        } else {
            shows(&browser.get("/").await.body, &["What to do:", "</footer>"]);
        }
    }
    assert_eq!(live(&sessions).await, 1);
}

async fn who_may_only_look_ends_nothing(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await.to_string();
    let browser = Browser::with(&db, || Ok(Access::read_only("alan"))).await;
    for path in ROUTES.iter().filter(|path| !path.contains("/end") && !path.contains("nothing")) {
        let page = browser.page(&path.replace("{id}", &id)).await;
        assert!(!links(&page).iter().any(|link| link.contains("/end")), "{path}");
    }
    shows(&browser.page("/").await, &["may only look", ">alan</bdi>"]);
    for path in FORMS.iter().map(|path| path.replace("{id}", &id)) {
        let page = browser.get(&path).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        assert!(
            !page.body.contains("<form class=\"ask\"")
                && page.body.contains("You may look at sessions")
        );
        let same_site = [("sec-fetch-site", "same-origin")];
        let sent = browser
            .post(&path, &same_site, &[("reason", "x"), ("words", "end all sessions")])
            .await;
        assert_eq!(sent.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(live(&sessions).await, 1);
}

async fn who_may_no_longer_end_ends_nothing(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await.to_string();
    let may_end = Arc::new(AtomicBool::new(true));
    let asked = may_end.clone();
    let browser = Browser::with(&db, move || {
        Ok(match asked.load(Ordering::SeqCst) {
            true => Access::full("grace"),
            false => Access::read_only("grace"),
        })
    })
    .await;
    for path in FORMS.iter().map(|path| path.replace("{id}", &id)) {
        may_end.store(true, Ordering::SeqCst);
        let page = browser.page(&path).await;
        may_end.store(false, Ordering::SeqCst);
        let token = between(&page, "name=\"token\" value=\"", "\"");
        let fields = [("token", token), ("reason", "x"), ("words", "end all sessions")];
        let answer = browser.post(&path, &[("sec-fetch-site", "same-origin")], &fields).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(live(&sessions).await, 1);
}

async fn a_form_of_another_page_ends_nothing(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await.to_string();
    let (browser, thief) = (Browser::of(&db).await, Browser::of(&db).await);
    let alan = Browser::with(&db, || Ok(Access::full("alan"))).await;
    for path in FORMS.iter().map(|path| path.replace("{id}", &id)) {
        let token = |page: &str| between(page, "name=\"token\" value=\"", "\"").to_owned();
        let own = token(&browser.page(&path).await);
        let foreign = token(&thief.page(&path).await);
        let of_alan = token(&alan.page(&path).await);
        assert!(own != foreign && own != of_alan);
        let same = &[("sec-fetch-site", "same-origin")][..];
        for (headers, token) in [
            (same, None),
            (same, Some("")),
            (same, Some(&foreign)),
            (same, Some(&of_alan)),
            (&[], None),
            (&[("sec-fetch-site", "cross-site")], Some(own.as_str())),
            (&[("sec-fetch-site", "same-site")], Some(&own)),
            (&[("origin", "https://evil.example")], Some(&own)),
            (&[("origin", "null")], Some(&own)),
        ] {
            let mut fields = vec![("reason", "x"), ("words", "end all sessions")];
            fields.extend(token.map(|token| ("token", token)));
            let answer = browser.post(&path, headers, &fields).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {headers:?} {token:?}");
            shows(&answer.body, &["<h1>Nothing was ended</h1>"]);
        }
    }
    assert_eq!(live(&sessions).await, 1);
    let path = "/user/end?id=ada";
    let token = between(&browser.page(path).await, "name=\"token\" value=\"", "\"").to_owned();
    let fields = [("reason", "x"), ("token", token.as_str())];
    // An older browser sends no `Sec-Fetch-Site`.
    browser.post(path, &[("origin", "http://example.org")], &fields).await.location();
    assert_eq!(live(&sessions).await, 0);
}

async fn an_origin_can_be_allowed(db: Db) {
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    let guard = async |_| Ok(Access::full("grace"));
    let console = Console::new(Database::open(&db.url).await.unwrap(), guard).base_path(BASE);
    assert!(Console::new(Database::open(&db.url).await.unwrap(), guard).allow_origin("x").is_err());
    let browser = Browser::new(console.allow_origin("https://admin.example.net").unwrap().router());
    let path = "/user/end?id=ada";
    let token = between(&browser.page(path).await, "name=\"token\" value=\"", "\"").to_owned();
    let fields = [("reason", "x"), ("token", token.as_str())];
    assert_eq!(
        browser.post(path, &[("origin", "https://evil.example")], &fields).await.status,
        StatusCode::FORBIDDEN
    );
    browser.post(path, &[("origin", "https://admin.example.net")], &fields).await.location();
    assert_eq!(live(&sessions).await, 0);
}

/// An application with a log-in, and the console behind it.
async fn application(db: &Db, sessions: &Sessions) -> Browser {
    async fn guard(mut request: Parts) -> Result<Access, Refusal> {
        let session = Session::from_request_parts(&mut request, &()).await?;
        if sessile_console::is_poll(&request) {
            session.set_activity(false);
        }
        match session.user_id().as_deref() {
            Some("grace") => Ok(Access::full("grace")),
            Some(_) => Err(Refusal::not_allowed()),
            None => Err(Refusal::not_logged_in()),
        }
    }
    let console = Console::new(Database::open(&db.url).await.unwrap(), guard).base_path(BASE);
    let log_in =
        async |session: Session, path: axum::extract::Path<String>| session.log_in(path.0).await;
    Browser::new(
        Router::new()
            .route(&format!("{BASE}-login/{{name}}"), get(log_in))
            .merge(console.router())
            .layer(
                SessionLayer::new(sessions.clone())
                    .cookie(SessionCookie::insecure_for_development()),
            ),
    )
}

async fn the_applications_own_log_in_is_a_guard(db: Db) {
    let sessions = db.sessions().await;
    let browser = application(&db, &sessions).await;
    assert_eq!(browser.get("/").await.status, StatusCode::UNAUTHORIZED);
    browser.get(&format!("{BASE}-login/mallory")).await;
    assert_eq!(browser.get("/").await.status, StatusCode::FORBIDDEN);
    browser.get(&format!("{BASE}-login/grace")).await;
    shows(&browser.page("/user?id=grace").await, &["1 active session"]);
    // Whoever ends their own session is out.
    browser.submit("/user/end?id=grace", &[("reason", "a test")]).await.location();
    assert_eq!(browser.get("/").await.status, StatusCode::UNAUTHORIZED);
}

async fn a_poll_does_not_keep_its_reader_logged_in(db: Db) {
    let sessions = db.sessions().await;
    let browser = application(&db, &sessions).await;
    browser.get(&format!("{BASE}-login/grace")).await;
    db.run("update sessions set last_seen_at = last_seen_at - 600 * {s}, created_at = created_at - 600 * {s}").await;
    let seen = async || {
        sessions.flush().await.unwrap();
        sessions.of_user("grace").await.unwrap()[0].last_seen_at
    };
    let before = seen().await;
    browser.send(Method::GET, "/live", &[("x-console-poll", "1")], "").await;
    assert_eq!(seen().await, before);
    browser.page("/").await;
    assert!(seen().await > before);
}

async fn a_console_without_a_base_path_has_all_paths(db: Db) {
    db.sessions().await;
    struct Everybody(&'static str);
    impl Guard for Everybody {
        async fn check(&self, _: Parts) -> Result<Access, Refusal> {
            Ok(Access::full(self.0))
        }
    }
    let guard = Everybody("grace");
    let console = Console::new(Database::open(&db.url).await.unwrap(), guard).base_path("/");
    let app = Router::new().route("/health", get(|| async { "well" })).merge(console.router());
    let answer = async |path: &str| {
        use tower::ServiceExt;
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes =
            http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    };
    let (status, page) = answer("/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(links(&page).contains(&"/events".to_owned()), "{}", main_of(&page));
    assert_eq!(answer("/events").await.0, StatusCode::OK);
    assert_eq!(answer("/health").await.1, "well");
    assert_eq!(answer("/nothing").await.0, StatusCode::NOT_FOUND);
}
