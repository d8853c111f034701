//! The layer's own answers: it could not write the changes that a handler recorded.

use axum::{Router, extract::Path, routing::get};
use http::{HeaderMap, Response as HttpResponse, request::Parts};
use serde_json::Value;
use sessile::{Client, Error, Session, Sessions};

use crate::{
    site::{Library, NOT_NOW, Site, Visitor, cookies, routes},
    spy::INTERNAL,
    support::{
        Db, cases,
        tap::Verb::{Create, Load, Save},
    },
    wire::Response,
};

cases! {
    an_answer_is_a_sentence_as_plain_text,
    an_answer_is_json_for_who_asks_for_it,
    an_answer_can_be_the_applications_own,
    the_rules_for_cookies_hold_for_the_applications_own_answer,
    a_hook_answers_for_no_handler,
    a_handler_whose_session_was_revoked_meanwhile_is_401,
    a_handler_that_logged_out_itself_keeps_its_answer,
    a_handler_that_gave_up_what_it_recorded_keeps_its_answer,
}

const KINDS: [(&str, u16); 4] =
    [("session_ended", 401), ("superseded", 409), ("invalid_data", 413), ("database", 503)];

/// A site that can fail in each of the ways of [`KINDS`], and a way to make it fail.
struct Failing {
    site: Site,
}

impl Failing {
    async fn with(db: &Db, hook: Option<Hook>) -> Self {
        let library = Library::with(db, |builder| builder.data_limit(100));
        let ended = |sessions: Sessions| {
            async move |session: Session| {
                session.insert("a", "late")?;
                sessions.revoke(session.id().expect("a session")).await?;
                Ok::<_, Error>(([("x-theirs", "yes")], "the handler's"))
            }
        };
        let grown = |sessions: Sessions| {
            async move |session: Session, headers: HeaderMap| {
                session.insert("a", "x".repeat(60))?;
                // Another request of the same session.
                let (_, token) = headers["cookie"].to_str().unwrap().split_once('=').unwrap();
                let other = sessions.open(Some(token.as_bytes()), Client::new()).await?;
                other.insert("b", "y".repeat(60))?;
                other.save().await?;
                Ok::<_, Error>(([("x-theirs", "yes")], "the handler's"))
            }
        };
        let renew = |session: Session| async move { session.renew().await };
        let app = routes()
            .route("/ended", get(ended(library.sessions.clone())))
            .route("/grown", get(grown(library.sessions.clone())))
            .route("/renew", get(renew));
        let layer = match hook {
            Some(hook) => library.layer().answer(hook),
            None => library.layer(),
        };
        Self { site: library.serve_as_is(app.layer(layer)).await }
    }

    /// The answer to a request that fails for this reason, with these header lines.
    async fn answer(&self, kind: &str, lines: &[&str]) -> Response {
        let mut guest = self.site.guest().await;
        let before = guest.clone();
        let ask = async |visitor: &Visitor, path| {
            let mut all = visitor.lines();
            all.extend(lines.iter().map(|line| line.as_bytes().to_vec()));
            self.site.get(path, &all).await
        };
        match kind {
            "session_ended" => ask(&guest, "/ended").await,
            "superseded" => {
                guest.get("/renew").await;
                ask(&before, "/put/a/2?q=1").await
            }
            "invalid_data" => ask(&guest, "/grown").await,
            "database" => {
                self.site.spy.fail(Save);
                let response = ask(&guest, "/put/a/2").await;
                self.site.spy.let_all_pass();
                response
            }
            other => panic!("{other} is no way to fail"),
        }
    }
}

/// Every answer of the layer: it shows nothing of the handler's response or of an error's inside, and sets no
/// cookie.
fn is_the_layers(response: &Response, status: u16, kind: &str) {
    assert_eq!(response.status, status, "{kind}");
    assert!(response.sets_no_cookie(), "{kind}");
    assert!(response.all("x-theirs").is_empty(), "{kind}");
    assert_eq!(response.all("vary"), ["cookie"], "{kind}");
    assert!(!response.body.contains("the handler's"), "{kind}");
    assert!(!response.body.contains(INTERNAL), "{kind}");
    let length = response.body.len().to_string();
    assert_eq!(response.one("content-length"), Some(length.as_str()), "{kind}");
}

fn sentence(kind: &str) -> &'static str {
    match kind {
        "session_ended" => "the session has ended: it was logged out, revoked or has expired",
        "superseded" => {
            "another request renewed this session or logged in to it meanwhile: try again"
        }
        "invalid_data" => {
            r#""a" would make the session's data 135 bytes of JSON, the limit is 100"#
        }
        _ => NOT_NOW.trim_end(),
    }
}

async fn an_answer_is_a_sentence_as_plain_text(db: Db) {
    let failing = Failing::with(&db, None).await;
    for (kind, status) in KINDS {
        for lines in [
            &[][..],
            &["Accept: */*"],
            &["Accept: text/plain"],
            // A browser that shows a page.
            &["Accept: text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"],
            &["Accept: image/avif"],
            &["Accept: "],
        ] {
            let response = failing.answer(kind, lines).await;
            is_the_layers(&response, status, kind);
            assert_eq!(response.one("content-type"), Some("text/plain; charset=utf-8"));
            assert_eq!(response.body, format!("{}\n", sentence(kind)), "{lines:?}");
        }
    }
}

