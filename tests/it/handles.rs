//! A handle that has lost its session: another request replaced the secret, or ended the session. The holder
//! of the handle, a slow request or a thief, changes nothing and learns nothing new.

use std::{future::Future, pin::Pin};

use serde_json::json;
use sessile::{
    Client, CookieChange, ErrorKind, OnLimit, Result, Session, SessionId, Sessions, hours, minutes,
    seconds,
};

use crate::support::{
    Browser, Db, cases,
    tap::{Gate, Verb},
};

cases! {
    and_wrapped:
    no_call_of_a_handle_that_is_no_longer_the_session_does_anything,
    no_call_does_anything_where_the_session_was_lost_on_its_way,
    a_handle_that_knows_it_asks_nobody,
    a_log_out_of_a_handle_that_is_no_longer_the_session_ends_nothing,
    a_log_in_gets_a_session_whatever_became_of_the_handle,
    a_log_in_that_is_completed_is_the_sessions_or_its_own,
    a_stale_anonymous_handle_does_nothing_to_whoever_logged_in,
    a_touch_of_a_handle_whose_secret_was_replaced_changes_nothing,
    a_thiefs_open_handle_does_not_pass_require_recent_after_the_victim_authenticated_again,
    after_revoke_user_a_handle_throws_nobody_out,
    a_stale_anonymous_handles_log_out_ends_nobodys_session,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Reauthenticated,
    Renewed,
    LoggedIn,
    LoggedInAsSomebodyElse,
    LogInBegun,
    Revoked,
    AllRevoked,
    UserRevoked,
    LoggedOut,
    LoggedOutElsewhere,
    EndedByTheLimit,
    Expired,
}

impl Fate {
    const ALL: [Self; 12] = [
        Self::Reauthenticated,
        Self::Renewed,
        Self::LoggedIn,
        Self::LoggedInAsSomebodyElse,
        Self::LogInBegun,
        Self::Revoked,
        Self::AllRevoked,
        Self::UserRevoked,
        Self::LoggedOut,
        Self::LoggedOutElsewhere,
        Self::EndedByTheLimit,
        Self::Expired,
    ];

    fn replaces(self) -> bool {
        use Fate::{LogInBegun, LoggedIn, LoggedInAsSomebodyElse, Reauthenticated, Renewed};
        [Reauthenticated, Renewed, LoggedIn, LoggedInAsSomebodyElse, LogInBegun].contains(&self)
    }

    /// The error of such a handle.
    fn kind(self) -> ErrorKind {
        if self.replaces() { ErrorKind::Superseded } else { ErrorKind::SessionEnded }
    }

    /// Replaces the secret or ends the session: by another request of the victim's browser, another device or
    /// the application.
    async fn befall(self, db: &Db, victim: &mut Victim) {
        let node = &db.sessions().await;
        let session = victim.browser.open(node).await;
        match self {
            Self::Reauthenticated => session.reauthenticate().await.unwrap(),
            Self::Renewed => session.renew().await.unwrap(),
            Self::LoggedIn => session.log_in(&victim.user_id).await.unwrap(),
            Self::LoggedInAsSomebodyElse => session.log_in("somebody else").await.unwrap(),
            Self::LogInBegun => session.begin_log_in().user(&victim.user_id).await.unwrap(),
            Self::Revoked => assert!(node.revoke(victim.id).await.unwrap()),
            Self::AllRevoked => drop(node.revoke_all().await.unwrap()),
            Self::UserRevoked => drop(node.revoke_user(&victim.user_id).await.unwrap()),
            Self::LoggedOut => assert_eq!(session.log_out().await.unwrap().ended, 1),
            Self::LoggedOutElsewhere => {
                let device = victim.device.open(node).await;
                assert_eq!(device.log_out_others().await.unwrap().ended, 1);
            }
            Self::EndedByTheLimit => {
                let limited = db.builder().await.sessions_per_user(1, OnLimit::EndOldest);
                Browser::logged_in(&limited.build().unwrap(), &victim.user_id).await;
            }
            Self::Expired => db.pass(hours(2)).await,
        }
        victim.browser.finish(&session).await;
        // Writes the held touch now, because nothing may change later.
        node.flush().await.unwrap();
        db.heard().await;
    }
}

