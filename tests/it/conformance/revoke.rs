use std::sync::Arc;

use sessile::{
    SessionId, hours,
    store::{End, Scope, Store},
};

use super::{
    conformance,
    make::{anonymous, id, logged_in, one, revoke},
};
use crate::support::Db;

conformance! {
    one_session_ends,
    several_sessions_end_and_only_the_live_ones_are_told,
    one_session_of_a_user_ends_only_if_it_is_theirs,
    all_of_a_user_end_and_nobody_elses,
    all_of_a_user_but_one_end,
    all_sessions_end,
    there_may_be_nothing_to_end,
    an_expired_row_is_deleted_and_not_counted,
    a_cut_off_is_the_moment_of_the_revocation,
    a_cut_off_of_a_clock_that_was_set_back_is_the_moment_of_the_revocation,
}

async fn one_session_ends(_: Db, store: Arc<dyn Store>) {
    let rows = rows(&store).await;
    assert_eq!(store.end(&[one(rows.ada[0])]).await.unwrap().done, [rows.ada[0]]);
    rows.left(&store, &[rows.ada[1], rows.bobs, rows.nobodys]).await;
}

async fn several_sessions_end_and_only_the_live_ones_are_told(db: Db, store: Arc<dyn Store>) {
    let expired = anonymous(&store).await.id;
    db.pass(hours(1)).await;
    let rows = rows(&store).await;
    let ends = [one(expired), one(id()), of_ada(rows.ada[1]), of_ada(rows.bobs), one(rows.nobodys)];
    let mut ended = store.end(&ends).await.unwrap().done;
    ended.sort();
    assert_eq!(ended, [rows.ada[1], rows.nobodys]);
    rows.left(&store, &[rows.ada[0], rows.bobs]).await;
    assert_eq!(db.rows().await, 2);
}

async fn one_session_of_a_user_ends_only_if_it_is_theirs(_: Db, store: Arc<dyn Store>) {
    let rows = rows(&store).await;
    for id in [rows.bobs, rows.nobodys, id()] {
        assert_eq!(store.end(&[of_ada(id)]).await.unwrap().done, []);
    }
    assert_eq!(store.end(&[of_ada(rows.ada[0])]).await.unwrap().done, [rows.ada[0]]);
    rows.left(&store, &[rows.ada[1], rows.bobs, rows.nobodys]).await;
}

async fn all_of_a_user_end_and_nobody_elses(_: Db, store: Arc<dyn Store>) {
    let rows = rows(&store).await;
    assert_eq!(revoke(&store, &Scope::User("ada".into())).await.ended, 2);
    rows.left(&store, &[rows.bobs, rows.nobodys]).await;
}

async fn all_of_a_user_but_one_end(_: Db, store: Arc<dyn Store>) {
    let rows = rows(&store).await;
    let others = Scope::OthersOf("ada".into(), rows.ada[1]);
    assert_eq!(revoke(&store, &others).await.ended, 1);
    rows.left(&store, &[rows.ada[1], rows.bobs, rows.nobodys]).await;
    // The session to keep may be anonymous, or another user's.
    let others = Scope::OthersOf("ada".into(), rows.bobs);
    assert_eq!(revoke(&store, &others).await.ended, 1);
    rows.left(&store, &[rows.bobs, rows.nobodys]).await;
}

async fn all_sessions_end(_: Db, store: Arc<dyn Store>) {
    let rows = rows(&store).await;
    assert_eq!(revoke(&store, &Scope::All).await.ended, 4);
    rows.left(&store, &[]).await;
}

async fn there_may_be_nothing_to_end(_: Db, store: Arc<dyn Store>) {
    assert_eq!(store.end(&[one(id())]).await.unwrap().done, []);
    assert_eq!(store.end(&[of_ada(id())]).await.unwrap().done, []);
    let scopes = [Scope::User("ada".into()), Scope::OthersOf("ada".into(), id()), Scope::All];
    for scope in scopes {
        assert_eq!(revoke(&store, &scope).await.ended, 0, "{scope:?}");
    }
}

async fn an_expired_row_is_deleted_and_not_counted(db: Db, store: Arc<dyn Store>) {
    for shape in 0..3 {
        db.pass_for_cutoffs(hours(1)).await;
        let expired = logged_in(&store, "ada").await;
        db.pass(hours(1)).await;
        let scope = match shape {
            0 => Scope::User("ada".into()),
            1 => Scope::OthersOf("ada".into(), id()),
            _ => Scope::All,
        };
        logged_in(&store, "ada").await;
        assert_eq!(revoke(&store, &scope).await.ended, 1, "{scope:?}");
        assert_eq!(db.rows().await, 0, "{scope:?} {}", expired.id);
    }
}

async fn a_cut_off_is_the_moment_of_the_revocation(db: Db, store: Arc<dyn Store>) {
    for scope in [Scope::User("ada".into()), Scope::OthersOf("bob".into(), id()), Scope::All] {
        let before = db.clock().await;
        let cutoff = revoke(&store, &scope).await.cutoff.unwrap();
        let after = db.clock().await;
        match db.is_postgres() {
            true => assert!((before..=after).contains(&cutoff.timestamp_micros())),
            // Rounded up to the next millisecond, the precision of the clock, so that no log-in of the same
            // millisecond passes.
            false => assert!((before + 1..=after + 1).contains(&cutoff.timestamp_millis())),
        }
    }
}

/// The database's clock was set back by an hour after the last cut-off. The next cut-off has the new time,
/// and is the one that is stored.
async fn a_cut_off_of_a_clock_that_was_set_back_is_the_moment_of_the_revocation(
    db: Db,
    store: Arc<dyn Store>,
) {
    revoke(&store, &Scope::User("ada".into())).await;
    db.run(
        "update sessile.session_cutoffs set revoked_at = revoked_at + interval '1 hour' where user_id = 'ada'",
        "update session_cutoffs set revoked_at = revoked_at + 3600000 where user_id = 'ada'",
    )
    .await;
    let cutoff = revoke(&store, &Scope::User("ada".into())).await.cutoff.unwrap();
    let stored = db
        .number(
            "select (extract(epoch from revoked_at) * 1000000)::bigint from sessile.session_cutoffs where user_id = 'ada'",
            "select revoked_at * 1000 from session_cutoffs where user_id = 'ada'",
        )
        .await;
    assert_eq!(cutoff.timestamp_micros(), stored);
    let clock = db.clock().await;
    match db.is_postgres() {
        true => assert!(cutoff.timestamp_micros() <= clock),
        false => assert!(cutoff.timestamp_millis() <= clock + 1),
    }
}

fn of_ada(id: SessionId) -> End {
    End { user_id: Some("ada".to_owned()), ..one(id) }
}

struct Rows {
    ada: [SessionId; 2],
    bobs: SessionId,
    nobodys: SessionId,
}

async fn rows(store: &Arc<dyn Store>) -> Rows {
    Rows {
        ada: [logged_in(store, "ada").await.id, logged_in(store, "ada").await.id],
        bobs: logged_in(store, "bob").await.id,
        nobodys: anonymous(store).await.id,
    }
}

impl Rows {
    async fn left(&self, store: &Arc<dyn Store>, ids: &[SessionId]) {
        let all = [self.ada[0], self.ada[1], self.bobs, self.nobodys];
        let mut left: Vec<_> = store.load(&all).await.unwrap().iter().map(|r| r.id).collect();
        left.sort();
        assert_eq!(left, ids);
    }
}
