//! What each page shows.

use axum::http::{Method, StatusCode, header::CACHE_CONTROL};
use sessile::Sessions;
use uuid::Uuid;

use crate::{
    browser::{BASE, Browser, ROUTES, links, main_of},
    support::{self, Db, log_in, visit},
};

support::cases! {
    an_empty_database_has_friendly_pages,
    the_overview_shows_the_figures,
    a_users_page_shows_the_sessions_and_the_history,
    many_sessions_come_in_pages,
    a_sessions_page_outlives_the_session,
    the_search_finds_users_sessions_and_addresses,
    a_search_by_address_goes_on_looking,
    the_events_can_be_narrowed_and_paged,
    realms_are_shown,
    wrong_questions_are_explained,
    every_link_leads_to_a_page,
    every_answer_is_protected,
    head_and_unknown_methods,
}

pub(crate) const FIREFOX: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

async fn ada(sessions: &Sessions) -> Uuid {
    log_in(sessions, "ada", "203.0.113.7", FIREFOX).await
}

/// Whether the page has all these texts.
#[track_caller]
pub(crate) fn shows(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "{text:?} is not in {}", main_of(page));
    }
}

async fn an_empty_database_has_friendly_pages(db: Db) {
    db.sessions().await;
    let browser = Browser::of(&db).await;
    shows(
        &browser.page("/").await,
        &["Nothing has happened yet", "The cleanup has not run", "no expired session"],
    );
    shows(
        &browser.page("/user?id=ada").await,
        &["This user is not logged in anywhere", "No event of this user"],
    );
    shows(&browser.page("/events").await, &["No event fits"]);
    shows(&browser.page("/search").await, &["Type the beginning"]);
    let search = browser.page("/search?q=ada").await;
    shows(&search, &["No user with an active session", "The history of the user"]);
    let nobody = browser.page(&format!("/session/{}", Uuid::now_v7())).await;
    shows(&nobody, &["A session that is over", "No event of this session"]);
    shows(&browser.page("/end").await, &["There are <strong>0</strong> active sessions"]);
}

async fn the_overview_shows_the_figures(db: Db) {
    let sessions = db.sessions().await;
    for user in ["ada", "ada", "bob"] {
        log_in(&sessions, user, "203.0.113.7", FIREFOX).await;
    }
    visit(&sessions).await;
    sessions.revoke_user("bob").reason("a test").await.unwrap();
    db.run("update sessions set valid_until = {now} - 7 * {s}, expires_at = {now} - 7 * {s} where user_id is null").await;
    let browser = Browser::of(&db).await;
    let page = browser.page("/").await;
    shows(&page, &["<dd>2</dd>", "0 without a user", "Log-ins this hour", "Ends this hour"]);
    // In a day as in an hour, and also a moment after midnight.
    shows(&page, &["Log-ins: 3. Logged out: 0. Expired: 0. Ended from outside: 1. "]);
    shows(&page, &["<dt>Waiting for the cleanup</dt><dd>1</dd>", "the oldest for"]);
    shows(
        &page,
        &["role=\"img\"", "As a table", "Log-ins and ends in the last 24 hours", ">bob</bdi>"],
    );

    log_in(&sessions, "carol", "203.0.113.7", FIREFOX).await;
    sessions.sweep().await.unwrap();
    let fresh = Browser::of(&db).await.page("/live").await;
    assert!(fresh.contains("<dd>3</dd>") && fresh.contains("deleted 1"), "{fresh}");
    assert!(!fresh.contains("<html"), "only the figures");
}

async fn a_users_page_shows_the_sessions_and_the_history(db: Db) {
    let sessions = db.sessions().await;
    let first = ada(&sessions).await;
    let second = log_in(&sessions, "ada", "2001:db8::1", "curl/8.5.0").await;
    log_in(&sessions, "bob", "203.0.113.9", FIREFOX).await;
    sessions.revoke(first.into()).reason("a lost laptop").actor("support:grace").await.unwrap();
    let browser = Browser::of(&db).await;
    let page = browser.page("/user?id=ada").await;
    shows(
        &page,
        &[
            "1 active session",
            "2001:db8::1",
            "a lost laptop",
            "support:grace",
            "End all 1 session…",
        ],
    );
    shows(
        &page,
        &[
            &format!("/session/{second}?user=ada"),
            &format!("/session/{first}?user=ada"),
            "<time datetime=",
        ],
    );
    shows(&page, &["title=\"curl/8.5.0\">curl</span>"]);
    assert!(!main_of(&page).contains("bob") && !page.contains("203.0.113.9"));
}