/// A user with two devices, who authenticated ten minutes ago.
struct Victim {
    user_id: String,
    /// The session of the handle.
    browser: Browser,
    id: SessionId,
    device: Browser,
    device_id: SessionId,
}

impl Victim {
    async fn new(db: &Db, sessions: &Sessions, user_id: &str) -> Self {
        let (browser, id) = Browser::logged_in(sessions, user_id).await;
        browser.open(sessions).await.update("cart", |n: &mut u64| *n += 1).await.unwrap();
        let (device, device_id) = Browser::logged_in(sessions, user_id).await;
        db.pass(minutes(10)).await;
        Self { user_id: user_id.to_owned(), browser, id, device, device_id }
    }
}

type Act = for<'a> fn(
    &'a Session,
    [SessionId; 2],
) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A call of a handle, the verb with which it reaches the store, and whether it leaves a recorded change.
struct Call(&'static str, Verb, bool, Act);

/// Every call that asks the store. The ids are those of the session and of the user's other device.
const CALLS: [Call; 16] = [
    Call("update", Verb::Save, false, |s, _| {
        Box::pin(async { s.update("late", |n: &mut u64| *n += 1).await })
    }),
    Call("insert and save", Verb::Save, true, |s, _| {
        Box::pin(async {
            s.insert("late", 1)?;
            s.save().await
        })
    }),
    Call("clear and save", Verb::Save, true, |s, _| {
        Box::pin(async {
            s.clear();
            s.save().await
        })
    }),
    Call("insert and finish", Verb::Save, true, |s, _| {
        Box::pin(async {
            s.insert("late", 1)?;
            s.finish().await.map(drop)
        })
    }),
    Call("renew", Verb::Renew, false, |s, _| Box::pin(s.renew())),
    Call("begin_log_in", Verb::Renew, false, |s, _| Box::pin(async { s.begin_log_in().await })),
    Call("begin_log_in for a user", Verb::Renew, false, |s, _| {
        Box::pin(async { s.begin_log_in().user("a thief").await })
    }),
    Call("reauthenticate", Verb::Reauthenticate, false, |s, _| Box::pin(s.reauthenticate())),
    Call("devices", Verb::List, false, |s, _| Box::pin(async { s.devices().await.map(drop) })),
    Call("log_out_device, itself", Verb::End, false, |s, [own, _]| {
        Box::pin(async move { s.log_out_device(own).await.map(drop) })
    }),
    Call("log_out_device, the other one", Verb::End, false, |s, [_, other]| {
        Box::pin(async move { s.log_out_device(other).await.map(drop) })
    }),
    Call("log_out_device, one that is not there", Verb::End, false, |s, _| {
        Box::pin(async { s.log_out_device(uuid::Uuid::now_v7().into()).await.map(drop) })
    }),
    Call("log_out_others", Verb::Revoke, false, |s, _| {
        Box::pin(async { s.log_out_others().await.map(drop) })
    }),
    Call("log_out_everywhere", Verb::Revoke, false, |s, _| {
        Box::pin(async { s.log_out_everywhere().await.map(drop) })
    }),
    Call("refresh", Verb::Load, false, |s, _| Box::pin(s.refresh())),
    Call("refresh, when it was just seen", Verb::Load, false, |s, _| {
        Box::pin(async {
            s.refresh().await?;
            s.refresh().await
        })
    }),
];

/// The whole content of the database: every column of the sessions, and the cut-offs.
async fn everything(db: &Db) -> Vec<String> {
    let columns = db
        .texts(
            "select 's::text'",
            "select 'quote(' || name || ')' from pragma_table_info('sessions')",
        )
        .await
        .join(" || ' ' || ");
    let mut all = db
        .texts(
            &format!("select {columns} from sessile.sessions s order by id"),
            &format!("select {columns} from sessions order by id"),
        )
        .await;
    let cutoffs = db
        .texts(
            "select user_id || ' ' || coalesce(revoked_at::text, '-') from sessile.session_cutoffs order by user_id",
            "select user_id || ' ' || coalesce(revoked_at, '-') from session_cutoffs order by user_id",
        )
        .await;
    all.extend(cutoffs);
    all
}

/// The handle shows nothing of the session, and changes no cookie.
async fn is_nobodys(held: &Session, kind: ErrorKind, has_recorded: bool, about: &str) {
    assert_eq!((held.id(), held.user_id()), (None, None), "{about}");
    assert_eq!((held.authenticated_at(), held.expires_at()), (None, None), "{about}");
    assert_eq!((held.created_at(), held.pending_log_in()), (None, None), "{about}");
    assert!(!held.contains("cart"), "{about}");
    assert_eq!(held.is_superseded(), kind == ErrorKind::Superseded, "{about}");
    let recent = held.require_recent(hours(1000)).unwrap_err();
    assert_eq!(recent.kind(), kind, "{about}");
    match held.finish().await {
        Ok(change) => {
            assert!(!has_recorded, "{about}");
            assert_eq!(change, CookieChange::Keep, "{about}");
        }
        Err(error) => {
            assert!(has_recorded, "{about}");
            assert_eq!(error.kind(), kind, "{about}");
            assert_eq!(held.abandon(), CookieChange::Keep, "{about}");
        }
    }
}

async fn no_call_of_a_handle_that_is_no_longer_the_session_does_anything(db: Db) {
    let node = db.sessions().await;
    for fate in Fate::ALL {
        let mut victim = Victim::new(&db, &node, &format!("{fate:?}")).await;
        let mut handles = Vec::new();
        for call in &CALLS {
            handles.push((call, victim.browser.open(&node).await));
        }
        fate.befall(&db, &mut victim).await;
        let before = everything(&db).await;
        for (Call(name, _, has_recorded, act), held) in handles {
            let about = format!("{name} when {fate:?}");
            let ids = [victim.id, victim.device_id];
            for _ in 0..2 {
                let error = act(&held, ids).await.expect_err(&about);
                assert_eq!(error.kind(), fate.kind(), "{about}");
            }
            is_nobodys(&held, fate.kind(), *has_recorded, &about).await;
            node.flush().await.unwrap();
            assert_eq!(everything(&db).await, before, "{about}");
        }
        assert_eq!(victim.browser.is_in(&node).await, fate.replaces(), "{fate:?}");
        db.pass_for_cutoffs(minutes(1)).await;
    }
}

/// The session is lost while the call is on its way to the store.
async fn no_call_does_anything_where_the_session_was_lost_on_its_way(db: Db) {
    let node = db.sessions().await;
    let fates =
        [Fate::Reauthenticated, Fate::Renewed, Fate::LoggedIn, Fate::UserRevoked, Fate::LoggedOut];
    for fate in fates {
        for Call(name, verb, has_recorded, act) in &CALLS {
            if *verb == Verb::Load {
                // The call only reads. Its later effect is a touch, which a test below covers.
                continue;
            }
            let about = format!("{name} when {fate:?}");
            let mut victim = Victim::new(&db, &node, &about).await;
            let gate = Gate::before(*verb);
            let held = victim.browser.open(&db.tapped(&gate).build().unwrap()).await;
            let (acting, ids) = (held.clone(), [victim.id, victim.device_id]);
            let task = tokio::spawn(async move { act(&acting, ids).await });
            gate.reached().await;
            fate.befall(&db, &mut victim).await;
            let before = everything(&db).await;
            gate.open();
            let error = task.await.unwrap().expect_err(&about);
            assert_eq!(error.kind(), fate.kind(), "{about}");
            is_nobodys(&held, fate.kind(), *has_recorded, &about).await;
            assert_eq!(everything(&db).await, before, "{about}");
            db.pass_for_cutoffs(minutes(1)).await;
        }
    }
}

/// A superseded or ended handle stays so. Only the beginning of a log-in asks the store, because it may be
/// the second half of a double click.
async fn a_handle_that_knows_it_asks_nobody(db: Db) {
    let spy = crate::support::tap::Spy::new();
    let (node, spied) = (db.sessions().await, db.tapped(&spy).build().unwrap());
    for fate in [Fate::Reauthenticated, Fate::UserRevoked] {
        let mut victim = Victim::new(&db, &node, &format!("{fate:?}")).await;
        let held = victim.browser.open(&spied).await;
        fate.befall(&db, &mut victim).await;
        held.refresh().await.unwrap_err();
        spy.calls();
        for Call(name, _, _, act) in CALLS.iter().filter(|call| !call.0.starts_with("begin")) {
            let error = act(&held, [victim.id, victim.device_id]).await.unwrap_err();
            assert_eq!(error.kind(), fate.kind(), "{name}");
        }
        for complete in [held.complete_log_in(), held.complete_log_in_as(&victim.user_id)] {
            assert_eq!(complete.await.unwrap_err().kind(), fate.kind());
        }
        assert_eq!(spy.calls(), [], "{fate:?}");
    }
}

async fn a_log_out_of_a_handle_that_is_no_longer_the_session_ends_nothing(db: Db) {
    let node = db.sessions().await;
    for fate in Fate::ALL {
        for on_its_way in [false, true] {
            let about = format!("{fate:?} {on_its_way}");
            let mut victim = Victim::new(&db, &node, &about).await;
            let gate = Gate::before(Verb::End);
            let gated = db.tapped(&gate).build().unwrap();
            let held = victim.browser.open(if on_its_way { &gated } else { &node }).await;
            let leaving = held.clone();
            let before;
            let result = if on_its_way {
                let task = tokio::spawn(async move { leaving.log_out().await });
                gate.reached().await;
                fate.befall(&db, &mut victim).await;
                before = everything(&db).await;
                gate.open();
                task.await.unwrap()
            } else {
                fate.befall(&db, &mut victim).await;
                before = everything(&db).await;
                leaving.log_out().await
            };
            assert_eq!(everything(&db).await, before, "{about}");
            let change = held.finish().await.unwrap();
            if fate.replaces() {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Superseded, "{about}");
                assert_eq!(change, CookieChange::Keep, "{about}");
                assert!(victim.browser.is_in(&node).await, "{about}");
            } else {
                // The session was logged out already.
                assert_eq!(result.unwrap().ended, 0, "{about}");
                assert_eq!(change, CookieChange::Remove, "{about}");
            }
            assert_eq!(held.user_id(), None);
            db.pass_for_cutoffs(minutes(1)).await;
        }
    }
}

