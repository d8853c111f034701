//! A row that a person has edited, over HTTP: an error that says nothing of the inside, and two ways out of it.

use crate::{
    site::{NOT_NOW, Site, Visitor, routes},
    support::{Db, cases},
};

cases! { an_unreadable_session_is_500_until_its_user_logs_in_or_out }

/// A user whose session cannot be read.
async fn unreadable(db: &Db, site: &Site) -> Visitor {
    let ada = site.user("ada").await;
    let data = "data = '[\"geheim\"]'";
    db.run(&format!("update sessile.sessions set {data}"), &format!("update sessions set {data}"))
        .await;
    ada
}

async fn an_unreadable_session_is_500_until_its_user_logs_in_or_out(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let mut ada = unreadable(&db, &site).await;
    for path in ["/get/a", "/put/a/2"] {
        let response = ada.get(path).await;
        assert_eq!((response.status, response.body.as_str()), (500, NOT_NOW), "{path}");
        assert!(response.sets_no_cookie(), "{path}");
    }
    assert_eq!(ada.get("/").await.body, "nobody");
    assert_eq!(ada.get("/log-in/ada").await.status, 200);
    assert_eq!(ada.get("/").await.body, "ada");
    assert_eq!(ada.get("/put/a/2").await.status, 200);

    let mut ada = unreadable(&db, &site).await;
    let response = ada.get("/log-out").await;
    assert!(response.status == 200 && response.removes_the_cookie());
    assert_eq!(ada.get("/put/a/2").await.status, 200);
}
