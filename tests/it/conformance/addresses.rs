//! The address at which a session was last seen.

use std::{net::IpAddr, sync::Arc};

use sessile::{
    Client, Realm, SessionId,
    store::{NewSession, Renewal, Save, Store, Touch},
};

use super::{
    conformance,
    make::{
        admitted, anonymous, log_in, log_in_to, logged_in, new_session, now, reauthentication,
        renewal, save, touch,
    },
};
use crate::support::Db;

conformance! {
    a_touch_records_the_address_and_keeps_it_where_there_is_none,
    a_save_records_the_address_and_keeps_it_where_there_is_none,
    a_refused_save_or_touch_records_no_address,
    an_ipv4_address_in_ipv6_is_stored_and_shown_as_ipv4,
    an_address_that_an_earlier_release_stored_is_shown_as_ipv4,
}

const HOME: &str = "192.0.2.7";
const TRAIN: &str = "2001:db8::1";
const MAPPED: &str = "::ffff:192.0.2.7";

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

async fn shown(store: &Arc<dyn Store>, id: SessionId) -> Option<IpAddr> {
    store.find(&Realm::default(), id).await.unwrap().unwrap().ip
}

/// As the column holds it.
async fn stored(db: &Db) -> Vec<String> {
    db.texts(
        "select host(ip) from sessile.sessions where ip is not null order by id",
        "select ip from sessions where ip is not null order by id",
    )
    .await
}

async fn a_touch_records_the_address_and_keeps_it_where_there_is_none(
    _: Db,
    store: Arc<dyn Store>,
) {
    let record = anonymous(&store).await;
    for (minute, given, after) in
        [(1, ip(HOME), HOME), (2, None, HOME), (3, ip(TRAIN), TRAIN), (4, None, TRAIN)]
    {
        store.touch(&[Touch { ip: given, ..touch(&record, 60 * minute) }]).await.unwrap();
        assert_eq!(shown(&store, record.id).await, ip(after), "minute {minute}");
    }
}

async fn a_save_records_the_address_and_keeps_it_where_there_is_none(_: Db, store: Arc<dyn Store>) {
    let mut record = anonymous(&store).await;
    for (given, after) in [(ip(HOME), HOME), (None, HOME), (ip(TRAIN), TRAIN), (None, TRAIN)] {
        let written = store.save(&[Save { ip: given, ..save(&record, "{}") }]).await.unwrap().done;
        assert_eq!(written, [record.id]);
        record.revision += 1;
        assert_eq!(shown(&store, record.id).await, ip(after));
    }
}

async fn a_refused_save_or_touch_records_no_address(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    assert!(store.renew(&renewal(&record)).await.unwrap());
    store.touch(&[Touch { ip: ip(TRAIN), ..touch(&record, 60) }]).await.unwrap();
    store.save(&[Save { ip: ip(TRAIN), ..save(&record, "{}") }]).await.unwrap();
    assert_eq!(shown(&store, record.id).await, None);
}

/// In every call: a socket for both kinds of addresses has this form.
async fn an_ipv4_address_in_ipv6_is_stored_and_shown_as_ipv4(db: Db, store: Arc<dyn Store>) {
    let mut mapped = Client::new();
    // Without the setter, which corrects the form.
    mapped.ip = ip(MAPPED);
    let client = || mapped.clone();

    let new = NewSession { client: client(), ..new_session("{}") };
    store.create(std::slice::from_ref(&new)).await.unwrap();
    let inserted = sessile::store::LogIn { client: client(), ..log_in("ada") };
    admitted(store.log_in(&inserted).await.unwrap());
    let bound =
        sessile::store::LogIn { client: client(), ..log_in_to(&anonymous(&store).await, "ada") };
    admitted(store.log_in(&bound).await.unwrap());
    let renewed = anonymous(&store).await;
    store.renew(&Renewal { client: client(), ..renewal(&renewed) }).await.unwrap();
    let reauthenticated = logged_in(&store, "ada").await;
    let mut to = reauthentication(&reauthenticated);
    to.renewal.client = client();
    store.reauthenticate(&to).await.unwrap().unwrap();
    let saved = anonymous(&store).await;
    store.save(&[Save { ip: ip(MAPPED), ..save(&saved, "{}") }]).await.unwrap();
    let touched = anonymous(&store).await;
    store.touch(&[Touch { ip: ip(MAPPED), ..touch(&touched, 60) }]).await.unwrap();

    assert_eq!(stored(&db).await, [HOME; 7]);
    for id in [new.id, inserted.id, bound.id, renewed.id, saved.id, touched.id] {
        assert_eq!(shown(&store, id).await, ip(HOME));
    }
    assert!(now(&store, reauthenticated.id).await.is_some());
    assert_eq!(shown(&store, reauthenticated.id).await, ip(HOME));
    assert_eq!(Client::new().ip(ip(MAPPED)).ip, ip(HOME));
}

async fn an_address_that_an_earlier_release_stored_is_shown_as_ipv4(db: Db, store: Arc<dyn Store>) {
    let record = logged_in(&store, "ada").await;
    db.run(
        "update sessile.sessions set ip = '::ffff:192.0.2.7'",
        "update sessions set ip = '::ffff:192.0.2.7'",
    )
    .await;
    assert_eq!(shown(&store, record.id).await, ip(HOME));
    let listed = store.list(&super::make::page("ada")).await.unwrap();
    assert_eq!(listed[0].ip, ip(HOME));
}