/// A user who has just authenticated gets a session.
async fn a_log_in_gets_a_session_whatever_became_of_the_handle(db: Db) {
    let node = db.sessions().await;
    for fate in Fate::ALL {
        for knows in [false, true] {
            let about = format!("{fate:?} {knows}");
            let mut victim = Victim::new(&db, &node, &about).await;
            let held = victim.browser.open(&node).await;
            fate.befall(&db, &mut victim).await;
            if knows {
                assert_eq!(held.refresh().await.unwrap_err().kind(), fate.kind(), "{about}");
            }
            if [Fate::AllRevoked, Fate::UserRevoked, Fate::LoggedOutElsewhere].contains(&fate) {
                // The request began before the revocation.
                let refused = held.log_in(&victim.user_id).await.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::LogInRefused, "{about}");
            }
            db.pass_for_cutoffs(seconds(1)).await;
            let log_in = held.log_in(&victim.user_id);
            log_in.authentication_began(std::time::Instant::now()).await.unwrap();
            let mut browser = Browser::default();
            browser.finish(&held).await;
            let session = browser.open(&node).await;
            assert_eq!(session.user_id().as_ref(), Some(&victim.user_id), "{about}");
            session.require_recent(minutes(1)).unwrap();
            // If the row still belongs to the same user, it is the session. Another user's row is left alone.
            let is_same = fate.replaces() && fate != Fate::LoggedInAsSomebodyElse;
            assert_eq!(session.id() == Some(victim.id), is_same, "{about}");
            assert_eq!(victim.browser.is_in(&node).await, fate.replaces(), "{about}");
            // A new session begins with the data that the request has seen, unless the session had ended.
            let shown = fate.replaces() && !knows;
            assert_eq!(session.contains("cart"), is_same || shown, "{about}");
            db.pass_for_cutoffs(minutes(1)).await;
        }
    }
}

