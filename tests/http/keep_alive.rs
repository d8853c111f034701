//! One connection, many requests: no request sees anything of another.

use axum::routing::get;
use http::StatusCode;
use sessile::{Error, Session};

use crate::{
    site::{Site, routes},
    support::{Db, cases},
    wire::Connection,
};

cases! { each_request_on_a_connection_has_its_own_session }

async fn each_request_on_a_connection_has_its_own_session(db: Db) {
    let fails = |session: Session| async move {
        session.insert("a", "never")?;
        Ok::<_, Error>(StatusCode::INTERNAL_SERVER_ERROR)
    };
    let site = Site::serve(&db, routes().route("/fails", get(fails))).await;
    let (ada, bob) = (site.user("ada").await, site.user("bob").await);
    let (ada, bob, nobody) = (&ada.lines()[..], &bob.lines()[..], &[][..]);
    let mut connection = Connection::open(site.address).await;
    let mut ask = async |path, lines| {
        connection.get(path, lines).await;
        let response = connection.response().await.expect("the connection is kept");
        (response.status, response.body.clone(), response.set_cookies().len())
    };
    let answers = |status, body: &str, cookies| (status, body.to_owned(), cookies);

    assert_eq!(ask("/", ada).await, answers(200, "ada", 0));
    assert_eq!(ask("/", nobody).await, answers(200, "nobody", 0));
    assert_eq!(ask("/", bob).await, answers(200, "bob", 0));
    assert_eq!(ask("/put/a/1", ada).await, answers(200, "put", 0));
    assert_eq!(ask("/put/a/2", nobody).await, answers(200, "put", 1));
    assert_eq!(ask("/get/a", bob).await, answers(200, "nothing", 0));
    assert_eq!(ask("/get/a", nobody).await, answers(200, "nothing", 0));
    assert_eq!(ask("/fails", ada).await, answers(500, "", 0));
    assert_eq!(ask("/get/a", ada).await, answers(200, "1", 0));
    assert_eq!(ask("/log-out", bob).await, answers(200, "logged out", 1));
    assert_eq!(ask("/", bob).await, answers(200, "nobody", 0));
    assert_eq!(ask("/untouched", bob).await, answers(200, "untouched", 0));
    assert_eq!(ask("/", ada).await, answers(200, "ada", 0));
}
