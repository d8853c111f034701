use std::sync::Arc;

use sessile::{
    Client, ErrorKind, Realm,
    store::{Lifetime, NewSession, Store, Timeouts},
};

use super::{
    conformance,
    make::{anonymous, new_session, now},
};
use crate::support::Db;

conformance! {
    creating_none_is_nothing,
    a_created_row_is_anonymous_and_begins_now,
    many_are_created_at_once_each_with_its_own,
    the_database_computes_the_same_lifetime_as_the_library,
    what_is_known_of_the_client_is_kept,
    an_id_that_is_taken_is_an_error_and_changes_nothing,
}

async fn creating_none_is_nothing(db: Db, store: Arc<dyn Store>) {
    assert!(store.create(&[]).await.unwrap().is_empty());
    assert_eq!(db.rows().await, 0);
}

async fn a_created_row_is_anonymous_and_begins_now(_: Db, store: Arc<dyn Store>) {
    let new = new_session(r#"{"a":1}"#);
    let created = store.create(std::slice::from_ref(&new)).await.unwrap().remove(0);
    let loaded = now(&store, new.id).await.unwrap();
    for record in [created, loaded] {
        assert_eq!(record.id, new.id);
        assert!(record.secret_hash.matches(&new.secret_hash));
        assert_eq!(*record.data, *new.data);
        assert_eq!((record.user_id, record.authenticated_at), (None, None));
        assert_eq!(record.revision, 0);
        assert_eq!(record.created_at, record.lifetime.last_seen_at);
    }
}

async fn many_are_created_at_once_each_with_its_own(_: Db, store: Arc<dyn Store>) {
    let many: Vec<_> = (1..=20)
        .map(|n| NewSession {
            timeouts: Timeouts::new(n * 60, n * 600),
            client: Client::new().user_agent(&format!("agent {n}")),
            ..new_session(&format!(r#"{{"n":{n}}}"#))
        })
        .collect();
    let mut created = store.create(&many).await.unwrap();
    created.sort_by_key(|record| record.id);
    assert_eq!(created.len(), many.len());
    for (new, record) in many.iter().zip(created) {
        assert_eq!(*record.data, *new.data);
        assert!(record.secret_hash.matches(&new.secret_hash));
        assert_eq!(record.lifetime, Lifetime::begin(record.created_at, new.timeouts));
        let info = store.find(&Realm::default(), new.id).await.unwrap().unwrap();
        assert_eq!(info.user_agent, new.client.user_agent);
    }
}

async fn the_database_computes_the_same_lifetime_as_the_library(_: Db, store: Arc<dyn Store>) {
    let longest = i32::MAX as u32;
    for (idle, absolute) in
        [(1, 1), (1, 2), (7, 3600), (3600, 3600), (86_400, 90 * 86_400), (longest, longest)]
    {
        let new = NewSession { timeouts: Timeouts::new(idle, absolute), ..new_session("{}") };
        let record = store.create(std::slice::from_ref(&new)).await.unwrap().remove(0);
        assert_eq!(
            record.lifetime,
            Lifetime::begin(record.created_at, new.timeouts),
            "{idle} {absolute}"
        );
    }
}

async fn what_is_known_of_the_client_is_kept(_: Db, store: Arc<dyn Store>) {
    let clients = [
        Client::new(),
        Client::new()
            .ip("192.0.2.7".parse::<std::net::IpAddr>().unwrap())
            .user_agent("Lynx/2.9 \"quoted\" 'and' \\ 🦊"),
        Client::new().ip("2001:db8::1".parse::<std::net::IpAddr>().unwrap()),
    ];
    for client in clients {
        let new = NewSession { client: client.clone(), ..new_session("{}") };
        store.create(std::slice::from_ref(&new)).await.unwrap();
        let info = store.find(&Realm::default(), new.id).await.unwrap().unwrap();
        assert_eq!((info.ip, info.user_agent), (client.ip, client.user_agent));
    }
}

async fn an_id_that_is_taken_is_an_error_and_changes_nothing(db: Db, store: Arc<dyn Store>) {
    let there = anonymous(&store).await;
    let taken = NewSession { id: there.id, ..new_session(r#"{"a":1}"#) };
    let error = store.create(&[new_session("{}"), taken]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Database);
    assert!(!error.is_transient());
    assert_eq!(db.rows().await, 1);
    let row = now(&store, there.id).await.unwrap();
    assert_eq!(&*row.data, "{}");
    assert!(row.secret_hash.matches(&there.secret_hash));
}