/// The second request of a log-in of two requests finds the secret replaced or the session gone, after it was
/// sent.
async fn a_log_in_that_is_completed_is_the_sessions_or_its_own(db: Db) {
    let node = db.sessions().await;
    for fate in [Fate::Reauthenticated, Fate::UserRevoked, Fate::LoggedInAsSomebodyElse] {
        let mut victim = Victim::new(&db, &node, &format!("{fate:?}")).await;
        let session = victim.browser.open(&node).await;
        session.begin_log_in().user(&victim.user_id).await.unwrap();
        victim.browser.finish(&session).await;
        let gate = Gate::before(Verb::LogIn);
        let held = victim.browser.open(&db.tapped(&gate).build().unwrap()).await;
        let completing = held.clone();
        let task = tokio::spawn(async move { completing.complete_log_in().await });
        gate.reached().await;
        fate.befall(&db, &mut victim).await;
        gate.open();
        let result = task.await.unwrap();
        match fate {
            Fate::UserRevoked => {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::LogInRefused);
                assert_eq!(node.count_of_user(&victim.user_id).await.unwrap(), 0);
            }
            _ => {
                result.unwrap();
                assert_eq!(held.user_id().as_ref(), Some(&victim.user_id));
                let is_same = fate == Fate::Reauthenticated;
                assert_eq!(held.id() == Some(victim.id), is_same, "{fate:?}");
                assert!(victim.browser.is_in(&node).await, "{fate:?}");
            }
        }
        db.pass_for_cutoffs(minutes(1)).await;
    }
}

