//! On Postgres: log-ins and revocations by both paths, in random order. There is no deadlock, and no session survives
//! a cut-off.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use sessile::{ErrorKind, SessionId, Sessions};
use sqlx::{Connection, PgConnection};

use super::{Path, What, by_library};
use crate::{
    races::Dice,
    support::{Browser, Db},
};

const ROUNDS: u64 = 20;
const TASKS: u64 = 8;
const CALLS: u32 = 10;
const USERS: [&str; 3] = ["ada", "bob", "eve"];

/// The facts that are certain, because a call has returned.
#[derive(Default)]
struct Facts {
    /// When an authentication began, and of which user.
    admitted: Vec<(Instant, &'static str, SessionId)>,
    /// When a revocation began, of which user or of all, and the session that it keeps.
    revoked: Vec<(Instant, Option<&'static str>, Option<SessionId>)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_round_has_a_deadlock_or_a_survivor() {
    let db = Db::postgres().await;
    let nodes = [db.sessions().await, db.sessions().await];
    let seed = rand::random::<u64>();
    println!("the seed is {seed}: give it to `Dice` in this test to repeat the rounds");
    for round in 0..ROUNDS {
        let facts = Arc::<Mutex<Facts>>::default();
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..TASKS {
            let (db, node) = (db.clone(), nodes[task as usize % 2].clone());
            let (facts, mut dice) = (facts.clone(), Dice(seed ^ (round * TASKS + task)));
            tasks.spawn(async move {
                for _ in 0..CALLS {
                    call(&db, &node, &facts, &mut dice).await;
                }
            });
        }
        tasks.join_all().await;
        let facts = std::mem::take(&mut *facts.lock().unwrap());
        let ids: Vec<_> = facts.admitted.iter().map(|(.., id)| *id).collect();
        for live in db.store().load(&ids).await.unwrap() {
            let (began, user, id) = facts.admitted.iter().find(|(.., id)| *id == live.id).unwrap();
            let ended = facts.revoked.iter().find(|(at, of, keep)| {
                at > began && of.is_none_or(|of| of == *user) && *keep != Some(*id)
            });
            assert!(ended.is_none(), "{id} survived in round {round} of seed {seed}");
        }
    }
    drop(nodes);
    assert_eq!(deadlocks(&db).await, 0, "seed {seed}");
    db.drop().await;
}

async fn call(db: &Db, node: &Sessions, facts: &Mutex<Facts>, dice: &mut Dice) {
    let user = USERS[dice.roll(USERS.len() as u64) as usize];
    let known = facts.lock().unwrap().admitted.last().map(|(.., id)| *id);
    let keep = known.unwrap_or_else(|| uuid::Uuid::now_v7().into());
    let what = match dice.roll(8) {
        0 => What::All,
        1 => What::User(user),
        2 => What::Others(user, keep),
        3 => What::One(keep),
        _ => return log_in(node, facts, user).await,
    };
    let at = Instant::now();
    match dice.roll(3) {
        0 => drop(by_library(node, what).await),
        _ => drop(Path::Sql.revoke(db, "", what).await),
    }
    let mut facts = facts.lock().unwrap();
    match what {
        What::One(_) => {}
        What::All => facts.revoked.push((at, None, None)),
        What::User(_) => facts.revoked.push((at, Some(user), None)),
        What::Others(_, keep) => facts.revoked.push((at, Some(user), Some(keep))),
    }
}

async fn log_in(node: &Sessions, facts: &Mutex<Facts>, user: &'static str) {
    let began = Instant::now();
    let session = Browser::default().open(node).await;
    match session.log_in(user).await {
        Ok(()) => facts.lock().unwrap().admitted.push((began, user, session.id().unwrap())),
        Err(error) => assert_eq!(error.kind(), ErrorKind::LogInRefused, "{error:?}"),
    }
}

/// How often the server broke a deadlock in this database. A server process reports that at the latest when it ends.
async fn deadlocks(db: &Db) -> i64 {
    let mut connection = PgConnection::connect(&db.url).await.unwrap();
    let end_others = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    let ended = async {
        while sqlx::query_scalar::<_, i64>(end_others).fetch_one(&mut connection).await.unwrap() > 0
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(sessile::seconds(10), ended).await.expect("all connections end");
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    sqlx::query_scalar(deadlocks).fetch_one(&mut connection).await.unwrap()
}
