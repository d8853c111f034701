//! The data that a handle shows, and the data that a log-in takes along.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sessile::ErrorKind;

use crate::support::{Browser, Db, cases, tap::Spy};

cases! {
    what_was_recorded_is_read_back_before_it_is_written,
    a_value_of_another_type_is_an_error_that_names_its_key,
    the_whole_data_is_a_type_of_the_application,
    the_anonymous_data_comes_along_at_a_log_in,
    the_anonymous_data_can_be_left_behind,
    the_data_of_another_user_never_comes_along,
    the_users_own_data_stays_at_another_log_in,
    data_that_all_goes_leaves_the_session,
    a_session_that_was_logged_out_begins_again,
    a_session_is_saved_in_the_middle_of_a_request,
    what_is_taken_is_gone,
    what_is_taken_before_it_was_written_never_is,
    nothing_is_asked_of_the_database_to_take_what_is_not_there,
    an_option_that_ends_as_none_removes_the_key,
    an_update_that_returns_an_error_is_written,
    a_type_may_use_the_session_while_it_is_read,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
struct Shop {
    theme: String,
    cart: BTreeMap<String, u32>,
    visits: Option<u64>,
}

async fn what_was_recorded_is_read_back_before_it_is_written(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "a", json!(1)).await;
    let session = browser.open(&sessions).await;
    session.insert("b", 2).unwrap();
    session.insert("a", 10).unwrap();
    assert!(session.contains("b") && !session.contains("c"));
    assert_eq!(session.keys(), ["a", "b"]);
    assert_eq!(session.get("a").unwrap(), Some(10));
    assert!(session.remove("a") && !session.remove("a") && !session.remove("c"));
    assert_eq!(session.get::<u64>("a").unwrap(), None);
    session.clear();
    assert_eq!(session.keys(), [""; 0]);
    session.insert("d", 4).unwrap();
    assert_eq!(session.data::<Value>().unwrap(), json!({"d": 4}));
    // Other requests see none of it yet.
    assert_eq!(browser.open(&sessions).await.data::<Value>().unwrap(), json!({"a": 1}));
    session.finish().await.unwrap();
    assert_eq!(browser.open(&sessions).await.data::<Value>().unwrap(), json!({"d": 4}));
}

async fn a_value_of_another_type_is_an_error_that_names_its_key(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "theme", json!("dark")).await;
    let session = browser.open(&sessions).await;
    let error = session.get::<u64>("theme").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert!(error.to_string().contains("\"theme\"") && error.to_string().contains("u64"));
    assert!(!error.to_string().contains("dark"));
    let error = session.update("theme", |n: &mut u64| *n += 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert_eq!(session.get::<String>("theme").unwrap().as_deref(), Some("dark"));
}

async fn the_whole_data_is_a_type_of_the_application(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    assert_eq!(session.data::<Shop>().unwrap(), Shop::default());
    session.insert("theme", "dark").unwrap();
    session.insert("cart", json!({"tea": 2})).unwrap();
    browser.finish(&session).await;
    let shop = browser.open(&sessions).await.data::<Shop>().unwrap();
    let cart = BTreeMap::from([("tea".to_owned(), 2)]);
    assert_eq!(shop, Shop { theme: "dark".to_owned(), cart, visits: None });
    let error = browser.open(&sessions).await.data::<BTreeMap<String, u64>>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
}

async fn the_anonymous_data_comes_along_at_a_log_in(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, _) = Browser::with(&sessions, "cart", json!("tea")).await;
    let session = browser.open(&sessions).await;
    session.insert("just recorded", 1).unwrap();
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.keys(), ["cart", "just recorded"]);
}

async fn the_anonymous_data_can_be_left_behind(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, _) = Browser::with(&sessions, "cart", json!("tea")).await;
    let session = browser.open(&sessions).await;
    session.insert("just recorded", 1).unwrap();
    session.log_in("ada").discard_data().await.unwrap();
    assert_eq!(session.keys(), [""; 0]);
    session.insert("new", 1).unwrap();
    browser.finish(&session).await;
    assert_eq!(browser.open(&sessions).await.keys(), ["new"]);
    assert!(!db.dump().await.contains("tea"));
}

async fn the_data_of_another_user_never_comes_along(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, _) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    session.insert("adas", "secret").unwrap();
    browser.finish(&session).await;
    // The same applies to a request of hers that is still in flight.
    let slow = browser.open(&sessions).await;
    slow.insert("also adas", 1).unwrap();

    let session = browser.open(&sessions).await;
    session.insert("recorded as ada", 1).unwrap();
    session.log_in("bob").await.unwrap();
    browser.finish(&session).await;
    assert_eq!(slow.finish().await.unwrap_err().kind(), ErrorKind::Superseded);

    let bobs = browser.open(&sessions).await;
    assert_eq!((bobs.user_id().as_deref(), bobs.keys()), (Some("bob"), vec![]));
    assert!(!db.dump().await.contains("adas"));
}

async fn the_users_own_data_stays_at_another_log_in(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    session.insert("theme", "dark").unwrap();
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    assert_eq!((session.id(), session.keys()), (Some(id), vec!["theme".to_owned()]));
    session.log_in("ada").discard_data().await.unwrap();
    browser.finish(&session).await;
    assert_eq!(browser.open(&sessions).await.keys(), [""; 0]);
}

async fn data_that_all_goes_leaves_the_session(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::with(&sessions, "n", json!(1)).await;
    let session = browser.open(&sessions).await;
    session.remove("n");
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    assert_eq!((session.id(), session.keys()), (Some(id), vec![]));
}

