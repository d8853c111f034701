use std::{fmt::Debug, time::Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use sessile::{
    Client, Realm, SessionLayer, Sessions,
    store::{Began, Holder, LogIn, Revoke, Save, Scope, Timeouts},
};

use crate::{
    capture::Capture,
    leak::{Leak, token},
    support::{Browser, Db, Pool, cases},
};

cases! {
    promise_03_nothing_stored_makes_a_cookie,
    promise_03_no_value_shows_a_secret,
    promise_03_no_error_shows_a_secret,
    promise_03_no_log_line_shows_a_secret,
    promise_03_what_is_stored_gets_nobody_in,
    promise_03_a_cookie_that_differs_in_one_bit_gets_nobody_in,
    promise_03_views_show_neither_hash_nor_data,
}

/// A browser that has used every write. Returns the cookies that it had.
async fn busy(sessions: &Sessions) -> Vec<Browser> {
    let (mut browser, _) = Browser::with(sessions, "cart", json!("tea")).await;
    let mut all = vec![browser.clone()];
    let session = browser.open(sessions).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    all.push(browser.clone());
    let session = browser.open(sessions).await;
    session.renew().await.unwrap();
    session.update("cart", |cart: &mut String| cart.push_str(" and milk")).await.unwrap();
    browser.finish(&session).await;
    all.push(browser.clone());
    let session = browser.open(sessions).await;
    session.reauthenticate().await.unwrap();
    browser.finish(&session).await;
    all.push(browser.clone());
    let (other, _) = Browser::logged_in(sessions, "bob").await;
    other.open(sessions).await.log_out_others().await.unwrap();
    all.push(other);
    all
}

async fn promise_03_nothing_stored_makes_a_cookie(db: Db) {
    let sessions = db.sessions().await;
    let browsers = busy(&sessions).await;
    let files = files(&db).await;
    let last = Leak::of(browsers.last().unwrap());
    // The search does find data that exists.
    assert!(last.hash_is_in(&files));
    assert!(files.windows(12).any(|part| part == b"tea and milk"));
    for browser in &browsers {
        assert!(!Leak::of(browser).is_in(&files));
    }
}

/// Every byte of every table and index, as stored on the disk.
async fn files(db: &Db) -> Vec<u8> {
    match &db.pool {
        Pool::Postgres(pool) => {
            sqlx::query("checkpoint").execute(pool).await.unwrap();
            let files: Vec<Vec<u8>> = sqlx::query_scalar(
                "select pg_read_binary_file(pg_relation_filepath(oid)) from pg_class
                 where relkind in ('r', 'i', 't') and relnamespace in ('sessile'::regnamespace, 'pg_toast'::regnamespace)",
            )
            .fetch_all(pool)
            .await
            .unwrap();
            files.concat()
        }
        Pool::Sqlite(_) => {
            let path = db.url.trim_start_matches("sqlite://");
            let of = |end| std::fs::read(format!("{path}{end}")).unwrap();
            [of(""), of("-wal")].concat()
        }
    }
}

/// `shown` with every value's `Debug` in it.
fn show(shown: &mut String, value: impl Debug) {
    shown.push_str(&format!("{value:?} {value:#?}\n"));
}

async fn promise_03_no_value_shows_a_secret(db: Db) {
    let sessions = db.sessions().await;
    let mut shown = String::new();
    show(&mut shown, (db.backend(), db.builder().await, &sessions));
    show(&mut shown, SessionLayer::new(sessions.clone()));

    let (mut browser, id) = Browser::with(&sessions, "cart", json!("tea")).await;
    let session = browser.open(&sessions).await;
    show(&mut shown, session.log_in("ada").remember_me(true));
    session.log_in("ada").remember_me(true).await.unwrap();
    show(&mut shown, &session);
    let change = session.finish().await.unwrap();
    show(&mut shown, &change);
    browser.keep(change);
    let leak = Leak::of(&browser);
    let session = browser.open(&sessions).await;
    show(&mut shown, (&session, session.devices().await.unwrap()));
    shown.push_str(&json!(session.devices().await.unwrap()).to_string());
    show(&mut shown, (sessions.find(id).await.unwrap(), sessions.of_user("ada").await.unwrap()));
    shown.push_str(&json!(sessions.of_user("ada").await.unwrap()).to_string());

    let store = db.store();
    let record = store.load(&[id]).await.unwrap().remove(0);
    assert_eq!(*record.secret_hash.as_bytes(), leak.hash());
    let log_in = LogIn {
        id,
        realm: Realm::default(),
        old_hash: Some(record.secret_hash),
        new_hash: record.secret_hash,
        user_id: "ada".to_owned(),
        data: None,
        of_revision: None,
        timeouts: Timeouts::new(60, 60),
        remembered: false,
        client: Client::new(),
        began: Began::Here(Instant::now()),
        after: None,
        limit: None,
        replaces_user: None,
        is_recorded: true,
    };
    show(&mut shown, (&store, &record, &log_in, record.secret_hash));
    show(&mut shown, store.log_in(&log_in).await.unwrap());
    let by = Some(Holder { id, secret_hash: record.secret_hash });
    let revoke =
        Revoke { realm: Realm::default(), scope: Scope::User("ada".to_owned()), by, cause: None };
    show(&mut shown, (&revoke, store.revoke(&revoke).await.unwrap()));

    assert!(shown.contains(&id.to_string()));
    assert!(!leak.is_in(&shown), "{shown}");
    assert!(!leak.hash_is_in(&shown), "{shown}");
}

async fn promise_03_no_error_shows_a_secret(db: Db) {
    let sessions = db.builder().await.data_limit(200).depth_limit(2).build().unwrap();
    let (browser, id) = Browser::with(&sessions, "cart", json!("tea")).await;
    let session = browser.open(&sessions).await;
    let mut errors = vec![
        session.get::<u64>("cart").unwrap_err(),
        session.data::<Vec<u64>>().unwrap_err(),
        session.insert("cart", "x".repeat(300)).unwrap_err(),
        session.insert("cart", [[[0]]]).unwrap_err(),
        session.update("cart", |_: &mut u64| ()).await.unwrap_err(),
        session.reauthenticate().await.unwrap_err(),
        session.log_in("x".repeat(300)).await.unwrap_err(),
    ];
    // A row that violates a constraint: the database's error names the constraint and shows the row.
    let store = db.store();
    let mut taken = store.load(&[id]).await.unwrap().remove(0);
    let leak = Leak::of(&browser);
    taken.lifetime.valid_until = taken.lifetime.absolute_expires_at;
    let broken = Save {
        holder: Holder { id, secret_hash: taken.secret_hash },
        revision: taken.revision,
        data: r#"{"card":"4111111111111111"}"#.to_owned(),
        lifetime: taken.lifetime,
        ip: None,
    };
    errors.push(store.save(&[broken]).await.unwrap_err());

    sessions.revoke(id).await.unwrap();
    errors.push(session.renew().await.unwrap_err());
    for error in errors {
        let mut shown = format!("{error} {error:?} {error:#?}");
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            shown.push_str(&format!("{error} {error:?}"));
            source = error.source();
        }
        assert!(!leak.is_in(&shown), "{shown}");
        assert!(!leak.hash_is_in(&shown), "{shown}");
        assert!(!shown.contains("tea") && !shown.contains("4111"), "{shown}");
    }
}

