//! Sealed data: what the table shows, whose data opens where, keys that change, and writes that collide.

mod clients;
mod keys;

use std::{collections::BTreeMap, ops::ControlFlow, sync::Mutex};

use sessile::{
    ErrorKind, SessionId, Sessions,
    encryption::{Algorithm, Encryption, Key},
};

use crate::support::{
    Browser, Db, cases,
    tap::{Gate, Verb},
};

cases! {
    and_wrapped:
    the_table_shows_nothing_of_the_data,
    every_call_works_on_sealed_data,
    data_opens_only_in_its_own_session,
    changed_data_is_as_an_edited_row,
    a_node_without_the_key_fails_and_overwrites_nothing,
    another_key_of_the_same_name_is_told_from_changed_data,
    a_retired_key_is_named,
    a_newer_form_is_told_from_changed_data,
    plain_data_is_refused_unless_it_is_migrated,
    a_key_is_changed_while_requests_go_on,
    a_log_in_keeps_the_data_and_its_bond,
    a_log_in_loses_no_write_that_comes_between,
    a_log_in_that_is_sent_twice_keeps_the_data,
    a_job_goes_on_over_a_log_in,
    both_algorithms_are_read,
}

pub(crate) fn key(id: &str) -> Key {
    let byte = id.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    Key::new(id, [byte; 32]).unwrap()
}

async fn sealed(db: &Db, encryption: Encryption) -> Sessions {
    db.builder().await.encryption(encryption).build().unwrap()
}

async fn data(db: &Db, id: SessionId) -> String {
    let postgres = format!("select data::text from sessile.sessions where id = '{id}'");
    let sqlite =
        format!("select data from sessions where hex(id) = upper(replace('{id}', '-', ''))");
    db.texts(&postgres, &sqlite).await.remove(0)
}

/// Runs an update of one session's row.
pub(crate) async fn set(db: &Db, id: SessionId, what: &str) {
    let postgres = format!("update sessile.sessions set {what} where id = '{id}'");
    let sqlite =
        format!("update sessions set {what} where hex(id) = upper(replace('{id}', '-', ''))");
    assert_eq!(db.run(&postgres, &sqlite).await, 1);
    db.heard().await;
}

async fn the_table_shows_nothing_of_the_data(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let (mut browser, id) = Browser::with(&sessions, "card", "4111111111111111".into()).await;
    let session = browser.open(&sessions).await;
    session.update("cart", |cart: &mut Vec<String>| cart.push("socks".to_owned())).await.unwrap();
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    let dump = db.dump().await;
    for secret in ["4111", "card", "socks"] {
        assert!(!dump.contains(secret), "{dump}");
    }
    let text = data(&db, id).await;
    assert!(text.starts_with("\"sealed1.x.k1."), "{text}");
    // Each write has a nonce of its own.
    session.update("cart", |_: &mut Vec<String>| ()).await.unwrap();
    assert_ne!(data(&db, id).await, text);
}

async fn every_call_works_on_sealed_data(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let (mut browser, id) = Browser::with(&sessions, "a", 1.into()).await;
    let session = browser.open(&sessions).await;
    session.renew().await.unwrap();
    session.log_in("ada").await.unwrap();
    session.reauthenticate().await.unwrap();
    session.insert("b", "\u{0}\"\\😀").unwrap();
    assert_eq!(session.take::<u32>("a").await.unwrap(), Some(1));
    browser.finish(&session).await;
    sessions.data(id).await.unwrap().unwrap().set("c", 3).await.unwrap();
    assert_eq!(sessions.update_of_user("ada", "d", |d: &mut u32| *d += 4).await.unwrap(), 1);
    let session = browser.open(&sessions).await;
    assert_eq!(session.get::<String>("b").unwrap().unwrap(), "\u{0}\"\\😀");
    assert_eq!(session.get::<u32>("c").unwrap(), Some(3));
    assert_eq!(session.get::<u32>("d").unwrap(), Some(4));
    // Another user gets nothing of it.
    session.log_in("bob").await.unwrap();
    browser.finish(&session).await;
    assert!(browser.open(&sessions).await.keys().is_empty());
}

