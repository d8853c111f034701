//! What lists and admin pages read: `list`, `find`, `count`.

use std::sync::Arc;

use sessile::{
    SessionId, SessionInfo, hours, minutes,
    store::{Page, Record, Store},
};

use super::{
    conformance,
    make::{anonymous, id, log_in, logged_in, now, one, page},
};
use crate::support::Db;

conformance! {
    a_list_is_the_live_ones_of_the_user_newest_first,
    a_list_is_paged_by_the_last_id,
    a_page_is_not_disturbed_by_what_comes_and_goes,
    a_list_shows_what_the_row_says,
    a_session_is_found_by_its_id_while_it_is_live,
    live_sessions_are_counted,
}

async fn a_list_is_the_live_ones_of_the_user_newest_first(db: Db, store: Arc<dyn Store>) {
    assert!(store.list(&page("ada")).await.unwrap().is_empty());
    logged_in(&store, "ada").await;
    db.pass(hours(1)).await;
    anonymous(&store).await;
    let first = logged_in(&store, "ada").await.id;
    logged_in(&store, "bob").await;
    let second = logged_in(&store, "ada").await.id;
    let third = logged_in(&store, "ada").await.id;
    assert_eq!(ids(&store.list(&page("ada")).await.unwrap()), [third, second, first]);
    assert!(store.list(&page("AD%")).await.unwrap().is_empty());
}

async fn a_list_is_paged_by_the_last_id(_: Db, store: Arc<dyn Store>) {
    let mut all = Vec::new();
    for _ in 0..7 {
        all.insert(0, logged_in(&store, "ada").await.id);
    }
    logged_in(&store, "bob").await;
    let mut paged = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let page = Page { before: paged.last().copied(), limit: 3, ..page("ada") };
        let found = ids(&store.list(&page).await.unwrap());
        sizes.push(found.len());
        paged.extend(&found);
        if found.len() < 3 {
            break;
        }
    }
    assert_eq!(paged, all);
    assert_eq!(sizes, [3, 3, 1]);
    let nothing = Page { limit: 0, ..page("ada") };
    assert!(store.list(&nothing).await.unwrap().is_empty());
}

async fn a_page_is_not_disturbed_by_what_comes_and_goes(_: Db, store: Arc<dyn Store>) {
    let mut all = Vec::new();
    for _ in 0..4 {
        all.insert(0, logged_in(&store, "ada").await.id);
    }
    let first = Page { limit: 2, ..page("ada") };
    assert_eq!(ids(&store.list(&first).await.unwrap()), all[..2]);
    logged_in(&store, "ada").await;
    // The very session that the next page begins after.
    store.end(&[one(all[1])]).await.unwrap();
    let second = Page { before: Some(all[1]), ..first };
    assert_eq!(ids(&store.list(&second).await.unwrap()), all[2..]);
}

async fn a_list_shows_what_the_row_says(db: Db, store: Arc<dyn Store>) {
    let log_in = sessile::store::LogIn {
        client: sessile::Client::new()
            .ip("192.0.2.7".parse::<std::net::IpAddr>().unwrap())
            .user_agent("Lynx"),
        ..log_in("ada")
    };
    store.log_in(&log_in).await.unwrap();
    db.pass(minutes(1)).await;
    let record = now(&store, log_in.id).await.unwrap();
    let listed = store.list(&page("ada")).await.unwrap().remove(0);
    let found = store.find(log_in.id).await.unwrap().unwrap();
    assert_eq!(listed, found);
    shows(&listed, &record);
    assert_eq!((listed.ip, listed.user_agent), (log_in.client.ip, log_in.client.user_agent));

    let record = anonymous(&store).await;
    shows(&store.find(record.id).await.unwrap().unwrap(), &record);
}

fn shows(info: &SessionInfo, record: &Record) {
    assert_eq!(info.id, record.id);
    assert_eq!(info.user_id, record.user_id);
    assert_eq!(info.created_at, record.created_at);
    assert_eq!(info.authenticated_at, record.authenticated_at);
    assert_eq!(info.last_seen_at, record.lifetime.last_seen_at);
    assert_eq!(info.expires_at, record.lifetime.valid_until);
}

async fn a_session_is_found_by_its_id_while_it_is_live(db: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    assert!(store.find(id()).await.unwrap().is_none());
    assert!(store.find(record.id).await.unwrap().is_some());
    db.pass(hours(1)).await;
    assert!(store.find(record.id).await.unwrap().is_none());
}

async fn live_sessions_are_counted(db: Db, store: Arc<dyn Store>) {
    assert_eq!(store.count(None).await.unwrap(), 0);
    logged_in(&store, "ada").await;
    anonymous(&store).await;
    db.pass(hours(1)).await;
    for _ in 0..3 {
        logged_in(&store, "ada").await;
        anonymous(&store).await;
    }
    logged_in(&store, "bob").await;
    assert_eq!(store.count(None).await.unwrap(), 7);
    assert_eq!(store.count(Some("ada")).await.unwrap(), 3);
    assert_eq!(store.count(Some("bob")).await.unwrap(), 1);
    assert_eq!(store.count(Some("eve")).await.unwrap(), 0);
}

fn ids(infos: &[SessionInfo]) -> Vec<SessionId> {
    infos.iter().map(|info| info.id).collect()
}