/// An attacker has planted an anonymous cookie, holds a request with it, and waits.
async fn a_stale_anonymous_handle_does_nothing_to_whoever_logged_in(db: Db) {
    let node = db.sessions().await;
    for beginning in [false, true] {
        let (mut browser, id) = Browser::with(&node, "cart", json!(1)).await;
        db.pass(minutes(10)).await;
        let mut handles = Vec::new();
        for call in &CALLS {
            handles.push((call, browser.open(&node).await));
        }
        let session = browser.open(&node).await;
        match beginning {
            true => session.begin_log_in().user("ada").await.unwrap(),
            false => session.log_in("ada").await.unwrap(),
        }
        browser.finish(&session).await;
        node.flush().await.unwrap();
        let (_, device) = Browser::logged_in(&node, "ada").await;
        db.heard().await;
        let before = everything(&db).await;
        for (Call(name, verb, has_recorded, act), held) in handles {
            let error = act(&held, [id, device]).await.expect_err(name);
            if [Verb::List, Verb::Revoke, Verb::Reauthenticate].contains(verb)
                || name.starts_with("log_out_device")
            {
                // The call is about a user, whom this handle has never seen.
                assert_eq!(error.kind(), ErrorKind::NotLoggedIn, "{name}");
            } else {
                assert_eq!(error.kind(), ErrorKind::Superseded, "{name}");
                is_nobodys(&held, ErrorKind::Superseded, *has_recorded, name).await;
            }
            assert_eq!(everything(&db).await, before, "{name}");
            assert_eq!((held.user_id(), held.pending_log_in()), (None, None), "{name}");
        }
        assert!(browser.is_in(&node).await);
    }
}

