//! Texts that users, browsers and other people choose.

use crate::{
    browser::{BASE, Browser, links, main_of},
    support::{self, Db, log_in},
};

support::cases! {
    a_user_may_have_any_id,
    no_text_becomes_markup,
}

async fn a_user_may_have_any_id(db: Db) {
    let sessions = db.sessions().await;
    let browser = Browser::of(&db).await;
    for id in [
        "ada",
        "a/b",
        "/",
        "..",
        ".",
        "../../etc",
        "a b",
        " ",
        "a+b",
        "a%2Fb",
        "ä🙂é",
        "a&b=c",
        "?q#f",
        "a;b",
        "'\"><b>",
        "\u{202e}gnp.exe",
        "x\u{1b}[31m",
        "a\nb",
        "&amp;",
        "\\",
        "id=1",
        &"x".repeat(255),
    ] {
        let session = log_in(&sessions, id, "203.0.113.7", "curl/8").await;
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("q", id).finish();
        let found = browser.page(&format!("/search?{query}")).await;
        let query = query.replacen("q=", "id=", 1);
        let link = format!("{BASE}/user?{query}");
        assert!(links(&found).contains(&link), "{id:?}: {link} in {:?}", links(&found));
        let page = browser.page(&link).await;
        let end = format!("{BASE}/session/{session}/end?{}", query.replacen("id=", "user=", 1));
        assert!(links(&page).contains(&end), "{id:?}: {end} in {:?}", links(&page));
        let answer = browser.submit(&format!("/user/end?{query}"), &[("reason", "a test")]).await;
        assert_eq!(answer.location(), format!("{link}&ended=1"), "{id:?}");
        assert!(sessions.of_user(id).await.unwrap().is_empty());
    }
}

async fn no_text_becomes_markup(db: Db) {
    let sessions = db.sessions().await;
    const ATTACK: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
    let id = log_in(&sessions, ATTACK, "203.0.113.7", &format!("Firefox/140.0 {ATTACK}")).await;
    log_in(&sessions, ATTACK, "203.0.113.7", ATTACK).await;
    let reason = format!("{ATTACK}\u{202e}");
    sessions.revoke(id.into()).reason(&reason).actor(&reason).await.unwrap();
    let control = if db.is_postgres() { "E'a\\x1bb'" } else { "cast(x'611b62' as text)" };
    db.run(&format!("insert into session_event_log (at, event, user_id, reason, actor) values ({{now}}, '<i>odd</i>', 'ada', {control}, '<i>who</i>')")).await;
    let browser = Browser::of(&db).await;
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("q", ATTACK).finish();
    let user = query.replacen("q=", "user=", 1);
    for path in [
        "/".to_owned(),
        "/live".to_owned(),
        format!("/search?{query}"),
        format!("/search/suggest?{query}"),
        format!("/user?{}", query.replacen("q=", "id=", 1)),
        format!("/user/end?{}", query.replacen("q=", "id=", 1)),
        format!("/session/{id}?{user}"),
        "/events".to_owned(),
        format!("/events?{user}&{}", query.replacen("q=", "actor=", 1)),
        "/search?ip=203.0.113.7".to_owned(),
    ] {
        let page = browser.page(&path).await;
        for raw in ["<script>alert", "<img", "<i>", "\u{202e}", "\u{1b}"] {
            assert!(!page.contains(raw), "{raw:?} on {path}: {page}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;"), "{path}: {page}");
    }
    let events = browser.page("/events").await;
    assert!(main_of(&events).contains("\\u{202e}") && main_of(&events).contains("a\\u{1b}b"));
    let answer = browser.get(&format!("/events?{}", query.replacen("q=", "kind=", 1))).await;
    assert!(answer.status.is_client_error() && !answer.body.contains("<script>alert"));
    let answer = browser.get(&format!("/search?{}", query.replacen("q=", "ip=", 1))).await;
    assert!(answer.status.is_client_error() && !answer.body.contains("<script>alert"));
    // The key of a page, which the address of the next page has.
    let after = query.replacen("q=", "after=", 1);
    for path in [
        format!("/events?{after}"),
        format!("/search?ip=203.0.113.7&{after}"),
        format!("/user?id=ada&{after}"),
        format!("/session/{id}?user=ada&{after}"),
    ] {
        let answer = browser.get(&path).await;
        assert!(answer.status.is_client_error(), "{path}: {}", answer.status);
        assert!(!answer.body.contains("<script>alert") && !answer.body.contains("<img"), "{path}");
    }
}
