//! The reads of lists and admin pages: `list`, `find`, `count`.

use std::sync::Arc;

use sessile::{
    ErrorKind, PageKey, Realm, SessionId, SessionInfo, hours, minutes, seconds,
    store::{LogIn, Page, Record, Store},
};
use uuid::{NoContext, Timestamp, Uuid};

use super::{
    conformance,
    make::{admitted, anonymous, id, log_in, logged_in, now, one, page, reauthentication},
};
use crate::support::Db;

conformance! {
    a_list_is_the_live_ones_of_the_user_newest_first,
    a_list_is_paged_by_the_last_ones_key,
    a_page_is_not_disturbed_by_what_comes_and_goes,
    a_list_shows_what_the_row_says,
    a_session_is_found_by_its_id_while_it_is_live,
    live_sessions_are_counted,
    a_list_is_in_the_order_of_the_databases_time_whatever_the_nodes_clocks_say,
    pages_show_each_session_once_where_log_ins_are_of_one_moment,
    a_key_of_a_page_is_a_text,
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

async fn a_list_is_paged_by_the_last_ones_key(_: Db, store: Arc<dyn Store>) {
    let mut all = Vec::new();
    for _ in 0..7 {
        all.insert(0, logged_in(&store, "ada").await.id);
    }
    logged_in(&store, "bob").await;
    let pages = pages(&store, "ada", 3).await;
    assert_eq!(pages.concat(), all);
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    let nothing = Page { limit: 0, ..page("ada") };
    assert!(store.list(&nothing).await.unwrap().is_empty());
}

async fn a_page_is_not_disturbed_by_what_comes_and_goes(_: Db, store: Arc<dyn Store>) {
    let mut all = Vec::new();
    for _ in 0..4 {
        all.insert(0, logged_in(&store, "ada").await.id);
    }
    let first = Page { limit: 2, ..page("ada") };
    let newest = store.list(&first).await.unwrap();
    assert_eq!(ids(&newest), all[..2]);
    logged_in(&store, "ada").await;
    // Ends the very session after which the next page begins.
    store.end(&[one(all[1])]).await.unwrap();
    let second = Page { after: newest[1].page_key(), ..first };
    assert_eq!(ids(&store.list(&second).await.unwrap()), all[2..]);
}

async fn a_list_shows_what_the_row_says(db: Db, store: Arc<dyn Store>) {
    let log_in = LogIn {
        client: sessile::Client::new()
            .ip("192.0.2.7".parse::<std::net::IpAddr>().unwrap())
            .user_agent("Lynx"),
        ..log_in("ada")
    };
    store.log_in(&log_in).await.unwrap();
    db.pass(minutes(1)).await;
    let record = now(&store, log_in.id).await.unwrap();
    let listed = store.list(&page("ada")).await.unwrap().remove(0);
    let found = store.find(&Realm::default(), log_in.id).await.unwrap().unwrap();
    assert_eq!(listed, found);
    shows(&listed, &record);
    assert_eq!((listed.ip, listed.user_agent), (log_in.client.ip, log_in.client.user_agent));

    let record = anonymous(&store).await;
    shows(&store.find(&Realm::default(), record.id).await.unwrap().unwrap(), &record);
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
    assert!(store.find(&Realm::default(), id()).await.unwrap().is_none());
    assert!(store.find(&Realm::default(), record.id).await.unwrap().is_some());
    db.pass(hours(1)).await;
    assert!(store.find(&Realm::default(), record.id).await.unwrap().is_none());
}

async fn live_sessions_are_counted(db: Db, store: Arc<dyn Store>) {
    assert_eq!(store.count(&Realm::default(), None).await.unwrap(), 0);
    logged_in(&store, "ada").await;
    anonymous(&store).await;
    db.pass(hours(1)).await;
    for _ in 0..3 {
        logged_in(&store, "ada").await;
        anonymous(&store).await;
    }
    logged_in(&store, "bob").await;
    assert_eq!(store.count(&Realm::default(), None).await.unwrap(), 7);
    assert_eq!(store.count(&Realm::default(), Some("ada")).await.unwrap(), 3);
    assert_eq!(store.count(&Realm::default(), Some("bob")).await.unwrap(), 1);
    assert_eq!(store.count(&Realm::default(), Some("eve")).await.unwrap(), 0);
}

/// The node that created the last log-in's id has a clock six hours behind the node that created the first
/// one's.
async fn a_list_is_in_the_order_of_the_databases_time_whatever_the_nodes_clocks_say(
    db: Db,
    store: Arc<dyn Store>,
) {
    let mut all = Vec::new();
    for hours_ahead in (-3..=3).rev() {
        let id = id_of_a_clock(hours_ahead);
        admitted(store.log_in(&LogIn { id, ..log_in("ada") }).await.unwrap());
        all.insert(0, id);
        // So that log-ins have different times on a clock of milliseconds too.
        db.pass(seconds(1)).await;
    }
    assert!(all.is_sorted(), "the other way round than their ids");
    assert_eq!(ids(&store.list(&page("ada")).await.unwrap()), all);
    for size in [1, 2, 3] {
        assert_eq!(pages(&store, "ada", size).await.concat(), all, "pages of {size}");
    }
    // A session whose user authenticates again becomes the newest.
    let oldest = now(&store, all[6]).await.unwrap();
    store.reauthenticate(&reauthentication(&oldest)).await.unwrap().unwrap();
    all.rotate_right(1);
    assert_eq!(pages(&store, "ada", 3).await.concat(), all);
}

fn id_of_a_clock(hours_ahead: i64) -> SessionId {
    let (here, _) = Uuid::now_v7().get_timestamp().unwrap().to_unix();
    let there = here.checked_add_signed(hours_ahead * 3600).unwrap();
    let time = Timestamp::from_unix(NoContext, there, 0);
    Uuid::new_v7(time).into()
}

async fn pages_show_each_session_once_where_log_ins_are_of_one_moment(
    db: Db,
    store: Arc<dyn Store>,
) {
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(logged_in(&store, "ada").await.id);
    }
    db.run(
        "update sessile.sessions set authenticated_at = (select min(authenticated_at) from sessile.sessions)",
        "update sessions set authenticated_at = (select min(authenticated_at) from sessions)",
    )
    .await;
    all.sort();
    all.reverse();
    for size in 1..=4 {
        assert_eq!(pages(&store, "ada", size).await.concat(), all, "pages of {size}");
    }
}

