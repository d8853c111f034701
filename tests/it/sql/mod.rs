//! Revocations by SQL: the functions on Postgres, and the view `revocations` on SQLite. They do what the library's
//! calls do, so one suite runs on both.

mod arguments;
mod attacks;
#[cfg(feature = "cache")]
mod cached;
mod columns;
mod command;
mod disable_users;
mod locks;
mod log_ins;
mod news;
pub(crate) mod rights;
mod rounds;
mod same;
mod whole;

use std::net::IpAddr;

use sessile::{
    Client, Realm, Result, SessionId, Sessions,
    store::{postgres, sqlite},
};
use sqlx::{AssertSqlSafe, Postgres, Row, Sqlite, postgres::PgArguments, query::Query};

use crate::{
    support::{Browser, Db, Pool},
    tx::Tx,
};

/// Runs each case by either path on every backend: `both_paths! { a_case }` makes the tests `library::postgres::a_case`,
/// `sql::postgres::a_case`, and so on, of functions `async fn a_case(db: Db, path: Path)`.
macro_rules! both_paths {
    ($($case:ident),* $(,)?) => {
        mod library {
            $(async fn $case(db: crate::support::Db) {
                super::$case(db, crate::sql::Path::Library).await;
            })*
            crate::support::cases! { $($case),* }
        }
        mod sql {
            $(async fn $case(db: crate::support::Db) {
                super::$case(db, crate::sql::Path::Sql).await;
            })*
            crate::support::cases! { $($case),* }
        }
    };
}
use both_paths;

/// Whether the library or a statement ends the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Library,
    Sql,
}

#[derive(Clone, Copy, Debug)]
enum What<'a> {
    One(SessionId),
    User(&'a str),
    Others(&'a str, SessionId),
    All,
}

const REASON: &str = "it isn't theirs";

/// The statement of a revocation, and its values.
#[derive(Debug)]
struct Statement {
    text: String,
    values: Vec<String>,
}

impl Statement {
    fn new(is_postgres: bool, realm: &str, what: What<'_>) -> Self {
        let (function, mut columns, mut values) = match what {
            What::One(id) => ("revoke", vec!["session_id"], vec![id.to_string()]),
            What::User(user_id) => ("revoke_user", vec!["user_id"], vec![user_id.to_owned()]),
            What::Others(user_id, keep) => (
                "revoke_others",
                vec!["user_id", "session_id", "scope"],
                vec![user_id.to_owned(), keep.to_string(), "others".to_owned()],
            ),
            What::All => ("revoke_all", vec!["scope"], vec!["all".to_owned()]),
        };
        // The functions tell the scope by their names.
        if let Some(scope) = columns.iter().position(|column| is_postgres && *column == "scope") {
            columns.remove(scope);
            values.remove(scope);
        }
        columns.push("reason");
        values.push(REASON.to_owned());
        // The default realm may be left out.
        if !realm.is_empty() {
            columns.push("realm");
            values.push(realm.to_owned());
        }
        let places: Vec<_> = (1..=values.len()).map(|n| format!("${n}")).collect();
        let text = match is_postgres {
            true => {
                let typed = places.iter().zip(&columns).map(|(place, column)| match *column {
                    "session_id" => format!("{place}::text::uuid"),
                    _ => place.clone(),
                });
                format!("select sessile.{function}({})", typed.collect::<Vec<_>>().join(", "))
            }
            false => format!(
                "insert into revocations ({}) values ({})",
                columns.join(", "),
                places.join(", ").replace('$', "?")
            ),
        };
        Self { text, values }
    }

    fn postgres(&self) -> Query<'_, Postgres, PgArguments> {
        let query = sqlx::query(AssertSqlSafe(&*self.text));
        self.values.iter().fold(query, Query::bind)
    }

    fn sqlite(&self) -> Query<'_, Sqlite, sqlx::sqlite::SqliteArguments> {
        let query = sqlx::query(AssertSqlSafe(&*self.text));
        self.values.iter().fold(query, Query::bind)
    }
}

impl Path {
    /// Ends sessions of the realm. Returns the number of live ones, which SQLite does not tell in SQL.
    async fn revoke(self, db: &Db, realm: &str, what: What<'_>) -> Option<u64> {
        if self == Self::Library {
            return Some(by_library(&of_realm(db, realm).await, what).await);
        }
        let statement = Statement::new(db.is_postgres(), realm, what);
        match &db.pool {
            Pool::Postgres(pool) => {
                let row = statement.postgres().fetch_one(pool).await.unwrap();
                Some(row.get::<i64, _>(0).unsigned_abs())
            }
            Pool::Sqlite(pool) => {
                statement.sqlite().execute(pool).await.unwrap();
                None
            }
        }
    }

    /// The same in an open transaction.
    async fn revoke_in(self, tx: &mut Tx, realm: &str, what: What<'_>) {
        match (self, tx) {
            (Self::Library, tx) => in_transaction(tx, realm, what).await.unwrap(),
            (Self::Sql, Tx::Postgres(tx)) => {
                Statement::new(true, realm, what).postgres().execute(&mut **tx).await.unwrap();
            }
            (Self::Sql, Tx::Sqlite(tx)) => {
                Statement::new(false, realm, what).sqlite().execute(&mut **tx).await.unwrap();
            }
        }
    }

    /// Who did it, in the events.
    fn actor(self, db: &Db) -> &'static str {
        match (self, db.is_postgres()) {
            (Self::Library, _) => "application",
            (Self::Sql, true) => "role:mine",
            (Self::Sql, false) => "sqlite",
        }
    }
}

