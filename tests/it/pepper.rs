//! Secrets that are hashed with a key: whoever writes rows makes no session, keys change, and rows are converted.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sessile::{
    ErrorKind, SessionId, Sessions,
    encryption::{Pepper, Rollout},
    minutes,
};
use sha2::{Digest, Sha256};

use crate::{
    encryption::{key, set},
    support::{Browser, Db, cases},
};

cases! {
    and_wrapped:
    the_table_has_no_hash_that_can_be_made_without_the_key,
    every_call_works_with_hashed_secrets,
    whoever_writes_rows_makes_no_session,
    a_handle_does_not_become_another_users,
    a_log_in_that_is_sent_twice_gives_one_session,
    an_old_cookie_is_told_from_a_wrong_one,
    a_node_without_the_key_logs_nobody_out,
    a_new_key_logs_nobody_out,
    a_retired_key_ends_its_sessions,
    each_step_of_the_rollout_logs_nobody_out,
    requests_go_on_over_a_conversion,
    a_conversion_keeps_the_secrets_of_a_log_in_that_was_sent_twice,
    a_secret_that_was_just_replaced_waits,
    a_key_that_is_none_is_as_an_edited_row,
}

async fn peppered(db: &Db, pepper: Pepper) -> Sessions {
    db.builder().await.pepper(pepper).build().unwrap()
}

/// The row's hash in hexadecimal, and the name of its key.
async fn hash(db: &Db, id: SessionId) -> (String, String) {
    let columns = |hash: &str| format!("select {hash} || ' ' || coalesce(hash_key, '-')");
    let postgres = columns("encode(secret_hash, 'hex')")
        + &format!(" from sessile.sessions where id = '{id}'");
    let sqlite = columns("lower(hex(secret_hash))")
        + &format!(" from sessions where hex(id) = upper(replace('{id}', '-', ''))");
    let text = db.texts(&postgres, &sqlite).await.remove(0);
    let (hash, key) = text.split_once(' ').unwrap();
    (hash.to_owned(), key.to_owned())
}

/// A literal of bytes in hexadecimal.
fn bytes(db: &Db, hex: &str) -> String {
    if db.is_postgres() { format!("'\\x{hex}'") } else { format!("x'{hex}'") }
}

/// SHA-256 of the secret in the cookie.
fn plain(browser: &Browser) -> String {
    let token = URL_SAFE_NO_PAD.decode(browser.cookie.as_ref().unwrap()).unwrap();
    hex::encode(Sha256::digest(&token[16..]))
}

/// A cookie with the id of one session, and the secret of the browser.
fn forged(id: SessionId, browser: &Browser) -> Browser {
    let token = URL_SAFE_NO_PAD.decode(browser.cookie.as_ref().unwrap()).unwrap();
    let token = [id.as_uuid().as_bytes(), &token[16..]].concat();
    Browser { cookie: Some(URL_SAFE_NO_PAD.encode(token)) }
}

async fn the_table_has_no_hash_that_can_be_made_without_the_key(db: Db) {
    let sessions = peppered(&db, Pepper::new(key("p1"))).await;
    let (mut browser, id) = Browser::with(&sessions, "a", 1.into()).await;
    let session = browser.open(&sessions).await;
    let mut hashes = vec![hash(&db, id).await.0];
    session.begin_log_in().user("ada").await.unwrap();
    hashes.push(hash(&db, id).await.0);
    session.complete_log_in().await.unwrap();
    hashes.push(hash(&db, id).await.0);
    session.renew().await.unwrap();
    hashes.push(hash(&db, id).await.0);
    session.reauthenticate().await.unwrap();
    browser.finish(&session).await;
    let (last, key) = hash(&db, id).await;
    assert_eq!(key, "p1");
    assert_ne!(last, plain(&browser));
    hashes.push(last);
    let different: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len());
    assert!(!db.dump().await.contains(&plain(&browser)));
}

