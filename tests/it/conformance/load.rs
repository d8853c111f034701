use std::sync::Arc;

use sessile::{hours, store::Store};

use super::{
    conformance,
    make::{anonymous, id, new_session},
};
use crate::support::Db;

conformance! {
    no_ids_load_nothing,
    an_unknown_id_loads_nothing,
    the_live_ones_among_many_are_loaded,
    each_of_many_comes_with_its_own_data,
    an_expired_row_is_not_loaded,
    a_record_carries_the_clock_of_the_database,
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

/// However long they are, in characters and in bytes, and whatever is in them.
async fn each_of_many_comes_with_its_own_data(_: Db, store: Arc<dyn Store>) {
    const DATA: [&str; 6] = [
        "{}",
        r#"{"naïve":"😀"}"#,
        r#"{"a":[[],{"b":[1.10]}]}"#,
        r#"{"a":"\u0000]\"[\\"}"#,
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