async fn data_opens_only_in_its_own_session(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let (ada, of_ada) = Browser::logged_in(&sessions, "ada").await;
    let (eve, of_eve) = Browser::logged_in(&sessions, "eve").await;
    for (browser, role) in [(&ada, "admin"), (&eve, "guest")] {
        browser
            .open(&sessions)
            .await
            .update("role", |r: &mut String| *r = role.to_owned())
            .await
            .unwrap();
    }
    let (stolen, own) = (data(&db, of_ada).await, data(&db, of_eve).await);
    // Ada's data in eve's row, eve's row with ada's name, and with another realm.
    set(&db, of_eve, &format!("data = '{stolen}'")).await;
    let session = eve.open(&sessions).await;
    assert_eq!(session.get::<String>("role").unwrap_err().kind(), ErrorKind::WrongType);
    set(&db, of_eve, &format!("data = '{own}', user_id = 'ada'")).await;
    let session = eve.open(&sessions).await;
    assert_eq!(session.user_id(), None);
    assert_eq!(session.get::<String>("role").unwrap_err().kind(), ErrorKind::WrongType);
    set(&db, of_eve, "user_id = 'eve', realm = 'office'").await;
    let office = db.builder().await.realm("office").encryption(Encryption::new(key("k1")));
    let session = eve.open(&office.build().unwrap()).await;
    assert_eq!(session.get::<String>("role").unwrap_err().kind(), ErrorKind::WrongType);
    // As it was, it opens again.
    set(&db, of_eve, "realm = ''").await;
    assert_eq!(eve.open(&sessions).await.get::<String>("role").unwrap().unwrap(), "guest");
}

async fn changed_data_is_as_an_edited_row(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
    let text = data(&db, id).await;
    // The header is part of what is authenticated, so no byte of it may change either.
    let cut = |at: usize| text[..at].to_owned() + "\"";
    let mut changed: Vec<String> = vec![
        "\"sealed1.x.k1.\"".into(),
        "\"sealed1.x.k1\"".into(),
        "\"sealed1.\"".into(),
        "\"sealed2.x.k1.AAAA\"".into(),
        "\"sealed\"".into(),
        cut(text.len() - 2),
        cut(40),
        text.replacen(".x.", ".a.", 1),
        text.replacen(".x.", ".y.", 1),
    ];
    for at in [20, text.len() / 2, text.len() - 3] {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        changed.push(String::from_utf8(bytes).unwrap());
    }
    for changed in changed {
        set(&db, id, &format!("data = '{changed}'")).await;
        let opened = browser.try_open(&sessions).await;
        // A byte of the key's check says another key.
        let error = match opened {
            Ok(session) => session.get::<u32>("a").unwrap_err(),
            Err(error) => error,
        };
        let expected = [ErrorKind::WrongType, ErrorKind::Encryption];
        assert!(expected.contains(&error.kind()), "{changed}: {error}");
        assert!(!error.to_string().contains("AAAA"), "{error}");
    }
    set(&db, id, "data = '\"sealed1.x.k1.\"'").await;
    let session = browser.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    assert_eq!(data(&db, id).await, "\"sealed1.x.k1.\"", "the old row stays as it is");
    assert!(browser.is_in(&sessions).await, "the log-in helps the user");
}

async fn a_node_without_the_key_fails_and_overwrites_nothing(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    let handle = browser.open(&sessions).await;
    handle.update("a", |a: &mut u32| *a = 1).await.unwrap();
    let text = data(&db, id).await;
    for other in [db.sessions().await, sealed(&db, Encryption::new(key("k2"))).await] {
        let error = browser.try_open(&other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encryption, "{error}");
        assert!(error.to_string().contains(&id.to_string()), "{error}");
        let error = other.data(id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encryption, "{error}");
        let all = other.update_of_user("ada", "a", |a: &mut u32| *a = 2).await;
        assert_eq!(all.unwrap_err().kind(), ErrorKind::Encryption);
        assert_eq!(data(&db, id).await, text);
        assert_eq!(other.of_user("ada").await.unwrap().len(), 1, "lists need no key");
    }
    assert!(browser.is_in(&sessions).await);
    // A revocation needs no key either.
    assert!(db.sessions().await.revoke(id).await.unwrap());
}

async fn another_key_of_the_same_name_is_told_from_changed_data(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let other = sealed(&db, Encryption::new(Key::new("k1", [9; 32]).unwrap())).await;
    let error = browser.try_open(&other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encryption);
    assert!(error.to_string().contains("another key of the name \"k1\""), "{error}");
}

async fn a_retired_key_is_named(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let other = sealed(&db, Encryption::new(key("k2")).retire("k1")).await;
    let error = browser.try_open(&other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encryption);
    assert!(error.to_string().contains("\"k1\", which is retired"), "{error}");
}

