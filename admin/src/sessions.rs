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

/// Before the newest row, in milliseconds: where a reader of the view looks first for the newest sessions.
const SPANS: [i64; 3] = [3_600_000, 86_400_000, 30 * 86_400_000];

impl Database {
    /// The live rows, in SQL. Whoever may read the table reads the table: through the security barrier of the view, Postgres
    /// uses an index for conditions, and never for the order.
    pub(crate) async fn live_rows(&self) -> Result<String> {
        let (table, now) = match self.kind() {
            Kind::Postgres if !self.reads_rows().await? => {
                return Ok("sessile.active_sessions".to_owned());
            }
            Kind::Postgres => ("sessile.sessions", "now()"),
            Kind::Sqlite => ("sessions", SQLITE_NOW),
        };
        // Without the data, which SQLite would read for each row of a window.
        Ok(format!("(select {} from {table} where {now} < valid_until)", COLUMNS.join(", ")))
    }

    /// An id before which a reader of the view need not look, because so many newer rows are after it. Ids are in order of
    /// creation, and a condition on them uses the index. Where they are not, there is no such id.
    pub(crate) async fn newest_from(&self, rows: u32, after: Option<Uuid>) -> Result<Option<Uuid>> {
        #[derive(Deserialize)]
        struct Number {
            number: u64,
        }
        if self.reads_rows().await? {
            return Ok(None);
        }
        let end = match after {
            Some(id) => (id.as_u128() >> 80) as i64,
            None => self.now().await?.timestamp_millis(),
        };
        for span in SPANS {
            let from = Uuid::from_u128((end.saturating_sub(span).max(0) as u128) << 80);
            let mut ask = self.statement();
            ask.sql("select json_build_object('number', count(*)) from (select from sessile.active_sessions where id >= ").id(from);
            if let Some(after) = after {
                ask.sql(" and id < ").id(after);
            }
            ask.sql(" limit ").integer(rows.into()).sql(") as newest");
            if self.one::<Number>(&ask).await?.number >= rows.into() {
                return Ok(Some(from));
            }
        }
        Ok(None)
    }

    /// A page of the live sessions that a filter lets through.
    pub async fn sessions(&self, filter: &SessionFilter) -> Result<SessionPage> {
        let live = self.live_rows().await?;
        let from = match filter.user_id {
            Some(_) => None,
            None if filter.scans() => self.newest_from(filter.scan, filter.after).await?,
            None => self.newest_from(filter.limit, filter.after).await?,
        };
        let window = Window { live, from, after: filter.after };
        let mut ask = self.statement();
        ask.sql("select ").object(COLUMNS).sql(" from ");
        if filter.scans() {
            ask.sql("(select * from ");
            window.add_to(&mut ask);
            ask.sql(" order by id desc limit ")
                .integer(filter.scan.into())
                .sql(") as window_rows where true");
        } else {
            window.add_to(&mut ask);
        }
        conditions(&mut ask, filter);
        ask.sql(" order by id desc limit ").integer(filter.limit.into());
        let sessions: Vec<Session> = self.rows(&ask).await?;
        let is_full = sessions.len() >= filter.limit as usize;
        let next = match sessions.last() {
            Some(last) if is_full => Some(last.id),
            _ if filter.scans() => self.end_of_window(&window, filter.scan).await?,
            _ => None,
        };
        Ok(SessionPage { sessions, next })
    }

    /// One live session by its id.
    pub async fn session(&self, id: Uuid) -> Result<Option<Session>> {
        let mut ask = self.statement();
        ask.sql("select ").object(COLUMNS).sql(" from ").sql(&self.live_rows().await?);
        ask.sql(" as live where id = ").id(id);
        Ok(self.rows(&ask).await?.pop())
    }

    /// The last row that the page has read, if there are more rows.
    async fn end_of_window(&self, window: &Window, scan: u32) -> Result<Option<Uuid>> {
        #[derive(Deserialize)]
        struct Last {
            id: Uuid,
        }
        let mut ask = self.statement();
        ask.sql("select ").object(&["id"]).sql(" from ");
        window.add_to(&mut ask);
        ask.sql(" order by id desc limit 1 offset ").integer(i64::from(scan) - 1);
        Ok(self.rows::<Last>(&ask).await?.pop().map(|last| last.id))
    }
}

/// The rows that a page reads, the newest first.
struct Window {
    live: String,
    from: Option<Uuid>,
    after: Option<Uuid>,
}

impl Window {
    fn add_to(&self, ask: &mut Statement) {
        ask.sql(&self.live).sql(" as live where true");
        if let Some(from) = self.from {
            ask.sql(" and id >= ").id(from);
        }
        if let Some(after) = self.after {
            ask.sql(" and id < ").id(after);
        }
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