async fn an_answer_is_json_for_who_asks_for_it(db: Db) {
    let failing = Failing::with(&db, None).await;
    for (kind, status) in KINDS {
        for accept in ["Accept: application/json", "accept: */*, Application/JSON;q=0.5"] {
            let response = failing.answer(kind, &[accept]).await;
            is_the_layers(&response, status, kind);
            assert_eq!(response.one("content-type"), Some("application/json"));
            let body: Value = serde_json::from_str(&response.body).unwrap();
            let expected = serde_json::json!({ "error": kind, "message": sentence(kind) });
            assert_eq!(body, expected);
        }
    }
}

type Hook = fn(&Error, &Parts) -> HttpResponse<String>;

/// The application's own answer: it shows every value that it was given.
fn own(error: &Error, request: &Parts) -> HttpResponse<String> {
    let mine = request.headers.get("x-mine").map_or("", |value| value.to_str().unwrap());
    let said = format!("{:?} {} {} {mine}", error.kind(), request.method, request.uri);
    HttpResponse::builder()
        .status(418)
        .header("x-own", "yes")
        .header("cache-control", "public, max-age=600")
        .header("cdn-cache-control", "max-age=600")
        .header("set-cookie", "seen=1")
        .header("vary", "accept")
        .body(said)
        .unwrap()
}

async fn an_answer_can_be_the_applications_own(db: Db) {
    let failing = Failing::with(&db, Some(own)).await;
    for (kind, said) in [
        ("session_ended", "SessionEnded GET /ended mine"),
        ("superseded", "Superseded GET /put/a/2?q=1 mine"),
        ("invalid_data", "InvalidData GET /grown mine"),
        ("database", "Database GET /put/a/2 mine"),
    ] {
        let lines = ["X-Mine: mine", "Accept: application/json"];
        let response = failing.answer(kind, &lines).await;
        assert_eq!((response.status, response.body.as_str()), (418, said));
        assert_eq!(response.one("x-own"), Some("yes"));
        assert!(response.all("x-theirs").is_empty());
        assert!(response.all("content-type").is_empty());
        // The response has no session cookie, so the application chooses its other headers.
        assert_eq!(response.all("set-cookie"), ["seen=1"]);
        assert_eq!(response.all("cache-control"), ["public, max-age=600"]);
        assert_eq!(response.all("cdn-cache-control"), ["max-age=600"]);
        assert_eq!(response.all("vary"), ["accept", "cookie"]);
    }
}

async fn the_rules_for_cookies_hold_for_the_applications_own_answer(db: Db) {
    let welcome = |session: Session| async move {
        session.log_in("ada").await?;
        session.insert("a", "new")?;
        Ok::<_, Error>("welcome")
    };
    let out = |session: Session| async move {
        session.log_out().await?;
        session.insert("a", "of the next one")?;
        Ok::<_, Error>("out")
    };
    let library = Library::over(&db);
    let app = routes().route("/welcome", get(welcome)).route("/out", get(out));
    let site = library.serve_as_is(app.layer(library.layer().answer(own))).await;
    let mut guest = site.guest().await;
    site.spy.fail(Save);
    let response = guest.get("/welcome").await;
    assert_eq!((response.status, response.body.as_str()), (418, "Database GET /welcome "));
    // The session has the new secret already, so the browser gets it.
    let cookies = response.set_cookies();
    assert_eq!(cookies.len(), 2);
    assert_eq!((cookies[0].name.as_str(), cookies[1].name.as_str()), ("seen", "__Host-id"));
    assert_eq!(response.all("cache-control"), ["no-store"]);
    assert!(response.all("cdn-cache-control").is_empty());
    assert_eq!(response.all("vary"), ["accept", "cookie"]);
    site.spy.let_all_pass();
    assert_eq!(guest.get("/").await.body, "ada");

    // A failure removes no cookie.
    let ada = site.user("ada").await;
    site.spy.fail(Create);
    let response = site.get("/out", &ada.lines()).await;
    assert_eq!((response.status, response.all("set-cookie")), (418, vec!["seen=1"]));
}

async fn a_hook_answers_for_no_handler(db: Db) {
    let failing = Failing::with(&db, Some(own)).await;
    let site = &failing.site;
    let mut guest = site.guest().await;
    for (path, status) in [("/", 200), ("/put/a/2", 200), ("/no-such-route", 404)] {
        assert_eq!(guest.get(path).await.status, status, "{path}");
    }
    // A handler that returns an error answers with it itself.
    let mut tab = guest.clone();
    guest.get("/renew").await;
    let response = tab.get("/log-out").await;
    assert_eq!(
        (response.status, response.body.as_str()),
        (409, { "another request renewed this session or logged in to it meanwhile: try again\n" })
    );
    assert!(response.all("x-own").is_empty());
    // The same applies if the session could not be loaded.
    site.spy.fail(Load);
    let response = guest.get("/put/a/3").await;
    assert_eq!((response.status, response.body.as_str()), (503, NOT_NOW));
}

