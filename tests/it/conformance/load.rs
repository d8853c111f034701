use std::sync::Arc;

use chrono::TimeDelta;
use sessile::{
    Realm, hours, minutes, seconds,
    store::{LogIn, Record, SecretCheck, Store},
};

use super::{
    conformance,
    make::{
        admitted, anonymous, check, hash, id, log_in, log_in_to, logged_in, new_session, now,
        reauthentication, renewal,
    },
};
use crate::support::Db;

conformance! {
    no_ids_load_nothing,
    an_unknown_id_loads_nothing,
    the_live_ones_among_many_are_loaded,
    each_of_many_comes_with_its_own_data,
    an_expired_row_is_not_loaded,
    a_record_carries_the_clock_of_the_database,
    a_replaced_secret_is_told_from_a_wrong_one_for_a_minute,
    only_the_last_secret_is_told_from_a_wrong_one,
    a_record_says_whether_its_log_in_said_remember_me,
    a_record_has_what_a_row_of_an_earlier_release_has,
}

async fn no_ids_load_nothing(_: Db, store: Arc<dyn Store>) {
    anonymous(&store).await;
    assert!(store.load(&[]).await.unwrap().is_empty());
}

async fn an_unknown_id_loads_nothing(_: Db, store: Arc<dyn Store>) {
    anonymous(&store).await;
    assert!(store.load(&[id()]).await.unwrap().is_empty());
}

