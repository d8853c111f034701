//! The notifications of Postgres to other nodes. A notification takes a lock of the whole server, so none is
//! sent without need.

use sessile::{Client, OnLimit, Session, SessionId, Sessions, store::postgres::PostgresStore};
use sqlx::postgres::PgListener;

use crate::support::{Browser, Db, Pool};

pub(crate) struct Heard {
    db: Db,
    listener: PgListener,
    marks: u32,
}

impl Heard {
    pub(crate) async fn begin(db: &Db) -> Self {
        let mut listener = PgListener::connect(&db.url).await.unwrap();
        listener.listen("sessile").await.unwrap();
        Self { db: db.clone(), listener, marks: 0 }
    }

    /// The notifications since the last call. They come in the order of their commits, so a mark ends them.
    pub(crate) async fn since(&mut self) -> Vec<String> {
        let Pool::Postgres(pool) = &self.db.pool else { unreachable!() };
        self.marks += 1;
        let mark = format!("mark {}", self.marks);
        let notify = "select pg_notify('sessile', $1)";
        sqlx::query(notify).bind(&mark).execute(pool).await.unwrap();
        let mut heard = Vec::new();
        loop {
            let payload = self.listener.recv().await.unwrap().payload().to_owned();
            if payload == mark {
                return heard;
            }
            heard.push(payload);
        }
    }
}

fn session(id: SessionId) -> String {
    format!("session {id}")
}

async fn node(db: &Db, limit: u32) -> Sessions {
    let Pool::Postgres(pool) = &db.pool else { unreachable!() };
    let store = sessile::store::Backend::new(PostgresStore::new(pool.clone()));
    let builder = Sessions::builder(store).batching(false);
    builder.sessions_per_user(limit, OnLimit::EndOldest).build().unwrap()
}

#[tokio::test]
async fn a_log_in_that_changes_no_row_of_before_tells_nobody() {
    let db = Db::postgres().await;
    let mut heard = Heard::begin(&db).await;
    let unlimited = db.sessions().await;
    for _ in 0..2 {
        Browser::logged_in(&unlimited, "ada").await;
        assert_eq!(heard.since().await, [""; 0]);
    }
    let limited = node(&db, 3).await;
    Browser::logged_in(&limited, "ada").await;
    assert_eq!(heard.since().await, [""; 0], "nor does the limit that ends nothing");
    db.drop().await;
}

#[tokio::test]
async fn a_log_in_that_binds_a_row_or_ends_others_tells_which() {
    let db = Db::postgres().await;
    let sessions = node(&db, 2).await;
    let (visitor, id) = Browser::with(&sessions, "cart", 1.into()).await;
    let mut heard = Heard::begin(&db).await;
    visitor.open(&sessions).await.log_in("ada").await.unwrap();
    assert_eq!(heard.since().await, [session(id)]);
    // A log-in that is sent twice changes the row once more.
    let (visitor, second) = Browser::with(&sessions, "cart", 2.into()).await;
    let both = [visitor.open(&sessions).await, visitor.open(&sessions).await];
    for handle in &both {
        handle.log_in("ada").await.unwrap();
        assert_eq!(heard.since().await, [session(second)]);
    }
    let (_, third) = Browser::logged_in(&sessions, "ada").await;
    assert_eq!(heard.since().await, [session(id)], "the oldest one ended for {third}");
    let (visitor, fourth) = Browser::with(&sessions, "cart", 3.into()).await;
    visitor.open(&sessions).await.log_in("ada").await.unwrap();
    let mut told = heard.since().await;
    told.sort();
    let mut expected = [session(second), session(fourth)];
    expected.sort();
    assert_eq!(told, expected);
    db.drop().await;
}

/// A refused call sends none either.
#[tokio::test]
async fn a_visit_tells_nobody() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let mut heard = Heard::begin(&db).await;
    let (browser, _) = Browser::logged_in(&sessions, "ada").await;
    let stale = browser.open(&sessions).await;
    let handle: Session = browser.open(&sessions).await;
    handle.insert("cart", 1).unwrap();
    handle.finish().await.unwrap();
    db.pass(sessile::minutes(10)).await;
    browser.open(&sessions).await.finish().await.unwrap();
    sessions.flush().await.unwrap();
    sessions.sweep().await.unwrap();
    sessions.open([], Client::new()).await.unwrap();
    assert_eq!(heard.since().await, [""; 0]);

    let id = handle.id().unwrap();
    handle.renew().await.unwrap();
    assert_eq!(heard.since().await, [session(id)]);
    stale.renew().await.unwrap_err();
    stale.log_out_everywhere().await.unwrap_err();
    stale.log_out().await.unwrap_err();
    assert_eq!(heard.since().await, [""; 0]);
    handle.log_out().await.unwrap();
    assert_eq!(heard.since().await, [session(id)]);
    db.drop().await;
}
