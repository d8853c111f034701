//! `POST /login`, `GET /me`.

use serde_json::json;

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! {
    me_says_who_is_logged_in,
    a_log_in_that_is_wrong_is_refused,
    a_log_in_makes_the_old_cookie_worthless,
    remember_me_outlives_the_browser,
    no_more_sessions_than_allowed,
}

async fn me_says_who_is_logged_in(db: Db) {
    let shop = Shop::start(&db, &["--idle-timeout", "10m"]).await;
    let mut browser = Browser::new();
    let answer = browser.get(&shop, "/me").await;
    answer.refuses(401);
    assert_eq!(answer.set_cookie(), None);

    let answer = browser.log_in(&shop, "  Ada Lovelace ").await;
    let me = answer.json();
    assert_eq!(me["user"], "Ada Lovelace");
    assert_eq!(browser.get(&shop, "/me").await.json(), me);
    let moment = |name: &str| -> chrono::DateTime<chrono::Utc> {
        me[name].as_str().unwrap().parse().unwrap()
    };
    let length = moment("expires_at") - moment("authenticated_at");
    assert_eq!(length, chrono::TimeDelta::minutes(10));
    let devices = browser.get(&shop, "/devices").await.json();
    assert_eq!(devices[0]["id"], me["session_id"]);
    assert_eq!(me.as_object().unwrap().len(), 4);
}

async fn a_log_in_that_is_wrong_is_refused(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    for (credentials, status) in [
        (json!({"user": "ada", "password": "Demo"}), 401),
        (json!({"user": "ada", "password": ""}), 401),
        (json!({"user": "ada"}), 422),
        (json!({"user": " \t", "password": "demo"}), 422),
        (json!({"user": "é".repeat(41), "password": "demo"}), 422),
        (json!({"user": "a\u{0}b", "password": "demo"}), 422),
        (json!({"user": 1, "password": "demo"}), 422),
        (json!({"user": "ada", "password": "demo", "remember": 1}), 422),
    ] {
        let answer = browser.post(&shop, "/login", credentials.clone()).await;
        answer.refuses(status);
        assert_eq!(answer.set_cookie(), None, "{credentials}");
    }
    assert_eq!(db.rows().await, 0);
    browser.log_in(&shop, &"é".repeat(40)).await;
}

async fn a_log_in_makes_the_old_cookie_worthless(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut browser = Browser::new();
    browser.post(&shop, "/cart", json!({"item": "tea", "quantity": 2})).await;
    let mut planted = browser.clone();
    browser.log_in(&shop, "ada").await;
    assert_ne!(browser.cookie, planted.cookie);

    // For a minute the old cookie is distinguished from a wrong one. It never gives access.
    planted.get(&shop, "/me").await.refuses(409);
    planted.get(&shop, "/cart").await.refuses(409);
    db.run(
        "update sessile.sessions set replaced_at = replaced_at - interval '1 minute'",
        "update sessions set replaced_at = replaced_at - 60000",
    )
    .await;
    assert_eq!(planted.user(&shop).await, None);
    assert_eq!(planted.get(&shop, "/cart").await.json(), json!({"items": {}}));
    assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
    assert_eq!(browser.get(&shop, "/cart").await.json(), json!({"items": {"tea": 2}}));
    assert_eq!(db.rows().await, 1);
}

async fn remember_me_outlives_the_browser(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let max_age = |answer: &crate::browser::Answer| {
        let cookie = answer.set_cookie().unwrap();
        let age = cookie.split("; ").find_map(|part| part.strip_prefix("Max-Age="));
        age.map(|age| age.parse::<u32>().unwrap())
    };
    let month = 30 * 24 * 3600;
    let mut browser = Browser::new();
    assert_eq!(max_age(&browser.log_in(&shop, "ada").await), None);
    let remember = json!({"user": "ada", "password": "demo", "remember": true});
    let age = max_age(&browser.post(&shop, "/login", remember).await).unwrap();
    assert!((month - 60..=month).contains(&age), "{age}");
    let form = [("user", "ada"), ("password", "demo"), ("remember", "on")];
    let age = max_age(&browser.form(&shop, "/login", &form).await).unwrap();
    assert!((month - 60..=month).contains(&age), "{age}");
    db.pass(sessile::days(20)).await;
    assert_eq!(browser.user(&shop).await.as_deref(), Some("ada"));
}

async fn no_more_sessions_than_allowed(db: Db) {
    let shop = Shop::start(&db, &["--sessions-per-user", "2"]).await;
    let mut oldest = Browser::logged_in(&shop, "ada").await;
    db.pass(sessile::seconds(1)).await;
    let mut older = Browser::logged_in(&shop, "ada").await;
    let mut newest = Browser::logged_in(&shop, "ada").await;
    assert_eq!(oldest.user(&shop).await, None);
    assert_eq!(older.user(&shop).await.as_deref(), Some("ada"));
    assert_eq!(newest.user(&shop).await.as_deref(), Some("ada"));

    let strict = ["--sessions-per-user", "2", "--on-limit", "refuse"];
    let shop = Shop::start(&db, &strict).await;
    let credentials = json!({"user": "ada", "password": "demo"});
    let answer = oldest.post(&shop, "/login", credentials).await;
    answer.refuses(403);
    assert_eq!(answer.set_cookie(), None);
    assert_eq!(newest.get(&shop, "/devices").await.json().as_array().unwrap().len(), 2);
}