async fn many_sessions_come_in_pages(db: Db) {
    let sessions = db.sessions().await;
    let mut expected = Vec::new();
    for _ in 0..110 {
        expected.push(ada(&sessions).await.to_string());
    }
    let browser = Browser::of(&db).await;
    let (mut found, mut path) = (Vec::new(), "/user?id=ada".to_owned());
    let mut pages = 0;
    loop {
        let page = browser.page(&path).await;
        shows(&page, &["110 active sessions"]);
        pages += 1;
        assert!(pages <= 3, "the list has no end");
        let list = page.split("id=\"history\"").next().unwrap();
        found.extend(links(list).iter().filter(|link| link.contains("/end?")).filter_map(|link| {
            Some(link.split_once("/session/")?.1.split('/').next()?.to_owned())
        }));
        match links(list).into_iter().find(|link| link.contains("after=")) {
            Some(next) => path = next,
            None => break,
        }
    }
    expected.reverse();
    assert_eq!((found, pages), (expected, 3));
    let history = browser.page("/user?id=ada").await;
    shows(&history, &["The whole history"]);
    shows(&browser.page("/user/end?id=ada").await, &["110 sessions", "End 110 sessions"]);
}

async fn a_sessions_page_outlives_the_session(db: Db) {
    let sessions = db.sessions().await;
    let id = ada(&sessions).await;
    let browser = Browser::of(&db).await;
    for path in [format!("/session/{id}"), format!("/session/{id}?user=bob")] {
        let page = browser.page(&path).await;
        shows(
            &page,
            &["Firefox on Linux", "203.0.113.7", FIREFOX, "logged in", "End this session…"],
        );
        assert!(!page.contains("reads the events"), "a live session is found through its user");
    }
    sessions.revoke(id.into()).reason("lost").await.unwrap();
    let through_user = browser.page(&format!("/session/{id}?user=ada")).await;
    shows(&through_user, &["A session that is over", "lost", "logged in", ">ada</bdi>"]);
    assert!(
        !through_user.contains("reads the events") && !through_user.contains("End this session")
    );
    let without = browser.page(&format!("/session/{id}")).await;
    shows(&without, &["reads the events since the session began", "lost", "logged in"]);
    let anonymous = visit(&sessions).await;
    shows(&browser.page(&format!("/session/{anonymous}")).await, &["leaves no events", "nobody"]);
}

async fn the_search_finds_users_sessions_and_addresses(db: Db) {
    let sessions = db.sessions().await;
    let id = ada(&sessions).await;
    for user in ["adam", "adam", "Ada", "bob"] {
        log_in(&sessions, user, "203.0.113.8", FIREFOX).await;
    }
    let browser = Browser::of(&db).await;
    let page = browser.page("/search?q=ad").await;
    shows(&page, &[">ada</bdi>", ">adam</bdi>", "value=\"ad\"", "The history of the user"]);
    assert!(!page.contains(">Ada</bdi>") && !main_of(&page).contains("bob"));
    assert!(
        !browser.page("/search?q=ada").await.contains("The history of the user"),
        "the user is in the list"
    );
    for text in [id.to_string(), format!(" {} ", id.simple())] {
        let page = browser.page(&format!("/search?q={}", text.replace(' ', "+"))).await;
        shows(&page, &["Firefox on Linux", ">ada</bdi>", &format!("/session/{id}?user=ada")]);
    }
    let gone = Uuid::now_v7();
    shows(
        &browser.page(&format!("/search?q={gone}")).await,
        &["which is not active", &format!("/session/{gone}\"")],
    );
    shows(
        &browser.page("/search?q=203.0.113.7").await,
        &["reads the table of sessions", "?ip=203.0.113.7"],
    );

    let by_address = browser.page("/search?ip=203.0.113.7").await;
    shows(&by_address, &[&format!("/session/{id}?user=ada"), "No index has the addresses"]);
    assert!(!by_address.contains(">adam</bdi>"));
    shows(
        &browser.page("/search?ip=203.0.113.99").await,
        &["No active session was last seen from there"],
    );

    let suggested = browser.page("/search/suggest?q=adam").await;
    assert_eq!(
        suggested,
        format!(
            "<li role=\"option\" data-href=\"{BASE}/user?id=adam\"><span><bdi>adam</bdi></span> <span class=\"quiet\">2 sessions</span></li>"
        )
    );
    assert!(browser.page(&format!("/search/suggest?q={id}")).await.contains("Session: "));
    assert_eq!(browser.page("/search/suggest?q=").await, "");
    assert_eq!(browser.page("/search/suggest?q=%00").await, "");
}