async fn promise_03_no_log_line_shows_a_secret(db: Db) {
    let logs = Capture::begin();
    let sessions = db.sessions().await;
    let browsers = busy(&sessions).await;
    for browser in &browsers {
        browser.open(&sessions).await.finish().await.unwrap();
    }
    // Malformed, and so similar to the real cookie that it must not be shown either.
    let cookie = format!("{}=", browsers[0].cookie.as_deref().unwrap());
    sessions.open(Some(cookie.as_bytes()), Client::new()).await.unwrap();
    sessions.revoke_all().await.unwrap();
    browsers[3].open(&sessions).await;

    let text = logs.text();
    let id = URL_SAFE_NO_PAD.decode(&cookie[..64]).unwrap();
    let id = uuid::Uuid::from_slice(&id[..16]).unwrap();
    assert!(text.contains(&id.to_string()));
    assert!(text.contains("secret_hash"), "the statements themselves are logged");
    for browser in &browsers {
        let leak = Leak::of(browser);
        assert!(!leak.is_in(&text) && !leak.hash_is_in(&text));
    }
    assert!(!text.contains("and milk"));
}

async fn promise_03_what_is_stored_gets_nobody_in(db: Db) {
    let sessions = db.sessions().await;
    let (ada, _) = Browser::logged_in(&sessions, "ada").await;
    let (bob, _) = Browser::logged_in(&sessions, "bob").await;
    let (adas, bobs) = (Leak::of(&ada), Leak::of(&bob));
    assert_eq!(Some(token(&adas.id, &adas.secret)), ada.cookie);
    let made = [
        token(&adas.id, &adas.hash()),
        token(&adas.id, &bobs.secret),
        token(&adas.id, &bobs.hash()),
        token(&adas.id, &[0; 32]),
        token(&adas.id, &[0xff; 32]),
    ];
    for cookie in made {
        assert!(!Browser { cookie: Some(cookie) }.is_in(&sessions).await);
    }
    assert!(ada.is_in(&sessions).await && bob.is_in(&sessions).await);
}

async fn promise_03_a_cookie_that_differs_in_one_bit_gets_nobody_in(db: Db) {
    let sessions = db.sessions().await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let leak = Leak::of(&browser);
    for bit in 0..256 {
        let mut secret = leak.secret;
        secret[bit / 8] ^= 1 << (bit % 8);
        let cookie = Some(token(&leak.id, &secret));
        assert!(!Browser { cookie }.is_in(&sessions).await, "bit {bit}");
    }
    for bit in 0..128 {
        let mut id = leak.id;
        id[bit / 8] ^= 1 << (bit % 8);
        let cookie = Some(token(&id, &leak.secret));
        assert!(!Browser { cookie }.is_in(&sessions).await, "bit {bit} of the id");
    }
    assert!(browser.is_in(&sessions).await);
}

async fn promise_03_views_show_neither_hash_nor_data(db: Db) {
    let sessions = db.sessions().await;
    let (_, id) = Browser::with(&sessions, "cart", json!("tea")).await;
    let views = db
        .texts(
            "select table_schema || '.' || table_name from information_schema.views where table_schema = 'sessile'",
            "select name from sqlite_schema where type = 'view'",
        )
        .await;
    assert!(views.len() >= 5, "{views:?}");
    for view in views {
        let columns = db
            .texts(
                &format!("select attname::text from pg_attribute where attrelid = '{view}'::regclass and attnum > 0"),
                &format!("select name from pragma_table_info('{view}')"),
            )
            .await;
        assert!(!columns.is_empty());
        for column in columns {
            assert!(!column.contains("hash") && !column.contains("data"), "{view}.{column}");
        }
    }
    let rows = db
        .texts(
            "select v::text from sessile.active_sessions v",
            "select id || user_id from active_sessions",
        )
        .await;
    assert_eq!(rows.len(), 1, "{id}");
}