/// `/meanwhile/{event}/{what}`: records a value. Then somebody else ends the session, or gives it a new
/// secret. Then the handler continues.
fn meanwhile(sessions: &Sessions) -> Router {
    let sessions = sessions.clone();
    let handler = async move |session: Session,
                              Path((event, what)): Path<(String, String)>,
                              headers: HeaderMap| {
        session.insert("a", "late")?;
        let (_, token) = headers["cookie"].to_str().unwrap().split_once('=').unwrap();
        let elsewhere = sessions.open(Some(token.as_bytes()), Client::new()).await?;
        match event.as_str() {
            "revoked" => drop(sessions.revoke_user("ada").await?),
            "logged-out" => drop(elsewhere.log_out().await?),
            "renewed" => elsewhere.renew().await?,
            other => panic!("{other} is no event"),
        }
        match what.as_str() {
            "nothing" => {}
            "saves" => drop(session.save().await.unwrap_err()),
            "refreshes" => drop(session.refresh().await.unwrap_err()),
            "logs-out" => drop(session.log_out().await?),
            "logs-out-and-puts" => {
                session.log_out().await?;
                session.insert("b", "of the next session")?;
            }
            "abandons" => drop(session.abandon()),
            "saves-and-abandons" => {
                session.save().await.unwrap_err();
                session.abandon();
            }
            other => panic!("{other} is nothing to do"),
        }
        Ok::<_, Error>("the handler's")
    };
    Router::new().route("/{event}/{what}", get(handler))
}

async fn with_meanwhile(db: &Db) -> Site {
    let library = Library::over(db);
    let app = routes().nest("/meanwhile", meanwhile(&library.sessions));
    library.serve(app).await
}

async fn a_handler_whose_session_was_revoked_meanwhile_is_401(db: Db) {
    let site = with_meanwhile(&db).await;
    for (event, status) in [("revoked", 401), ("logged-out", 401), ("renewed", 409)] {
        for what in ["nothing", "saves", "refreshes"] {
            let ada = site.user("ada").await;
            let response = ada.clone().get(&format!("/meanwhile/{event}/{what}")).await;
            assert_eq!(response.status, status, "{event}, {what}");
            assert_ne!(response.body, "the handler's");
            assert!(response.sets_no_cookie(), "{event}, {what}");
            site.sessions.revoke_user("ada").await.unwrap();
        }
    }
    // The session's rows are gone, and none was inserted again.
    assert_eq!(db.rows().await, 0);
}

async fn a_handler_that_logged_out_itself_keeps_its_answer(db: Db) {
    let log_out = |session: Session| async move {
        session.insert("a", "late")?;
        session.log_out().await?;
        Ok::<_, Error>("the handler's")
    };
    let everywhere = |session: Session| async move {
        session.insert("a", "late")?;
        session.log_out_everywhere().await?;
        Ok::<_, Error>("the handler's")
    };
    let library = Library::over(&db);
    let app = routes()
        .nest("/meanwhile", meanwhile(&library.sessions))
        .route("/leave", get(log_out))
        .route("/leave-everywhere", get(everywhere));
    let site = library.serve(app).await;
    for path in [
        "/leave",
        "/leave-everywhere",
        "/meanwhile/revoked/logs-out",
        "/meanwhile/logged-out/logs-out",
    ] {
        let mut ada = site.user("ada").await;
        let response = ada.get(path).await;
        assert_eq!((response.status, response.body.as_str()), (200, "the handler's"), "{path}");
        assert!(response.removes_the_cookie(), "{path}");
        assert_eq!(db.rows().await, 0, "{path}");
    }
    // Changes that the handler records later belong to a new session.
    let mut ada = site.user("ada").await;
    let response = ada.get("/meanwhile/revoked/logs-out-and-puts").await;
    assert_eq!((response.status, response.body.as_str()), (200, "the handler's"));
    assert_eq!(ada.get("/").await.body, "a guest");
    assert_eq!(ada.get("/get/b").await.body, "of the next session");
    assert_eq!(ada.get("/get/a").await.body, "nothing");
    // A superseded request is not logged out, and answers with the handler's own error.
    let ada = site.user("ada").await;
    let response = site.get("/meanwhile/renewed/logs-out", &[cookies(&[ada.token()])]).await;
    assert_eq!((response.status, response.sets_no_cookie()), (409, true));
    assert_eq!(site.sessions.count_of_user("ada").await.unwrap(), 1);
}

async fn a_handler_that_gave_up_what_it_recorded_keeps_its_answer(db: Db) {
    let site = with_meanwhile(&db).await;
    for event in ["revoked", "logged-out", "renewed"] {
        for what in ["abandons", "saves-and-abandons"] {
            let ada = site.user("ada").await;
            let response = ada.clone().get(&format!("/meanwhile/{event}/{what}")).await;
            assert_eq!((response.status, response.body.as_str()), (200, "the handler's"));
            assert!(response.sets_no_cookie(), "{event}, {what}");
            site.sessions.revoke_user("ada").await.unwrap();
        }
    }
    assert_eq!(db.rows().await, 0);
}