async fn a_search_by_address_goes_on_looking(db: Db) {
    let sessions = db.sessions().await;
    let id = ada(&sessions).await;
    let columns = "revision, created_at, authenticated_at, last_seen_at, absolute_expires_at, valid_until, expires_at, idle_timeout, secret_hash, user_id, data";
    let many = if db.is_postgres() {
        format!(
            "insert into sessions (id, {columns}, ip) select gen_random_uuid(), {columns}, '203.0.113.8' from sessions, generate_series(1, 100000)"
        )
    } else {
        format!(
            "with recursive n(i) as (values (1) union all select i + 1 from n where i < 100000) insert into sessions (id, {columns}, ip) select cast(x'ff' || randomblob(15) as blob), {columns}, '203.0.113.8' from sessions, n"
        )
    };
    db.run(&many).await;
    if db.is_postgres() {
        // After the others.
        db.run(&format!(
            "update sessions set id = '00000000-0000-7000-8000-000000000000' where id = '{id}'"
        ))
        .await;
    }
    let browser = Browser::of(&db).await;
    let page = browser.page("/search?ip=203.0.113.7").await;
    shows(&page, &["None of the", "Go on looking"]);
    let mut next = page;
    for _ in 0..8 {
        let link =
            links(&next).into_iter().find(|link| link.contains("after=")).expect("a next page");
        next = browser.page(&link).await;
        if next.contains("?user=ada") {
            return;
        }
    }
    panic!("{next}");
}

async fn the_events_can_be_narrowed_and_paged(db: Db) {
    let sessions = db.sessions().await;
    for _ in 0..55 {
        ada(&sessions).await;
    }
    log_in(&sessions, "bob", "203.0.113.8", FIREFOX).await;
    sessions.revoke_user("bob").reason("by hand").actor("console:grace").await.unwrap();
    let browser = Browser::of(&db).await;
    let first = browser.page("/events").await;
    shows(&first, &["by hand", "console:grace", "Older events", "all of the user"]);
    let next = links(&first).into_iter().find(|link| link.contains("after=")).unwrap();
    let second = browser.page(&next).await;
    shows(&second, &["The newest"]);
    assert!(!second.contains("Older events"));
    let rows = |page: &str| page.matches("data-label=\"When\"").count();
    assert_eq!((rows(&first), rows(&second)), (50, 8));

    for (query, expected) in [
        ("?kind=revoked", 2),
        ("?actor=console:", 2),
        ("?actor=role:", 0),
        ("?user=bob", 3),
        ("?user=bob&kind=logged_in", 1),
        ("?kind=&actor=&user=&within=3600", 50),
        ("?within=0", 0),
    ] {
        let page = browser.page(&format!("/events{query}")).await;
        assert_eq!(rows(&page), expected, "{query}");
    }
    let page = browser.page("/events?kind=revoked&actor=role:eve&within=3600&user=x").await;
    shows(
        &page,
        &[
            "value=\"revoked\" selected",
            "value=\"role:eve\" selected",
            "value=\"3600\" selected",
            "value=\"x\"",
        ],
    );
}

async fn realms_are_shown(db: Db) {
    let (sessions, office) = (db.sessions().await, db.sessions_of("office").await);
    ada(&sessions).await;
    let browser = Browser::of(&db).await;
    assert!(!browser.page("/user?id=ada").await.contains("ealm"), "there is only the default one");
    assert!(!browser.page("/end").await.contains("type=\"radio\""));
    let id = ada(&office).await;
    shows(
        &browser.page("/user?id=ada").await,
        &["data-label=\"Realm\"><bdi>office", "By realm:", "2 active sessions"],
    );
    shows(&browser.page(&format!("/session/{id}")).await, &["<bdi>office</bdi>"]);
    shows(&browser.page("/user/end?id=ada").await, &["by realm:", "2 sessions"]);
    shows(&browser.page("/end").await, &["type=\"radio\" name=\"realm\" value=\"office\""]);
}