async fn every_call_works_with_hashed_secrets(db: Db) {
    let sessions = peppered(&db, Pepper::new(key("p1"))).await;
    let (mut browser, id) = Browser::with(&sessions, "cart", 1.into()).await;
    let session = browser.open(&sessions).await;
    session.begin_log_in().await.unwrap();
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    session.complete_log_in_as("ada").await.unwrap();
    session.update("cart", |cart: &mut u32| *cart += 1).await.unwrap();
    session.renew().await.unwrap();
    session.reauthenticate().await.unwrap();
    session.insert("theme", "dark").unwrap();
    browser.finish(&session).await;
    let (other, _) = Browser::logged_in(&sessions, "ada").await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.get::<u32>("cart").unwrap(), Some(2));
    assert_eq!(session.devices().await.unwrap().len(), 2);
    session.log_out_others().await.unwrap();
    assert!(!other.is_in(&sessions).await);
    assert_eq!(sessions.update_of_user("ada", "d", |d: &mut u32| *d += 4).await.unwrap(), 1);
    session.refresh().await.unwrap();
    assert_eq!(session.get::<u32>("d").unwrap(), Some(4));
    // Another user, in a new session.
    session.log_in("bob").await.unwrap();
    browser.finish(&session).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.user_id().as_deref(), Some("bob"));
    // A log-in after the session has ended, which gives the user another row.
    let late = browser.open(&sessions).await;
    session.log_out().await.unwrap();
    late.log_in("bob").await.unwrap();
    browser.finish(&late).await;
    let session = browser.open(&sessions).await;
    assert_ne!(session.id(), Some(id));
    session.log_out_everywhere().await.unwrap();
    assert!(!browser.is_in(&sessions).await);
}

async fn whoever_writes_rows_makes_no_session(db: Db) {
    let sessions = peppered(&db, Pepper::new(key("p1"))).await;
    let (_, of_ada) = Browser::logged_in(&sessions, "ada").await;
    let (eve, of_eve) = Browser::logged_in(&sessions, "eve").await;
    let (own, _) = hash(&db, of_eve).await;
    let own = bytes(&db, &own);
    // Eve's hash in ada's row, under the key's name, and as the further secret of the row.
    let in_ada = forged(of_ada, &eve);
    set(&db, of_ada, &format!("secret_hash = {own}")).await;
    assert!(!in_ada.is_in(&sessions).await);
    set(&db, of_ada, &format!("twin_hashes = {own}")).await;
    assert!(!in_ada.is_in(&sessions).await);
    // A plain hash of a secret that eve knows.
    let known = bytes(&db, &plain(&eve));
    for key in ["null", "'p1'"] {
        let what = format!("secret_hash = {known}, twin_hashes = {known}, hash_key = {key}");
        set(&db, of_ada, &what).await;
        assert!(!in_ada.is_in(&sessions).await, "{key}");
    }
    // Eve's own row, with ada's name.
    assert!(eve.is_in(&sessions).await);
    set(&db, of_eve, "user_id = 'ada'").await;
    assert!(!eve.is_in(&sessions).await);
    // With another realm.
    set(&db, of_eve, "user_id = 'eve', realm = 'office'").await;
    let office = db.builder().await.realm("office").pepper(Pepper::new(key("p1")));
    assert!(!eve.is_in(&office.build().unwrap()).await);
    set(&db, of_eve, "realm = ''").await;
    assert!(eve.is_in(&sessions).await, "as it was, it is eve's again");
    // A visitor's row, made into a user's.
    let (visitor, of_visitor) = Browser::with(&sessions, "a", 1.into()).await;
    assert!(visitor.open(&sessions).await.id().is_some());
    set(&db, of_visitor, "user_id = 'ada', authenticated_at = created_at").await;
    let session = visitor.open(&sessions).await;
    assert_eq!((session.id(), session.user_id()), (None, None));
}