async fn a_touch_of_a_handle_whose_secret_was_replaced_changes_nothing(db: Db) {
    let node = db.sessions().await;
    for begins in [false, true] {
        for finishes in [false, true] {
            let about = format!("{begins} {finishes}");
            let victim = Victim::new(&db, &node, &about).await;
            let gate = Gate::before(Verb::Touch);
            let gated = db.tapped(&gate).build().unwrap();
            let address: std::net::IpAddr = "192.0.2.66".parse().unwrap();
            let cookie = victim.browser.cookie.as_deref().map(str::as_bytes);
            let held = gated.open(cookie, Client::new().ip(address)).await.unwrap();
            match finishes {
                true => drop(held.finish().await.unwrap()),
                false => held.refresh().await.unwrap(),
            }
            gate.reached().await;
            // The row was last seen ten minutes ago, and this request has not ended either.
            let session = victim.browser.open(&node).await;
            match begins {
                true => session.begin_log_in().user("ada").await.unwrap(),
                false => session.renew().await.unwrap(),
            }
            let before = everything(&db).await;
            gate.open();
            gated.flush().await.unwrap();
            assert_eq!(everything(&db).await, before, "{about}");
            assert!(!before.join("").contains("192.0.2.66"));
        }
    }
}

async fn a_thiefs_open_handle_does_not_pass_require_recent_after_the_victim_authenticated_again(
    db: Db,
) {
    let nodes = [db.sessions().await, db.sessions().await];
    for knows_how in ["refresh", "update", "save", "nothing"] {
        let (mut browser, _) = Browser::logged_in(&nodes[0], "ada").await;
        db.pass(minutes(10)).await;
        let thief = browser.open(&nodes[1]).await;
        thief.require_recent(minutes(5)).unwrap_err();
        let victim = browser.open(&nodes[0]).await;
        victim.reauthenticate().await.unwrap();
        browser.finish(&victim).await;
        victim.require_recent(minutes(5)).unwrap();
        db.heard().await;
        let act = match knows_how {
            "refresh" => thief.refresh().await,
            "update" => thief.update("n", |n: &mut u64| *n += 1).await,
            "save" => {
                thief.insert("n", 1).unwrap();
                thief.save().await
            }
            _ => Ok(()),
        };
        let recent = thief.require_recent(minutes(5)).unwrap_err();
        let knows = knows_how != "nothing";
        assert_eq!(act.err().map(|e| e.kind()), knows.then_some(ErrorKind::Superseded));
        match knows {
            true => assert_eq!(recent.kind(), ErrorKind::Superseded, "{knows_how}"),
            false => assert_eq!(recent.kind(), ErrorKind::ReauthenticationRequired),
        }
        assert_eq!(browser.open(&nodes[0]).await.keys(), [""; 0]);
    }
}

async fn after_revoke_user_a_handle_throws_nobody_out(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    let (stolen, _) = Browser::logged_in(&nodes[0], "ada").await;
    let mut thiefs = Vec::new();
    for _ in 0..4 {
        thiefs.push(stolen.open(&nodes[1]).await);
    }
    nodes[0].revoke_user("ada").await.unwrap();
    // She returns from two devices, and is about to log in from a third.
    let (one, id) = Browser::logged_in(&nodes[0], "ada").await;
    let (other, _) = Browser::logged_in(&nodes[0], "ada").await;
    let third = Browser::default().open(&nodes[0]).await;
    db.heard().await;
    for error in [
        thiefs[0].devices().await.unwrap_err(),
        thiefs[1].log_out_device(id).await.unwrap_err(),
        thiefs[2].log_out_others().await.unwrap_err(),
        thiefs[3].log_out_everywhere().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::SessionEnded);
    }
    assert!(one.is_in(&nodes[0]).await && other.is_in(&nodes[0]).await);
    third.log_in("ada").await.unwrap();
    assert_eq!(nodes[0].count_of_user("ada").await.unwrap(), 3);
}

async fn a_stale_anonymous_handles_log_out_ends_nobodys_session(db: Db) {
    let nodes = [db.sessions().await, db.sessions().await];
    let (mut browser, id) = Browser::with(&nodes[0], "cart", json!("tea")).await;
    let stale = browser.open(&nodes[1]).await;
    let session = browser.open(&nodes[0]).await;
    session.log_in("ada").await.unwrap();
    browser.finish(&session).await;
    assert_eq!(stale.log_out().await.unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(stale.finish().await.unwrap(), CookieChange::Keep);
    let after = browser.open(&nodes[0]).await;
    assert_eq!((after.id(), after.user_id().as_deref()), (Some(id), Some("ada")));
    assert_eq!(after.keys(), ["cart"]);
}
