//! `GET /devices`, `DELETE /devices/{id}`.

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! {
    devices_are_listed,
    a_device_is_logged_out,
    another_users_device_is_nobodys,
    to_end_others_takes_a_recent_log_in,
}

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 \
    (KHTML, like Gecko) Version/18.3 Mobile/15E148 Safari/604.1";
const LAPTOP: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:135.0) Gecko/20100101 Firefox/135.0";

async fn devices_are_listed(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut laptop = Browser::new().agent(LAPTOP);
    laptop.get(&shop, "/devices").await.refuses(401);
    laptop.log_in(&shop, "ada").await;
    db.pass(sessile::minutes(2)).await;
    let mut phone = Browser::new().agent(PHONE);
    phone.log_in(&shop, "ada").await;
    Browser::logged_in(&shop, "bob").await;

    let devices = phone.get(&shop, "/devices").await.json();
    let devices = devices.as_array().unwrap();
    assert_eq!(devices.len(), 2);
    for (device, agent, current) in [(&devices[0], PHONE, true), (&devices[1], LAPTOP, false)] {
        assert_eq!(device["user_agent"], agent);
        assert_eq!(device["current"], current);
        assert_eq!(device["ip"], "127.0.0.1");
        for name in ["created_at", "last_seen_at"] {
            let at = device[name].as_str().unwrap();
            assert!(at.parse::<chrono::DateTime<chrono::Utc>>().is_ok(), "{at}");
        }
    }
    let page = phone.for_people().get(&shop, "/devices").await;
    assert_eq!(page.status, 200);
    for text in ["Safari on iOS", "Firefox on Linux", "This device", "127.0.0.1", "2 minutes ago"] {
        assert!(page.text.contains(text), "{text}");
    }
    assert_eq!(page.text.matches("This device").count(), 1);
}

async fn a_device_is_logged_out(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut here = Browser::logged_in(&shop, "ada").await;
    let mut there = Browser::logged_in(&shop, "ada").await;
    let id = async |browser: &mut Browser| {
        let me = browser.get(&shop, "/me").await.json();
        me["session_id"].as_str().unwrap().to_owned()
    };
    let (here_id, there_id) = (id(&mut here).await, id(&mut there).await);

    let answer = here.delete(&shop, &format!("/devices/{there_id}")).await;
    assert_eq!((answer.status, answer.text.as_str(), answer.set_cookie()), (204, "", None));
    let cookie = there.cookie.clone();
    assert_eq!(there.user(&shop).await, None);
    assert_eq!(there.cookie, cookie, "a dead cookie is left alone");
    here.delete(&shop, &format!("/devices/{there_id}")).await.refuses(404);

    let answer = here.delete(&shop, &format!("/devices/{here_id}")).await;
    assert_eq!(answer.status, 204);
    assert_eq!(here.cookie, None);
    assert_eq!(db.rows().await, 0);
}

async fn another_users_device_is_nobodys(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut ada = Browser::logged_in(&shop, "ada").await;
    let mut bob = Browser::logged_in(&shop, "bob").await;
    let me = bob.get(&shop, "/me").await.json();
    let path = format!("/devices/{}", me["session_id"].as_str().unwrap());
    ada.delete(&shop, &path).await.refuses(404);
    Browser::new().delete(&shop, &path).await.refuses(401);
    assert_eq!(bob.user(&shop).await.as_deref(), Some("bob"));
    for id in ["x", "0", "00000000-0000-0000-0000-000000000000", "%00"] {
        ada.delete(&shop, &format!("/devices/{id}")).await.refuses(404);
    }
}

/// Whoever has a stolen cookie, and not the password, sees the devices and can end only this one.
async fn to_end_others_takes_a_recent_log_in(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    let mut here = Browser::logged_in(&shop, "ada").await;
    let mut there = Browser::logged_in(&shop, "ada").await;
    let id = async |browser: &mut Browser| {
        browser.get(&shop, "/me").await.json()["session_id"].as_str().unwrap().to_owned()
    };
    let there_id = id(&mut there).await;
    let paths = [
        format!("/devices/{there_id}/log-out"),
        "/logout-others".to_owned(),
        "/logout-everywhere".to_owned(),
    ];
    db.pass(sessile::minutes(6)).await;
    for path in &paths {
        here.press(&shop, path).await.refuses(403);
        let page = here.for_people().press(&shop, path).await;
        assert_eq!((page.status, page.set_cookie()), (403, None), "{path}");
        assert!(page.text.contains(r#"action="/confirm""#), "{}", page.text);
        assert!(page.text.contains(r#"name="next" value="/devices""#), "{}", page.text);
        let wrong = [("password", "guess"), ("next", "/devices")];
        assert_eq!(here.for_people().form(&shop, "/confirm", &wrong).await.status, 401);
    }
    here.delete(&shop, &format!("/devices/{there_id}")).await.refuses(403);
    assert_eq!(here.get(&shop, "/devices").await.status, 200);
    assert_eq!((there.user(&shop).await.as_deref(), db.rows().await), (Some("ada"), 2));

    for (n, path) in
        ["/devices/{id}/log-out", "/logout-others", "/logout-everywhere"].into_iter().enumerate()
    {
        here.log_in(&shop, "ada").await;
        there.log_in(&shop, "ada").await;
        let path = path.replace("{id}", &id(&mut there).await);
        db.pass(sessile::minutes(6)).await;
        let mut person = here.for_people();
        let right = [("password", "demo"), ("next", ["/devices", "/cart", "//evil.example"][n])];
        let answer = person.form(&shop, "/confirm", &right).await;
        assert_eq!((answer.status, answer.location()), (303, ["/devices", "/cart", "/me"][n]));
        assert_eq!(person.press(&shop, &path).await.status, 303, "{path}");
        assert_eq!(there.user(&shop).await, None, "{path}");
        here = person.for_scripts();
    }
    // Nobody has to give the password to log out here.
    here.log_in(&shop, "ada").await;
    let own = id(&mut here).await;
    db.pass(sessile::minutes(6)).await;
    assert_eq!(here.delete(&shop, &format!("/devices/{own}")).await.status, 204);
    here.log_in(&shop, "ada").await;
    db.pass(sessile::minutes(6)).await;
    here.press(&shop, "/logout").await.ended(1);
}