/// As a socket has it, which stays open.
async fn a_handle_does_not_become_another_users(db: Db) {
    let sessions = peppered(&db, Pepper::new(key("p1"))).await;
    let (eve, of_eve) = Browser::logged_in(&sessions, "eve").await;
    let socket = eve.open(&sessions).await;
    socket.refresh().await.unwrap();
    set(&db, of_eve, "user_id = 'ada'").await;
    assert_eq!(socket.refresh().await.unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(socket.user_id(), None);
}

async fn a_log_in_that_is_sent_twice_gives_one_session(db: Db) {
    let sessions = peppered(&db, Pepper::new(key("p1"))).await;
    let (browser, id) = Browser::with(&sessions, "cart", 1.into()).await;
    let (first, second) = (browser.open(&sessions).await, browser.open(&sessions).await);
    first.log_in("ada").await.unwrap();
    // One request was on its way before, the other one comes after.
    let third = browser.open(&sessions).await;
    second.log_in("ada").await.unwrap();
    third.log_in("ada").await.unwrap();
    for session in [first, second, third] {
        let mut browser = browser.clone();
        browser.finish(&session).await;
        assert_eq!(browser.open(&sessions).await.id(), Some(id));
    }
    assert_eq!(db.rows().await, 1);
}

/// After a log-in, after the log-in of another user, and after a renewal.
async fn an_old_cookie_is_told_from_a_wrong_one(db: Db) {
    let sessions = peppered(&db, Pepper::new(key("p1"))).await;
    let (mut browser, _) = Browser::with(&sessions, "cart", 1.into()).await;
    for user in ["ada", "bob", ""] {
        let before = browser.clone();
        let session = browser.open(&sessions).await;
        match user {
            "" => session.renew().await.unwrap(),
            _ => session.log_in(user).await.unwrap(),
        }
        browser.finish(&session).await;
        let late = before.open(&sessions).await;
        assert!(late.is_superseded(), "{user:?}");
    }
    assert!(browser.is_in(&sessions).await);
}

async fn a_node_without_the_key_logs_nobody_out(db: Db) {
    let sessions = peppered(&db, Pepper::new(key("p1"))).await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    let before = hash(&db, id).await;
    for (node, what) in [
        (db.sessions().await, "SessionsBuilder::pepper"),
        (peppered(&db, Pepper::new(key("p2"))).await, "Pepper::read"),
    ] {
        let error = browser.try_open(&node).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encryption, "{error}");
        for part in ["\"p1\"", what] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    assert_eq!(hash(&db, id).await, before);
    assert!(browser.is_in(&sessions).await);
}

async fn a_new_key_logs_nobody_out(db: Db) {
    let old = peppered(&db, Pepper::new(key("p1"))).await;
    let (mut browser, id) = Browser::logged_in(&old, "ada").await;
    // All nodes read the new key before one of them writes with it.
    let both = peppered(&db, Pepper::new(key("p1")).read(key("p2"))).await;
    let new = peppered(&db, Pepper::new(key("p2")).read(key("p1"))).await;
    assert!(browser.is_in(&new).await);
    let session = browser.open(&new).await;
    session.update("n", |n: &mut u32| *n += 1).await.unwrap();
    assert_eq!(hash(&db, id).await.1, "p1");
    session.renew().await.unwrap();
    browser.finish(&session).await;
    assert_eq!(hash(&db, id).await.1, "p2");
    assert!(browser.is_in(&both).await);
    // A secret of each key for one row: the request keeps the one that it shows.
    let (first, second) = (browser.open(&both).await, browser.open(&new).await);
    first.log_in("ada").await.unwrap();
    second.log_in("ada").await.unwrap();
    let (mut one, mut two) = (browser.clone(), browser);
    one.finish(&first).await;
    two.finish(&second).await;
    assert!(one.is_in(&new).await && two.is_in(&both).await);
    db.pass(minutes(2)).await;
    let session = one.open(&new).await;
    one.finish(&session).await;
    new.flush().await.unwrap();
    db.heard().await;
    assert_eq!(hash(&db, id).await.1, "p1", "the name is that of the secret which was kept");
    assert!(one.is_in(&new).await && !two.is_in(&new).await);
    let report = new.rewrap().dry_run(true).await.unwrap();
    assert_eq!(report.hash_keys, BTreeMap::from([(Some("p1".to_owned()), 1)]));
}

async fn a_retired_key_ends_its_sessions(db: Db) {
    let old = peppered(&db, Pepper::new(key("p1"))).await;
    let (browser, _) = Browser::logged_in(&old, "ada").await;
    let new = peppered(&db, Pepper::new(key("p2")).retire("p1")).await;
    assert!(!browser.is_in(&new).await);
    assert!(browser.is_in(&old).await);
}

async fn each_step_of_the_rollout_logs_nobody_out(db: Db) {
    let none = db.sessions().await;
    let at = |rollout| Pepper::new(key("p1")).rollout(rollout);
    let prepare = peppered(&db, at(Rollout::Prepare)).await;
    let migrate = peppered(&db, at(Rollout::Migrate)).await;
    let enforce = peppered(&db, at(Rollout::Enforce)).await;
    let (first, of_first) = Browser::logged_in(&none, "ada").await;
    let (second, of_second) = Browser::logged_in(&prepare, "ada").await;
    assert_eq!(
        (hash(&db, of_first).await.1, hash(&db, of_second).await.1),
        ("-".into(), "-".into())
    );
    assert_eq!(prepare.rewrap().await.unwrap().hashed, 0, "some nodes do not know the key");
    assert!(second.is_in(&none).await);
    let (third, of_third) = Browser::logged_in(&migrate, "ada").await;
    assert_eq!(hash(&db, of_third).await.1, "p1");
    for browser in [&first, &second, &third] {
        assert!(browser.is_in(&prepare).await && browser.is_in(&migrate).await);
    }
    assert!(!first.is_in(&enforce).await, "a plain hash is nobody's");

    let report = migrate.rewrap().dry_run(true).await.unwrap();
    assert_eq!(report.hashed, 0);
    let count = |plain, hashed| BTreeMap::from([(None, plain), (Some("p1".to_owned()), hashed)]);
    assert_eq!(report.hash_keys, count(2, 1));
    let report = migrate.rewrap().await.unwrap();
    assert_eq!((report.hashed, report.hash_keys), (2, count(2, 1)));
    assert_eq!(migrate.rewrap().await.unwrap().hashed, 0);
    db.heard().await;
    for (browser, id) in [(&first, of_first), (&second, of_second), (&third, of_third)] {
        assert_eq!(hash(&db, id).await.1, "p1");
        for node in [&prepare, &migrate, &enforce] {
            assert!(browser.is_in(node).await);
        }
    }
    // The plain hash, which the conversion kept for requests that were under way, is nobody's either.
    assert_ne!(hash(&db, of_first).await.0, plain(&first));
    let session = first.open(&enforce).await;
    first.clone().finish(&session).await;
    enforce.flush().await.unwrap();
    assert!(!db.dump().await.contains(&plain(&first)), "the first request drops it");
    assert!(first.is_in(&enforce).await);
}

async fn requests_go_on_over_a_conversion(db: Db) {
    let none = db.sessions().await;
    let migrate = peppered(&db, Pepper::new(key("p1")).rollout(Rollout::Migrate)).await;
    let mut browsers = Vec::new();
    for n in 0..8_u32 {
        browsers.push(Browser::logged_in(&none, &format!("user{n}")).await.0);
    }
    let mut sessions = Vec::new();
    for browser in &browsers {
        sessions.push(browser.open(&migrate).await);
    }
    let job = migrate.data(sessions[0].id().unwrap()).await.unwrap();
    assert_eq!(migrate.rewrap().await.unwrap().hashed, 8);
    job.unwrap().set("job", 1).await.unwrap();
    sessions[0].update("n", |n: &mut u32| *n += 1).await.unwrap();
    sessions[1].insert("n", 1).unwrap();
    sessions[1].save().await.unwrap();
    sessions[2].renew().await.unwrap();
    sessions[3].reauthenticate().await.unwrap();
    sessions[4].log_in("user4").await.unwrap();
    sessions[5].log_out_others().await.unwrap();
    sessions[6].log_out().await.unwrap();
    sessions[7].refresh().await.unwrap();
    for (n, (browser, session)) in browsers.iter_mut().zip(&sessions).enumerate() {
        browser.finish(session).await;
        assert_eq!(browser.is_in(&migrate).await, n != 6, "{n}");
    }
}

async fn a_conversion_keeps_the_secrets_of_a_log_in_that_was_sent_twice(db: Db) {
    let none = db.sessions().await;
    let (browser, id) = Browser::with(&none, "cart", 1.into()).await;
    let (first, second) = (browser.open(&none).await, browser.open(&none).await);
    first.log_in("ada").await.unwrap();
    second.log_in("ada").await.unwrap();
    let (mut one, mut two) = (browser.clone(), browser);
    one.finish(&first).await;
    two.finish(&second).await;
    db.pass(minutes(2)).await;
    let migrate = peppered(&db, Pepper::new(key("p1")).rollout(Rollout::Migrate)).await;
    assert_eq!(migrate.rewrap().await.unwrap().hashed, 1);
    db.heard().await;
    let enforce = peppered(&db, Pepper::new(key("p1"))).await;
    assert_eq!(one.open(&enforce).await.id(), Some(id));
    assert_eq!(two.open(&enforce).await.id(), Some(id));
}

async fn a_secret_that_was_just_replaced_waits(db: Db) {
    let none = db.sessions().await;
    let (mut browser, id) = Browser::with(&none, "cart", 1.into()).await;
    let before = browser.clone();
    let session = browser.open(&none).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    let migrate = peppered(&db, Pepper::new(key("p1")).rollout(Rollout::Migrate)).await;
    let waiting = before.open(&migrate).await;
    assert_eq!(migrate.rewrap().await.unwrap().hashed, 0);
    // So that the same log-in, sent again, finds what it knows.
    waiting.log_in("ada").await.unwrap();
    assert_eq!((waiting.id(), db.rows().await), (Some(id), 1));
    db.pass(minutes(2)).await;
    let (mut browser, id) = Browser::logged_in(&none, "bob").await;
    let before = browser.clone();
    let session = browser.open(&none).await;
    session.renew().await.unwrap();
    browser.finish(&session).await;
    db.pass(minutes(2)).await;
    migrate.rewrap().await.unwrap();
    assert_eq!(hash(&db, id).await.1, "p1");
    // A stolen secret is told from a wrong one still.
    assert!(!before.is_in(&migrate).await);
    let events = "select count(*) from {} where event = 'superseded'";
    let (postgres, sqlite) = ("sessile.session_events", "session_events_raw");
    let superseded =
        db.number(&events.replace("{}", postgres), &events.replace("{}", sqlite)).await;
    assert!(superseded >= 1);
}

async fn a_key_that_is_none_is_as_an_edited_row(db: Db) {
    let sessions = peppered(&db, Pepper::new(key("p1"))).await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    for name in ["", &"x".repeat(33)] {
        set(&db, id, &format!("hash_key = '{name}'")).await;
        let session = browser.open(&sessions).await;
        let error = session.get::<u32>("a").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongType);
        assert!(error.to_string().contains("hash_key"), "{error}");
    }
    set(&db, id, "hash_key = 'p1'").await;
    assert!(browser.is_in(&sessions).await);
}

#[tokio::test]
async fn rings_are_checked() {
    let db = Db::empty_sqlite().await;
    for (pepper, what) in [
        (Pepper::new(key("p1")).read(key("p1")), "is given twice"),
        (Pepper::new(key("p1")).retire("p1"), "both retired and in use"),
        (Pepper::new(key("p1")).read(key("p2")).retire("p2"), "both retired and in use"),
    ] {
        let error = db.builder().await.pepper(pepper).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(what), "{error}");
    }
    let shown = format!("{:?}", Pepper::new(key("p1")));
    assert!(shown.contains("p1") && !shown.contains(&format!("{:?}", [0x8f_u8; 4])), "{shown}");
    db.drop().await;
}
