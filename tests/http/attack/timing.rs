//! Advisory: what the time of an answer tells about a public id. Nothing here fails because of a time: machines that run
//! tests are too noisy. `scripts/test --test http -- attack::timing --nocapture` prints the figures.

use std::time::Instant;

use super::{bytes, made_up, token};
use crate::{
    site::{Site, cookies, routes},
    support::{Db, cases},
    wire::Connection,
};

cases! { a_wrong_secret_and_an_unknown_id_are_timed }

/// The public id is no secret, and a live id whose secret is wrong may take longer than an unknown id: the database
/// returns a row. The secret is one: how many of its bytes are right must not show. The hashes are compared in constant
/// time, and a hash tells nothing about the bytes.
async fn a_wrong_secret_and_an_unknown_id_are_timed(db: Db) {
    const ROUNDS: usize = 300;
    let site = Site::serve(&db, routes()).await;
    let ada = site.user("ada").await;
    let right = bytes(ada.token());
    let wrong = |byte: usize| {
        let mut secret = right[16..].to_vec();
        secret[byte] ^= 1;
        token(&right[..16], &secret)
    };
    let kinds = [
        ("an unknown id", made_up()),
        ("a wrong secret, in the first byte", wrong(0)),
        ("a wrong secret, in the last byte", wrong(31)),
    ];
    let mut times = [const { Vec::new() }; 3];
    let mut connection = Connection::open(site.address).await;
    // In turns, so that the machine's load meets all alike.
    for round in 0..ROUNDS * kinds.len() {
        let (kind, (what, cookie)) = (round % kinds.len(), &kinds[round % kinds.len()]);
        let line = [cookies(&[cookie])];
        let begin = Instant::now();
        connection.get("/", &line).await;
        let response = connection.response().await.unwrap();
        times[kind].push(begin.elapsed());
        assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("nobody", true), "{what}");
    }
    let database = if db.is_postgres() { "Postgres" } else { "SQLite" };
    for ((what, _), times) in kinds.iter().zip(&mut times) {
        times.sort_unstable();
        let at = |percent: usize| times[times.len() * percent / 100];
        println!("{database}, {what}: median {:?}, quartiles {:?} to {:?}", at(50), at(25), at(75));
    }
    // How often one of the first kind is faster than one of another: a half, if the times tell nothing.
    for other in [1, 2] {
        let faster = times[0].iter().map(|time| times[other].partition_point(|other| other < time));
        let share = 1.0 - faster.sum::<usize>() as f64 / (ROUNDS * ROUNDS) as f64;
        println!(
            "{database}, the unknown id is faster than {} in {:.0} % of pairs",
            kinds[other].0,
            share * 100.0
        );
    }
}
