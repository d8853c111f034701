//! Public ids are no secrets: they are in lists, logs and URLs. Somebody else's id gives nothing.

use axum::{
    Router,
    extract::{Path, Query},
    routing::get,
};
use serde::Deserialize;
use sessile::{Error, PageKey, Session, SessionId, hours};

use super::{answer, bytes};
use crate::{
    site::{Library, Site, Visitor, cookies, routes},
    support::{Db, cases},
};

cases! {
    another_users_id_gives_nothing,
    a_page_key_of_another_user_gives_nothing,
    a_cookie_and_an_id_of_another_realm_give_nothing,
}

#[derive(Deserialize)]
struct After {
    after: String,
}

fn devices() -> Router {
    let end = async |session: Session, Path(id): Path<String>| {
        let Ok(id) = id.parse::<SessionId>() else { return Ok("nothing") };
        Ok::<_, Error>(if session.log_out_device(id).await? { "ended" } else { "nothing" })
    };
    let list = async |session: Session| {
        let devices = session.devices().await?;
        Ok::<_, Error>(devices.iter().map(|device| format!("{} ", device.id)).collect::<String>())
    };
    routes().route("/end/{id}", get(end)).route("/devices", get(list))
}

fn id_of(visitor: &Visitor) -> SessionId {
    uuid::Uuid::from_slice(&bytes(visitor.token())[..16]).unwrap().into()
}

/// Of another user, a guest, an expired or ended session, and of nobody: the answers are the same.
async fn another_users_id_gives_nothing(db: Db) {
    let site = Site::serve(&db, devices()).await;
    let expired = site.user("mallory").await;
    db.pass(hours(25)).await;
    let (bob, guest) = (site.user("bob").await, site.guest().await);
    let ended = site.user("mallory").await;
    ended.clone().get("/log-out").await;
    let mallory = site.user("mallory").await;
    let own = mallory.clone().get("/devices").await.body;
    assert_eq!(own, format!("{} ", id_of(&mallory)));
    let nothing = answer(&site, "GET", "/end/nothing", &mallory.lines()).await;
    assert!(nothing.ends_with("nothing"), "{nothing}");
    let ids = [&bob, &guest, &expired, &ended].map(|visitor| id_of(visitor).to_string());
    let others = [uuid::Uuid::now_v7().to_string(), uuid::Uuid::nil().to_string()];
    for id in ids.iter().chain(&others) {
        let path = format!("/end/{id}");
        assert_eq!(answer(&site, "GET", &path, &mallory.lines()).await, nothing, "{id}");
        // Without a user, nobody has devices.
        for lines in [vec![], guest.lines()] {
            assert_eq!(site.get(&path, &lines).await.status, 401, "{id}");
        }
    }
    for (visitor, who) in [(&bob, "bob"), (&guest, "a guest"), (&mallory, "mallory")] {
        assert_eq!(site.get("/", &visitor.lines()).await.body, who);
    }
    assert_eq!(mallory.clone().get(&format!("/end/{}", id_of(&mallory))).await.body, "ended");
}

/// A page key has a time and an id, and no user: the list's own user decides.
async fn a_page_key_of_another_user_gives_nothing(db: Db) {
    let library = Library::over(&db);
    let sessions = library.sessions.clone();
    let page = async move |session: Session, Query(after): Query<After>| {
        let user = session.require_user::<String>()?;
        let key = after.after.parse::<PageKey>()?;
        let page = sessions.of_user(user).after(key).await?;
        Ok::<_, Error>(page.iter().map(|info| format!("{} ", info.id)).collect::<String>())
    };
    let site = library.serve(routes().route("/page", get(page))).await;
    let mallory = site.user("mallory").await;
    let ada = site.user("ada").await;
    let infos = site.sessions.of_user("ada").await.unwrap();
    let key = infos[0].page_key().unwrap().to_string();
    let listed = site.get(&format!("/page?after={key}"), &mallory.lines()).await.body;
    assert_eq!(listed, format!("{} ", id_of(&mallory)), "older ones of the same user");
    assert!(!listed.contains(&id_of(&ada).to_string()));
    // A far future key: all of the own ones, and no others.
    let far = format!("{}.{}", 253_402_300_799_999_999_i64, id_of(&ada));
    let listed = site.get(&format!("/page?after={far}"), &mallory.lines()).await.body;
    assert_eq!(listed, format!("{} ", id_of(&mallory)));
}

async fn a_cookie_and_an_id_of_another_realm_give_nothing(db: Db) {
    let shop = Library::over(&db).serve(devices()).await;
    let office = Library::with(&db, |builder| builder.realm("office")).serve(devices()).await;
    // The same user id, on both.
    let in_shop = shop.user("ada").await;
    let in_office = office.user("ada").await;
    for (site, name, visitor, other) in [
        (&shop, "__Host-id", &in_office, &in_shop),
        (&office, "__Host-office", &in_shop, &in_office),
    ] {
        let foreign = vec![format!("Cookie: {name}={}", visitor.token()).into_bytes()];
        assert_eq!(site.get("/", &foreign).await.body, "nobody", "{name}");
        assert_eq!(site.get("/log-out", &foreign).await.status, 200);
        assert_eq!(site.get("/devices", &foreign).await.status, 401);
        // The visitor's whole `Cookie` header, as a browser sends it to another port of the host.
        assert_eq!(site.get("/", &visitor.lines()).await.body, "nobody", "{name}");
        let path = format!("/end/{}", id_of(visitor));
        assert_eq!(site.get(&path, &other.lines()).await.body, "nothing", "{name}");
        let listed = site.get("/devices", &other.lines()).await.body;
        assert_eq!(listed, format!("{} ", id_of(other)));
        assert!(!site.sessions.revoke(id_of(visitor)).await.unwrap());
        assert!(site.sessions.find(id_of(visitor)).await.unwrap().is_none());
    }
    assert_eq!(shop.sessions.revoke_user("ada").await.unwrap().ended, 1);
    assert_eq!(shop.get("/", &[cookies(&[in_shop.token()])]).await.body, "nobody");
    assert_eq!(office.get("/", &in_office.lines()).await.body, "ada");
}