async fn a_newer_form_is_told_from_changed_data(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let (browser, id) = Browser::logged_in(&sessions, "ada").await;
    let newer = data(&db, id).await.replacen("sealed1", "sealed2", 1);
    set(&db, id, &format!("data = '{newer}'")).await;
    let error = browser.try_open(&sessions).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encryption);
    assert!(error.to_string().contains("a newer one has sealed it"), "{error}");
}

async fn plain_data_is_refused_unless_it_is_migrated(db: Db) {
    let (mut browser, id) = Browser::with(&db.sessions().await, "a", 1.into()).await;
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let error = browser.try_open(&sessions).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encryption);
    assert!(error.to_string().contains("is not sealed"), "{error}");
    assert_eq!(data(&db, id).await, r#"{"a":1}"#);

    let migrating = sealed(&db, Encryption::new(key("k1")).migrating(true)).await;
    let session = browser.open(&migrating).await;
    assert_eq!(session.get::<u32>("a").unwrap(), Some(1));
    // A log-in seals it.
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    assert_eq!(browser.open(&sessions).await.get::<u32>("a").unwrap(), Some(1));
}

async fn a_key_is_changed_while_requests_go_on(db: Db) {
    let plain = db.sessions().await;
    let old = sealed(&db, Encryption::new(key("k1")).migrating(true)).await;
    let mut all = Vec::new();
    for n in 0..250_u32 {
        let sessions = if n % 5 == 0 { &plain } else { &old };
        all.push((n, Browser::with(sessions, "n", n.into()).await));
    }
    // Another realm, an expired session, and one that somebody has damaged.
    let office = db.builder().await.realm("office").encryption(Encryption::new(key("k1")));
    let (elsewhere, _) = Browser::with(&office.build().unwrap(), "n", 1.into()).await;
    let (_, damaged) = Browser::with(&old, "n", 1.into()).await;
    set(&db, damaged, "data = '\"sealed1.x.k1.AAAA\"'").await;

    let new = sealed(&db, Encryption::new(key("k2")).read(key("k1")).migrating(true)).await;
    let before = new.rewrap().dry_run(true).await.unwrap();
    let keys = BTreeMap::from([(None, 50), (Some("k1".to_owned()), 201)]);
    assert_eq!((before.read, before.sealed, &before.keys), (251, 0, &keys));

    // Requests write meanwhile: two for each chunk that was read.
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let progress = seen.clone();
    let writer = tokio::spawn({
        let (new, browsers) = (new.clone(), all.clone());
        async move {
            for (_, (browser, _)) in browsers.iter().step_by(7) {
                let session = browser.open(&new).await;
                session.update("n", |n: &mut u32| *n += 1_000).await.unwrap();
            }
        }
    });
    let on_batch = move |report: &sessile::RewrapReport| {
        progress.lock().unwrap().push(report.read);
        ControlFlow::Continue(())
    };
    let report = new.rewrap().on_batch(on_batch).await.unwrap();
    writer.await.unwrap();
    assert_eq!((report.read, report.unreadable), (251, 1));
    assert_eq!(*seen.lock().unwrap(), [200, 251]);
    let after = new.rewrap().dry_run(true).await.unwrap();
    assert_eq!(
        after.keys,
        BTreeMap::from([(Some("k1".to_owned()), 1), (Some("k2".to_owned()), 250)])
    );
    let again = new.rewrap().await.unwrap();
    assert_eq!((again.sealed, again.unreadable), (0, 1), "what is sealed is only read");
    // It ends early if it is told to, and goes on where it ended.
    let part = new.rewrap().on_batch(|_| ControlFlow::Break(())).await.unwrap();
    assert_eq!(part.read, 200);
    assert_eq!(new.rewrap().after(part.last.unwrap()).await.unwrap().read, 51);
    assert_eq!(new.rewrap().after(all[199].1.1).await.unwrap().read, 51);

    // Without the old key, and without plain data.
    let only = sealed(&db, Encryption::new(key("k2")).retire("k1")).await;
    for (n, (browser, _)) in &all {
        let more = if n % 7 == 0 { 1_000 } else { 0 };
        let session = browser.open(&only).await;
        assert_eq!(session.get::<u32>("n").unwrap(), Some(n + more));
    }
    let office = db.builder().await.realm("office").encryption(Encryption::new(key("k1")));
    assert!(elsewhere.is_in(&office.build().unwrap()).await, "another realm is left alone");
    let error = db.sessions().await.rewrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    let error = sealed(&db, Encryption::new(key("k3"))).await.rewrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encryption, "{error}");
}