async fn a_key_of_a_page_is_a_text(_: Db, store: Arc<dyn Store>) {
    let record = logged_in(&store, "ada").await;
    let key = store.list(&page("ada")).await.unwrap()[0].page_key().unwrap();
    assert_eq!((key.id, Some(key.authenticated_at)), (record.id, record.authenticated_at));
    let text = key.to_string();
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)));
    assert_eq!(text.parse::<PageKey>().unwrap(), key);

    let (micros, id) = text.split_once('.').unwrap();
    let refused = [
        String::new(),
        id.to_owned(),
        micros.to_owned(),
        format!("{micros}.{id}.{id}"),
        format!("{micros}.{}", &id[1..]),
        format!("now.{id}"),
        format!("{}.{id}", i64::MAX),
        format!("{micros} {id}"),
    ];
    for text in refused {
        let error = text.parse::<PageKey>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidPageKey, "{text:?}");
    }
    let nobodys = anonymous(&store).await;
    let info = store.find(&Realm::default(), nobodys.id).await.unwrap().unwrap();
    assert_eq!(info.page_key(), None);
}

/// All of a user's sessions, page by page.
async fn pages(store: &Arc<dyn Store>, user_id: &str, limit: u32) -> Vec<Vec<SessionId>> {
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let found = store.list(&Page { after, limit, ..page(user_id) }).await.unwrap();
        after = found.last().and_then(SessionInfo::page_key);
        pages.push(ids(&found));
        if found.len() < limit as usize {
            return pages;
        }
    }
}

fn ids(infos: &[SessionInfo]) -> Vec<SessionId> {
    infos.iter().map(|info| info.id).collect()
}