async fn wrong_questions_are_explained(db: Db) {
    db.sessions().await;
    let browser = Browser::of(&db).await;
    let long = format!("/user?id={}", "x".repeat(256));
    for path in [
        "/user",
        "/user?id=",
        "/user?id=a%00b",
        &long,
        "/user?id=ada&after=x",
        "/events?kind=x",
        "/events?within=x",
        "/events?after=x",
        "/search?ip=x",
        "/search?ip=203.0.113.7&after=x",
        "/user/end?id=",
        "/user/end",
    ] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {}", answer.body);
        shows(&answer.body, &["<h1>That is not valid</h1>", "What to do:", "</footer>"]);
    }
    for path in ["/session/x", "/session/x/end", "/nothing", "/user/", "/session/", "//", "/../x"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.body);
        shows(&answer.body, &["<h1>Not found</h1>", "</footer>"]);
    }
}

async fn every_link_leads_to_a_page(db: Db) {
    let (sessions, office) = (db.sessions().await, db.sessions_of("office").await);
    let id = ada(&sessions).await;
    ada(&office).await;
    sessions.revoke_user("ada").reason("a test").await.unwrap();
    ada(&sessions).await;
    let browser = Browser::of(&db).await;
    let mut seen = std::collections::BTreeSet::new();
    let mut waiting: Vec<String> = ROUTES
        .iter()
        .map(|path| format!("{BASE}{}", path.replace("{id}", &id.to_string())))
        .collect();
    while let Some(path) = waiting.pop() {
        if path.contains("/nothing") || path.starts_with('#') || !seen.insert(path.clone()) {
            continue;
        }
        let answer = browser.get(&path).await;
        assert!(
            answer.status == StatusCode::OK || answer.status == StatusCode::SEE_OTHER,
            "{path}: {}",
            answer.status
        );
        if !path.contains("/assets/") {
            for link in links(&answer.body) {
                assert!(link.starts_with(BASE) || link.starts_with('#'), "{link} on {path}");
                waiting.push(link);
            }
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
    assert_eq!(browser.get(BASE).await.status, StatusCode::OK, "without the slash");
}

/// The list of the policy, and no inline style or script that it would refuse.
async fn every_answer_is_protected(db: Db) {
    let sessions = db.sessions().await;
    let id = ada(&sessions).await.to_string();
    let browser = Browser::of(&db).await;
    let page = browser.page("/").await;
    let assets: Vec<_> =
        links(&page).into_iter().filter(|link| link.contains("/assets/")).collect();
    assert_eq!(assets.len(), 3);
    let paths = ROUTES.iter().map(|path| path.replace("{id}", &id)).chain(assets);
    for path in paths.chain(["/assets/none.css".to_owned()]) {
        let answer = browser.get(&path).await;
        let header = |name: &str| {
            answer.headers.get(name).unwrap_or_else(|| panic!("{name} of {path}")).to_str().unwrap()
        };
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part) && !policy.contains("unsafe"), "{policy}");
        }
        assert_eq!(
            (header("x-content-type-options"), header("referrer-policy")),
            ("nosniff", "no-referrer")
        );
        let is_asset = path.contains("/assets/") && answer.status == StatusCode::OK;
        assert_eq!(
            header("cache-control"),
            if is_asset { "public, max-age=31536000, immutable" } else { "no-store" },
            "{path}"
        );
        if !is_asset {
            for inline in [" style=", "<style", " onclick=", " onload=", "javascript:", "<script>"]
            {
                assert!(!answer.body.contains(inline), "{inline} on {path}");
            }
        }
    }
    let answer = browser.post("/end", &[("sec-fetch-site", "cross-site")], &[]).await;
    assert!(answer.headers.contains_key("content-security-policy"));
}

async fn head_and_unknown_methods(db: Db) {
    db.sessions().await;
    let browser = Browser::of(&db).await;
    let head = browser.send(Method::HEAD, "/", &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.headers[CACHE_CONTROL], "no-store");
    for method in [Method::PUT, Method::DELETE, Method::POST] {
        let answer = browser.send(method, "/user?id=ada", &[], "").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        shows(&answer.body, &["<h1>Not possible</h1>"]);
    }
}