async fn a_log_in_keeps_the_data_and_its_bond(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let (mut browser, id) = Browser::with(&sessions, "cart", 1.into()).await;
    let before = data(&db, id).await;
    let session = browser.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    assert_eq!(session.id(), Some(id));
    let after = data(&db, id).await;
    assert_ne!(before, after, "the data is bound to the user");
    assert_eq!(browser.open(&sessions).await.get::<u32>("cart").unwrap(), Some(1));
    // The visitor's data does not open for the user.
    set(&db, id, &format!("data = '{before}'")).await;
    let session = browser.open(&sessions).await;
    assert_eq!(session.get::<u32>("cart").unwrap_err().kind(), ErrorKind::WrongType);
}

/// Another request writes after the log-in has read the session, and before the log-in's statement.
async fn a_log_in_loses_no_write_that_comes_between(db: Db) {
    let other = sealed(&db, Encryption::new(key("k1"))).await;
    let gate = Gate::before(Verb::LogIn);
    let node = db.tapped(&gate).encryption(Encryption::new(key("k1"))).build().unwrap();
    let (mut browser, id) = Browser::with(&other, "cart", 1.into()).await;
    let session = browser.open(&node).await;
    let log_in = tokio::spawn({
        let session = session.clone();
        async move { session.log_in("ada").await }
    });
    gate.reached().await;
    let beside = browser.open(&other).await;
    beside.update("cart", |cart: &mut u32| *cart += 1).await.unwrap();
    beside.update("theme", |theme: &mut String| *theme = "dark".to_owned()).await.unwrap();
    gate.open();
    log_in.await.unwrap().unwrap();
    browser.finish(&session).await;
    assert_eq!(session.id(), Some(id), "it is the same session");
    let session = browser.open(&other).await;
    assert_eq!(session.user_id().as_deref(), Some("ada"));
    assert_eq!(session.get::<u32>("cart").unwrap(), Some(2));
    assert_eq!(session.get::<String>("theme").unwrap().unwrap(), "dark");
}

async fn a_log_in_that_is_sent_twice_keeps_the_data(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let (browser, id) = Browser::with(&sessions, "cart", 1.into()).await;
    let (first, second) = (browser.open(&sessions).await, browser.open(&sessions).await);
    let (mut one, mut two) = (browser.clone(), browser);
    first.log_in("ada").await.unwrap();
    first.update("cart", |cart: &mut u32| *cart += 1).await.unwrap();
    second.log_in("ada").await.unwrap();
    one.finish(&first).await;
    two.finish(&second).await;
    for browser in [one, two] {
        let session = browser.open(&sessions).await;
        assert_eq!((session.id(), session.get::<u32>("cart").unwrap()), (Some(id), Some(2)));
    }
}

async fn a_job_goes_on_over_a_log_in(db: Db) {
    let sessions = sealed(&db, Encryption::new(key("k1"))).await;
    let (mut browser, id) = Browser::with(&sessions, "cart", 1.into()).await;
    let mut job = sessions.data(id).await.unwrap().unwrap();
    let session = browser.open(&sessions).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    job.set("notice", "sent").await.unwrap();
    let session = browser.open(&sessions).await;
    assert_eq!(session.get::<String>("notice").unwrap().unwrap(), "sent");
    assert_eq!(session.get::<u32>("cart").unwrap(), Some(1));
}

async fn both_algorithms_are_read(db: Db) {
    let aes = || Encryption::new(key("k1")).algorithm(Algorithm::Aes256Gcm);
    let (browser, id) = Browser::with(&sealed(&db, aes()).await, "a", 1.into()).await;
    assert!(data(&db, id).await.starts_with("\"sealed1.a.k1."));
    let chacha = sealed(&db, Encryption::new(key("k1"))).await;
    assert_eq!(browser.open(&chacha).await.get::<u32>("a").unwrap(), Some(1));
    assert_eq!(chacha.rewrap().await.unwrap().sealed, 1);
    assert!(data(&db, id).await.starts_with("\"sealed1.x.k1."));
    assert_eq!(browser.open(&sealed(&db, aes()).await).await.get::<u32>("a").unwrap(), Some(1));
}