async fn the_live_ones_among_many_are_loaded(db: Db, store: Arc<dyn Store>) {
    let expired = anonymous(&store).await;
    db.pass(hours(2)).await;
    let many: Vec<_> = (0..20).map(|n| new_session(&format!(r#"{{"n":{n}}}"#))).collect();
    store.create(&many).await.unwrap();

    let mut wanted: Vec<_> = many.iter().map(|new| new.id).collect();
    wanted.extend([id(), expired.id]);
    let mut loaded = store.load(&wanted).await.unwrap();
    loaded.sort_by_key(|record| record.id);

    assert_eq!(loaded.len(), 20);
    for (new, record) in many.iter().zip(&loaded) {
        assert_eq!(record.id, new.id);
        assert_eq!(*record.data, *new.data);
        assert!(record.secret_hash.matches(&new.secret_hash));
    }
}

/// Data of any length, in characters and in bytes, and with any content.
async fn each_of_many_comes_with_its_own_data(_: Db, store: Arc<dyn Store>) {
    const DATA: [&str; 6] = [
        "{}",
        r#"{"naïve":"😀"}"#,
        r#"{"a":[[],{"b":[1.10]}]}"#,
        r#"{"a":"\u0000]\"["}"#,
        r#"{ "a" : null }"#,
        "{\"a\":\"\u{2028}\u{7f}\"}",
    ];
    let many: Vec<_> = (0..3).flat_map(|_| DATA.map(new_session)).collect();
    store.create(&many).await.unwrap();
    let wanted: Vec<_> = many.iter().map(|new| new.id).collect();
    let loaded = store.load(&wanted).await.unwrap();
    assert_eq!(loaded.len(), many.len());
    for new in &many {
        let record = loaded.iter().find(|record| record.id == new.id).unwrap();
        assert_eq!(*record.data, *new.data);
        assert!(record.secret_hash.matches(&new.secret_hash));
    }
}

async fn an_expired_row_is_not_loaded(db: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    db.pass(hours(1)).await;
    assert!(store.load(&[record.id]).await.unwrap().is_empty());
    assert_eq!(db.rows().await, 1);
}

async fn a_record_carries_the_clock_of_the_database(db: Db, store: Arc<dyn Store>) {
    let created = anonymous(&store).await;
    let before = db.clock().await;
    let loaded = store.load(&[created.id]).await.unwrap().remove(0);
    let after = db.clock().await;
    let now = match db.is_postgres() {
        true => loaded.now.timestamp_micros(),
        false => loaded.now.timestamp_millis(),
    };
    assert!((before..=after).contains(&now), "{before} {now} {after}");
    assert_eq!(created.now, created.created_at);
}

async fn a_replaced_secret_is_told_from_a_wrong_one_for_a_minute(db: Db, store: Arc<dyn Store>) {
    for how in ["renew", "reauthenticate", "log in"] {
        let old = logged_in(&store, "ada").await;
        assert!(old.replaced.is_none());
        let new_hash = match how {
            "renew" => {
                let renewal = renewal(&old);
                assert!(store.renew(&renewal).await.unwrap());
                renewal.new_hash
            }
            "reauthenticate" => {
                let to = reauthentication(&old);
                store.reauthenticate(&to).await.unwrap().unwrap();
                to.renewal.new_hash
            }
            _ => {
                let again = log_in_to(&old, "ada");
                admitted(store.log_in(&again).await.unwrap());
                again.new_hash
            }
        };
        let record = now(&store, old.id).await.unwrap();
        let replaced = record.replaced.unwrap();
        assert!(replaced.hash.matches(&old.secret_hash));
        assert!(record.now - replaced.at < TimeDelta::seconds(30), "{how}: {}", replaced.at);
        assert_eq!(record.check(&new_hash), SecretCheck::Current, "{how}");
        assert_eq!(record.check(&old.secret_hash), SecretCheck::Superseded, "{how}");
        assert_eq!(record.check(&hash()), SecretCheck::Wrong, "{how}");
        db.pass(seconds(30)).await;
        assert_eq!(check(&store, old.id, &old.secret_hash).await, SecretCheck::Superseded, "{how}");
        db.pass(seconds(30)).await;
        let record = now(&store, old.id).await.unwrap();
        assert!(record.is_settled());
        assert_eq!(record.check(&old.secret_hash), SecretCheck::Wrong, "{how}");
        assert_eq!(record.check(&new_hash), SecretCheck::Current, "{how}");
    }
}

async fn only_the_last_secret_is_told_from_a_wrong_one(_: Db, store: Arc<dyn Store>) {
    let first = logged_in(&store, "ada").await;
    assert!(store.renew(&renewal(&first)).await.unwrap());
    let second = now(&store, first.id).await.unwrap();
    assert!(store.renew(&renewal(&second)).await.unwrap());
    let third = now(&store, first.id).await.unwrap();
    assert_eq!(third.check(&second.secret_hash), SecretCheck::Superseded);
    assert_eq!(third.check(&first.secret_hash), SecretCheck::Wrong);
}

async fn a_record_says_whether_its_log_in_said_remember_me(_: Db, store: Arc<dyn Store>) {
    let visitor = anonymous(&store).await;
    assert_eq!(visitor.remembered, None);
    let mut last: Option<Record> = None;
    for remembered in [true, false] {
        let inserted = LogIn { remembered, ..log_in("ada") };
        let bound = LogIn { remembered, ..log_in_to(last.as_ref().unwrap_or(&visitor), "ada") };
        for log_in in [inserted, bound] {
            let record = admitted(store.log_in(&log_in).await.unwrap());
            assert_eq!(record.remembered, Some(remembered));
            assert_eq!(now(&store, log_in.id).await.unwrap().remembered, Some(remembered));
            last = Some(record);
        }
        // It stays remembered when its user authenticates again.
        let again = reauthentication(last.as_ref().unwrap());
        last = store.reauthenticate(&again).await.unwrap();
        assert_eq!(last.as_ref().unwrap().remembered, Some(remembered));
    }
}

/// The earlier release fills the columns that it knows.
async fn a_record_has_what_a_row_of_an_earlier_release_has(db: Db, store: Arc<dyn Store>) {
    let id = id();
    let (postgres, sqlite) = (id.to_string(), id.as_uuid().simple().to_string());
    db.run(
        &format!(
            "insert into sessile.sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at,
                valid_until, expires_at, idle_timeout, secret_hash, user_id, data)
             select '{postgres}', 3, now(), now(), now(), at, at, at, 3600, sha256('old'), 'ada', '{{\"a\":1}}'
             from (select now() + interval '1 hour' as at) as later"
        ),
        &format!(
            "insert into sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at,
                valid_until, expires_at, idle_timeout, secret_hash, user_id, data)
             select x'{sqlite}', 3, now, now, now, at, at, at, 3600, zeroblob(32), 'ada', '{{\"a\":1}}'
             from (select unixepoch() * 1000 as now, (unixepoch() + 3600) * 1000 as at)"
        ),
    )
    .await;
    let record = now(&store, id).await.unwrap();
    assert_eq!(record.realm, Realm::default());
    assert_eq!((record.remembered, record.pending()), (None, None));
    assert!(record.twins.is_empty() && record.replaced.is_none() && record.is_settled());
    assert_eq!(record.check(&record.secret_hash), SecretCheck::Current);
    assert_eq!((&*record.data, record.user_id.as_deref()), (r#"{"a":1}"#, Some("ada")));
    assert!(record.lifetime.valid_until - record.now > TimeDelta::minutes(59));
    db.pass(minutes(60)).await;
    assert!(now(&store, id).await.is_none());
}
