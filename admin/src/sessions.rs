use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Database, Kind, Result, moment,
    statement::{SQLITE_NOW, Statement},
};

/// A live session: neither its secret nor its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The public id. It gives no access.
    pub id: Uuid,
    /// The application's id of the user. `None` if the session is anonymous.
    pub user_id: Option<String>,
    /// The realm. The empty text is the default one.
    pub realm: String,
    /// When the row was first written.
    #[serde(deserialize_with = "moment::moment")]
    pub created_at: DateTime<Utc>,
    /// When the user last authenticated.
    #[serde(deserialize_with = "moment::moment_or_none")]
    pub authenticated_at: Option<DateTime<Utc>>,
    /// When the session was last seen, to about a twentieth of its idle timeout.
    #[serde(deserialize_with = "moment::moment")]
    pub last_seen_at: DateTime<Utc>,
    /// When the session ends, unless it is seen before.
    #[serde(deserialize_with = "moment::moment")]
    pub valid_until: DateTime<Utc>,
    /// When the session ends in any case.
    #[serde(deserialize_with = "moment::moment")]
    pub absolute_expires_at: DateTime<Utc>,
    /// The client's address when the session was last seen.
    pub ip: Option<String>,
    /// The client's User-Agent at the last creation, log-in or renewal.
    pub user_agent: Option<String>,
    /// Whether the log-in said "remember me". `None` if an old release wrote the row.
    #[serde(deserialize_with = "moment::flag")]
    pub remembered: Option<bool>,
}

const COLUMNS: &[&str] = &[
    "id",
    "user_id",
    "realm",
    "created_at",
    "authenticated_at",
    "last_seen_at",
    "valid_until",
    "absolute_expires_at",
    "ip",
    "user_agent",
    "remembered",
];

/// Which live sessions to list. All conditions that are set must hold; the default has none.
///
/// A list of one user reads only that user's rows. Any other list with a condition reads the table, the newest session
/// first, until the page is full or [`scan`](Self::scan) rows were read.
#[derive(Clone, Debug)]
pub struct SessionFilter {
    /// Of this user.
    pub user_id: Option<String>,
    /// Of this realm. The empty text is the default one; `None` is every realm.
    pub realm: Option<String>,
    /// Whether the session has a user.
    pub has_user: Option<bool>,
    /// Last seen from this address.
    pub ip: Option<std::net::IpAddr>,
    /// Created at least so many seconds ago.
    pub older_than: Option<u32>,
    /// Created less than so many seconds ago.
    pub younger_than: Option<u32>,
    /// Not seen for at least so many seconds.
    pub idle_for: Option<u32>,
    /// How many rows to read at most for one page, if a condition has no index. Default: 200,000.
    pub scan: u32,
    /// Goes on after the page that ended here: see [`SessionPage::next`].
    pub after: Option<Uuid>,
    /// The most sessions of a page. Default: 100.
    pub limit: u32,
}

impl Default for SessionFilter {
    fn default() -> Self {
        Self {
            user_id: None,
            realm: None,
            has_user: None,
            ip: None,
            older_than: None,
            younger_than: None,
            idle_for: None,
            scan: 200_000,
            after: None,
            limit: 100,
        }
    }
}

impl SessionFilter {
    /// The sessions of a user.
    pub fn of_user(user_id: impl Into<String>) -> Self {
        Self { user_id: Some(user_id.into()), ..Self::default() }
    }

    /// Whether a page may read rows that it does not return: a condition has no index.
    pub fn scans(&self) -> bool {
        self.user_id.is_none()
            && (self.realm.is_some()
                || self.has_user.is_some()
                || self.ip.is_some()
                || self.older_than.is_some()
                || self.younger_than.is_some()
                || self.idle_for.is_some())
    }
}

/// A page of a list of sessions, the newest first by their ids, which are in order of creation.
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<Session>,
    /// Where the next page begins, or `None` if this is the last one. A page that
    /// [scans](SessionFilter::scans) may have fewer sessions than its limit and a next page all the same.
    pub next: Option<Uuid>,
}

/// The live rows, in SQL.
pub(crate) fn live(kind: Kind) -> String {
    match kind {
        Kind::Postgres => "sessile.active_sessions".to_owned(),
        // Without the data, which would be read for each row of a window.
        Kind::Sqlite => format!(
            "(select {} from sessions where {SQLITE_NOW} < valid_until)",
            COLUMNS.join(", ")
        ),
    }
}

impl Database {
    /// A page of the live sessions that a filter lets through.
    pub async fn sessions(&self, filter: &SessionFilter) -> Result<SessionPage> {
        let mut ask = self.statement();
        ask.sql("select ").object(COLUMNS).sql(" from ");
        if filter.scans() {
            ask.sql("(select * from ");
            self.window(&mut ask, filter);
            ask.sql(" order by id desc limit ")
                .integer(filter.scan.into())
                .sql(") as window_rows where true");
        } else {
            self.window(&mut ask, filter);
        }
        conditions(&mut ask, filter);
        ask.sql(" order by id desc limit ").integer(filter.limit.into());
        let sessions: Vec<Session> = self.rows(&ask).await?;
        let is_full = sessions.len() >= filter.limit as usize;
        let next = match sessions.last() {
            Some(last) if is_full => Some(last.id),
            _ if filter.scans() => self.end_of_window(filter).await?,
            _ => None,
        };
        Ok(SessionPage { sessions, next })
    }

    /// One live session by its id.
    pub async fn session(&self, id: Uuid) -> Result<Option<Session>> {
        let mut ask = self.statement();
        ask.sql("select ").object(COLUMNS).sql(" from ").sql(&live(self.kind()));
        ask.sql(" as live where id = ").id(id);
        Ok(self.rows(&ask).await?.pop())
    }

    fn window(&self, ask: &mut Statement, filter: &SessionFilter) {
        ask.sql(&live(self.kind())).sql(" as live where true");
        if let Some(after) = filter.after {
            ask.sql(" and id < ").id(after);
        }
    }

    /// The last row that the page has read, if there are more rows.
    async fn end_of_window(&self, filter: &SessionFilter) -> Result<Option<Uuid>> {
        #[derive(Deserialize)]
        struct Last {
            id: Uuid,
        }
        let mut ask = self.statement();
        ask.sql("select ").object(&["id"]).sql(" from ");
        self.window(&mut ask, filter);
        ask.sql(" order by id desc limit 1 offset ").integer(i64::from(filter.scan) - 1);
        Ok(self.rows::<Last>(&ask).await?.pop().map(|last| last.id))
    }
}

fn conditions(ask: &mut Statement, filter: &SessionFilter) {
    if let Some(user_id) = &filter.user_id {
        ask.sql(" and user_id = ").text(user_id);
    }
    if let Some(realm) = &filter.realm {
        ask.sql(" and realm = ").text(realm);
    }
    match filter.has_user {
        Some(true) => ask.sql(" and user_id is not null"),
        Some(false) => ask.sql(" and user_id is null"),
        None => ask,
    };
    if let Some(ip) = filter.ip {
        ask.per(" and host(ip) = ", " and ip = ").text(&ip.to_string());
    }
    for (condition, seconds) in [
        (" and created_at <= ", filter.older_than),
        (" and created_at > ", filter.younger_than),
        (" and last_seen_at <= ", filter.idle_for),
    ] {
        if let Some(seconds) = seconds {
            ask.sql(condition).ago(seconds.into());
        }
    }
}