async fn a_session_that_was_logged_out_begins_again(db: Db) {
    let sessions = db.sessions().await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    session.insert("adas", 1).unwrap();
    assert_eq!(session.log_out().await.unwrap().ended, 1);
    assert_eq!((session.id(), session.user_id(), session.keys()), (None, None, vec![]));
    session.insert("message", "good bye").unwrap();
    browser.finish(&session).await;
    let next = browser.open(&sessions).await;
    assert_ne!(next.id(), Some(id));
    assert_eq!((next.user_id(), next.keys()), (None, vec!["message".to_owned()]));

    // If there is nothing to write, the cookie is removed.
    let session = browser.open(&sessions).await;
    session.log_out().await.unwrap();
    browser.finish(&session).await;
    assert_eq!(browser.cookie, None);
    assert_eq!(db.rows().await, 0);
}

async fn a_session_is_saved_in_the_middle_of_a_request(db: Db) {
    let sessions = db.sessions().await;
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    session.insert("n", 1).unwrap();
    session.save().await.unwrap();
    assert_eq!(db.rows().await, 1);
    session.insert("n", 2).unwrap();
    session.save().await.unwrap();
    session.insert("n", 3).unwrap();
    browser.finish(&session).await;
    assert_eq!(browser.open(&sessions).await.get("n").unwrap(), Some(3));
    assert_eq!(db.rows().await, 1);
}

async fn what_is_taken_is_gone(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "flash", json!("saved")).await;
    let session = browser.open(&sessions).await;
    session.insert("other", 1).unwrap();
    assert_eq!(session.take::<u64>("flash").await.unwrap_err().kind(), ErrorKind::WrongType);
    assert_eq!(session.take::<String>("flash").await.unwrap().as_deref(), Some("saved"));
    assert!(!session.contains("flash"));
    assert_eq!(session.take::<String>("flash").await.unwrap(), None);
    // The change is written at once, without the other recorded changes.
    assert_eq!(browser.open(&sessions).await.keys(), [""; 0]);
    session.finish().await.unwrap();
    assert_eq!(browser.open(&sessions).await.keys(), ["other"]);
}

async fn what_is_taken_before_it_was_written_never_is(db: Db) {
    let sessions = db.sessions().await;
    let visitor = Browser::default().open(&sessions).await;
    visitor.insert("flash", 1).unwrap();
    assert_eq!(visitor.take("flash").await.unwrap(), Some(1));
    visitor.finish().await.unwrap();
    assert_eq!(db.rows().await, 0);

    let (browser, _) = Browser::with(&sessions, "flash", json!(1)).await;
    let session = browser.open(&sessions).await;
    session.insert("flash", 2).unwrap();
    assert_eq!(session.take("flash").await.unwrap(), Some(2));
    session.remove("flash");
    session.finish().await.unwrap();
    assert_eq!(browser.open(&sessions).await.keys(), [""; 0]);

    // A removal that is only recorded stays recorded.
    let (browser, _) = Browser::with(&sessions, "flash", json!(1)).await;
    let session = browser.open(&sessions).await;
    session.clear();
    assert_eq!(session.take::<u64>("flash").await.unwrap(), None);
    session.finish().await.unwrap();
    assert_eq!(browser.open(&sessions).await.keys(), [""; 0]);
}

async fn nothing_is_asked_of_the_database_to_take_what_is_not_there(db: Db) {
    let spy = Spy::new();
    let sessions = db.tapped(&spy).build().unwrap();
    let (browser, _) = Browser::with(&sessions, "n", json!(1)).await;
    let session = browser.open(&sessions).await;
    spy.calls();
    assert_eq!(session.take::<String>("flash").await.unwrap(), None);
    assert!(spy.calls().is_empty());
}

async fn an_option_that_ends_as_none_removes_the_key(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "code", json!(7)).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.update("code", Option::<u64>::take).await.unwrap(), Some(7));
    assert!(!session.contains("code"));
    assert_eq!(browser.open(&sessions).await.keys(), [""; 0]);

    let visitor = Browser::default().open(&sessions).await;
    let rows = db.rows().await;
    assert_eq!(visitor.update("code", Option::<u64>::take).await.unwrap(), None);
    assert_eq!((visitor.id(), db.rows().await), (None, rows), "no session is made for nothing");
}

async fn an_update_that_returns_an_error_is_written(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "tries", json!(1)).await;
    let session = browser.open(&sessions).await;
    let returned = session.update("tries", |tries: &mut u64| {
        *tries += 1;
        Err::<(), _>("a wrong code")
    });
    assert_eq!(returned.await.unwrap(), Err("a wrong code"));
    assert_eq!(browser.open(&sessions).await.get("tries").unwrap(), Some(2));
}

thread_local! {
    static IN_USE: std::cell::RefCell<Option<sessile::Session>> = const { std::cell::RefCell::new(None) };
}

/// A value whose type reads another value of the session.
#[derive(Debug, PartialEq)]
struct Curious(Option<u64>);

impl<'de> Deserialize<'de> for Curious {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer)?;
        IN_USE.with_borrow(|session| Ok(Self(session.as_ref().unwrap().get("other").unwrap())))
    }
}

async fn a_type_may_use_the_session_while_it_is_read(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::with(&sessions, "value", json!(1)).await;
    let session = browser.open(&sessions).await;
    session.insert("other", 2).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    // In a separate thread, which a deadlock would block forever.
    std::thread::spawn(move || {
        IN_USE.set(Some(session.clone()));
        let whole = session.data::<BTreeMap<String, Curious>>().unwrap();
        sender.send((session.get::<Curious>("value").unwrap(), whole.len())).unwrap();
    });
    let read = receiver.recv_timeout(std::time::Duration::from_secs(10));
    assert_eq!(read.expect("it waits for itself"), (Some(Curious(Some(2))), 2));
}