/// The library's calls.
async fn by_library(sessions: &Sessions, what: What<'_>) -> u64 {
    match what {
        What::One(id) => u64::from(sessions.revoke(id).reason(REASON).await.unwrap()),
        What::User(user) => sessions.revoke_user(user).reason(REASON).await.unwrap().ended,
        What::Others(user, keep) => {
            sessions.revoke_others(user, keep).reason(REASON).await.unwrap().ended
        }
        What::All => sessions.revoke_all().reason(REASON).await.unwrap().ended,
    }
}

/// The library's functions for the application's own transaction.
async fn in_transaction(tx: &mut Tx, realm: &str, what: What<'_>) -> Result<()> {
    let realm: &Realm = &realm.parse()?;
    match (tx, what) {
        (Tx::Postgres(tx), What::One(id)) => postgres::revoke(tx, realm, id).await,
        (Tx::Postgres(tx), What::User(user)) => postgres::revoke_user(tx, realm, user).await,
        (Tx::Postgres(tx), What::Others(user, keep)) => {
            postgres::revoke_others(tx, realm, user, keep).await
        }
        (Tx::Postgres(tx), What::All) => postgres::revoke_all(tx, realm).await,
        (Tx::Sqlite(tx), What::One(id)) => sqlite::revoke(tx, realm, id).await,
        (Tx::Sqlite(tx), What::User(user)) => sqlite::revoke_user(tx, realm, user).await,
        (Tx::Sqlite(tx), What::Others(user, keep)) => {
            sqlite::revoke_others(tx, realm, user, keep).await
        }
        (Tx::Sqlite(tx), What::All) => sqlite::revoke_all(tx, realm).await,
    }
    .map(drop)
}

async fn of_realm(db: &Db, realm: &str) -> Sessions {
    Sessions::builder(db.node().await).realm(realm).build().unwrap()
}

/// A log-in of a client with an address.
async fn log_in(sessions: &Sessions, user_id: &str) -> (Browser, SessionId) {
    let client = Client::new().ip("192.0.2.7".parse::<IpAddr>().ok()).user_agent("a telephone");
    let session = sessions.open(None::<&[u8]>, client).await.unwrap();
    session.log_in(user_id).await.unwrap();
    let mut browser = Browser::default();
    browser.finish(&session).await;
    (browser, session.id().unwrap())
}

/// A row of `session_events`, without its moment.
#[derive(Clone, Debug)]
struct Event {
    session_id: Option<String>,
    event: &'static str,
    realm: String,
    user_id: Option<String>,
    ip: Option<&'static str>,
    user_agent: Option<&'static str>,
    reason: &'static str,
    actor: Option<&'static str>,
}

impl Event {
    /// The end of a session of `log_in`'s client.
    fn revoked(db: &Db, path: Path, realm: &str, id: SessionId, user_id: &str) -> Self {
        Self {
            session_id: Some(id.to_string()),
            event: "revoked",
            realm: realm.to_owned(),
            user_id: Some(user_id.to_owned()),
            ip: Some("192.0.2.7"),
            user_agent: Some("a telephone"),
            reason: REASON,
            actor: Some(path.actor(db)),
        }
    }

    /// The end of a session that had expired before.
    fn expired(realm: &str, id: SessionId, user_id: &str, reason: &'static str) -> Self {
        Self {
            session_id: Some(id.to_string()),
            event: "expired",
            realm: realm.to_owned(),
            user_id: Some(user_id.to_owned()),
            ip: None,
            user_agent: None,
            reason,
            actor: None,
        }
    }

    /// The one event for all sessions of a user, or of everybody.
    fn of_all(db: &Db, path: Path, realm: &str, user_id: Option<&str>) -> Self {
        Self {
            session_id: None,
            event: "revoked",
            realm: realm.to_owned(),
            user_id: user_id.map(str::to_owned),
            ip: None,
            user_agent: None,
            reason: REASON,
            actor: Some(path.actor(db)),
        }
    }
}

/// Compares the log with these events, in any order, and each moment with the clock. Empties the log.
async fn assert_events(db: &Db, since: i64, expected: Vec<Event>) {
    let columns = "coalesce(session_id, '') || '|' || event || '|' || realm || '|' || coalesce(user_id, 'nobody')
        || '|' || coalesce(ip, '') || '|' || coalesce(user_agent, '') || '|' || coalesce(reason, '') || '|' || coalesce(actor, '')";
    let events = "from session_events order by 1";
    let postgres = columns
        .replace("(session_id", "(session_id::text")
        .replace("(ip", "(host(ip)")
        .replace("(actor", "(replace(actor, 'role:' || session_user, 'role:mine')");
    let mut found = db
        .texts(
            &format!(
                "select {postgres} {}",
                events.replace("session_events", "sessile.session_events")
            ),
            &format!("select {columns} {events}"),
        )
        .await;
    let text = |event: &Event| {
        let Event { session_id, event, realm, user_id, ip, user_agent, reason, actor } = event;
        [
            session_id.as_deref().unwrap_or_default(),
            event,
            realm,
            user_id.as_deref().unwrap_or("nobody"),
            ip.unwrap_or_default(),
            user_agent.unwrap_or_default(),
            reason,
            actor.unwrap_or_default(),
        ]
        .join("|")
    };
    let mut expected: Vec<_> = expected.iter().map(text).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);

    let out_of_time = db
        .number(
            &format!("select count(*) from sessile.session_events where (extract(epoch from at) * 1000000)::bigint not between {since} and (extract(epoch from clock_timestamp()) * 1000000)::bigint"),
            &format!("select count(*) from session_events_raw where at not between {since} and cast(round(unixepoch('subsec') * 1000) as integer)"),
        )
        .await;
    assert_eq!(out_of_time, 0, "an event has another moment than the revocation");
    db.delete_events().await;
}
