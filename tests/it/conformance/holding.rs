//! What became of holders, of which many are asked about at once.

use std::sync::Arc;

use sessile::{
    minutes,
    store::{Holder, HolderState, Store},
};

use super::{
    conformance,
    make::{admitted, anonymous, hash, holder, id, log_in_to, logged_in, one, renewal},
};
use crate::support::Db;

conformance! {
    each_holder_is_answered_in_its_place,
    nobody_is_asked_about_without_holders,
    an_expired_session_has_ended,
    hundreds_of_holders_are_one_call,
}

async fn each_holder_is_answered_in_its_place(_: Db, store: Arc<dyn Store>) {
    let live = logged_in(&store, "ada").await;
    let renewed = anonymous(&store).await;
    let renewal = renewal(&renewed);
    assert!(store.renew(&renewal).await.unwrap());
    let ended = anonymous(&store).await;
    store.end(&[one(ended.id)]).await.unwrap();
    let before = anonymous(&store).await;
    let twins = [log_in_to(&before, "bob"), log_in_to(&before, "bob")];
    for twin in &twins {
        admitted(store.log_in(twin).await.unwrap());
    }
    let of_twin = |i: usize| Holder { id: before.id, secret_hash: twins[i].new_hash };

    let asked = [
        (holder(&ended), HolderState::Ended),
        (holder(&renewed), HolderState::Superseded),
        (of_twin(0), HolderState::Holds),
        (holder(&live), HolderState::Holds),
        (Holder { id: renewed.id, secret_hash: renewal.new_hash }, HolderState::Holds),
        (Holder { id: live.id, secret_hash: hash() }, HolderState::Superseded),
        (of_twin(1), HolderState::Holds),
        (holder(&before), HolderState::Superseded),
        (Holder { id: id(), secret_hash: hash() }, HolderState::Ended),
        (holder(&live), HolderState::Holds),
    ];
    let states = store.holding(&asked.map(|(holder, _)| holder)).await.unwrap();
    assert_eq!(states, asked.map(|(_, state)| state));
}

async fn nobody_is_asked_about_without_holders(_: Db, store: Arc<dyn Store>) {
    assert_eq!(store.holding(&[]).await.unwrap(), []);
}

async fn an_expired_session_has_ended(db: Db, store: Arc<dyn Store>) {
    let (one, other) = (anonymous(&store).await, anonymous(&store).await);
    // The cached store has copies of both now.
    store.load(&[one.id]).await.unwrap();
    db.pass(minutes(10_000)).await;
    let states = store.holding(&[holder(&one), holder(&other)]).await.unwrap();
    assert_eq!(states, [HolderState::Ended; 2]);
}

async fn hundreds_of_holders_are_one_call(_: Db, store: Arc<dyn Store>) {
    let mut holders = Vec::new();
    let mut expected = Vec::new();
    for i in 0..300 {
        let record = anonymous(&store).await;
        holders.push(holder(&record));
        expected.push(match i % 3 {
            0 => {
                store.end(&[one(record.id)]).await.unwrap();
                HolderState::Ended
            }
            _ => HolderState::Holds,
        });
    }
    assert_eq!(store.holding(&holders).await.unwrap(), expected);
}
