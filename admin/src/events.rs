use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Database, Error, ErrorKind, Result, moment, statement::Statement};

/// Something that happened to a session. The docs of the SQL (`docs/sql.md`) explain each column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    #[serde(deserialize_with = "moment::moment")]
    pub at: DateTime<Utc>,
    /// `logged_in`, `logged_out`, `revoked`, `reauthenticated`, `refused`, `expired`, `superseded`.
    pub event: String,
    /// The realm. The empty text is the default one.
    pub realm: String,
    /// The session. `None` for a refused log-in, and for the one event that a revocation of all sessions adds.
    pub session_id: Option<Uuid>,
    /// The user. `None` for a revocation of everybody, and for an anonymous session.
    pub user_id: Option<String>,
    /// The address of the client.
    pub ip: Option<String>,
    /// The User-Agent of the client.
    pub user_agent: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
}

const COLUMNS: &[&str] =
    &["at", "event", "realm", "session_id", "user_id", "ip", "user_agent", "reason", "actor"];

/// The names of all events.
pub const EVENTS: [&str; 7] =
    ["logged_in", "logged_out", "revoked", "reauthenticated", "refused", "expired", "superseded"];

/// Which events to list. All conditions that are set must hold; the default has none.
///
/// The database finds events by their user and by their time. A list with other conditions and no user reads events,
/// the newest first, until the page is full or [`scan`](Self::scan) events were read.
#[derive(Clone, Debug)]
pub struct EventFilter {
    /// Of this user.
    pub user_id: Option<String>,
    /// Of this session.
    pub session_id: Option<Uuid>,
    /// Of these kinds: see [`EVENTS`]. Empty: of every kind.
    pub events: Vec<String>,
    /// Of this realm. The empty text is the default one; `None` is every realm.
    pub realm: Option<String>,
    /// By an actor whose name begins with this text: `console:`, `role:grace`.
    pub actor: Option<String>,
    /// At this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// How many events to read at most for one page, if a condition has no index. Default: 200,000.
    pub scan: u32,
    /// Goes on after the page that ended here: see [`EventPage::next`].
    pub after: Option<EventKey>,
    /// The most events of a page. Default: 100.
    pub limit: u32,
}

impl Default for EventFilter {
    fn default() -> Self {
        Self {
            user_id: None,
            session_id: None,
            events: Vec::new(),
            realm: None,
            actor: None,
            since: None,
            scan: 200_000,
            after: None,
            limit: 100,
        }
    }
}

impl EventFilter {
    /// The events of a user.
    pub fn of_user(user_id: impl Into<String>) -> Self {
        Self { user_id: Some(user_id.into()), ..Self::default() }
    }

    /// Whether a page may read events that it does not return: a condition has no index.
    pub fn scans(&self) -> bool {
        self.user_id.is_none()
            && (self.session_id.is_some()
                || !self.events.is_empty()
                || self.realm.is_some()
                || self.actor.is_some())
    }

    /// The key of the page after one that ended at this moment.
    fn key_after(&self, at: DateTime<Utc>, events: &[Event]) -> EventKey {
        let of_page = events.iter().filter(|event| event.at == at).count() as u32;
        let before = self.after.filter(|key| key.at == at).map_or(0, |key| key.shown);
        let key = EventKey { at, shown: of_page + before };
        if Some(key) == self.after {
            // More events of one moment than the page may read: the others are left out.
            return EventKey { at: at - TimeDelta::microseconds(1), shown: 0 };
        }
        key
    }
}

/// The newest first. A sweep writes many events of one moment.
const ORDER: &str = " order by at desc, session_id, event";

/// A page of a list of events, the newest first.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// Where the next page begins, or `None` if this is the last one. A page that [scans](EventFilter::scans) may have
    /// fewer events than its limit and a next page all the same.
    pub next: Option<EventKey>,
}

/// Where a page of events ends: a moment, and how many events of that moment the pages have shown. As a text, it fits
/// into a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKey {
    at: DateTime<Utc>,
    shown: u32,
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}", self.at.timestamp_micros(), self.shown)
    }
}

impl FromStr for EventKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('~').and_then(|(at, shown)| {
            let at = DateTime::from_timestamp_micros(at.parse().ok()?)?;
            Some(Self { at, shown: shown.parse().ok()? })
        });
        parsed
            .ok_or_else(|| Error::new(ErrorKind::Input, "this is not the key of a page of events"))
    }
}

impl Database {
    /// A page of the events that a filter lets through.
    pub async fn events(&self, filter: &EventFilter) -> Result<EventPage> {
        let events: Vec<Event> = self.rows(&self.page_of_events(filter)).await?;
        let end = match events.last() {
            Some(last) if events.len() >= filter.limit as usize => Some(last.at),
            _ if filter.scans() => self.last_in_window(filter).await?,
            _ => None,
        };
        let next = end.map(|at| filter.key_after(at, &events));
        Ok(EventPage { events, next })
    }

    pub(crate) fn page_of_events(&self, filter: &EventFilter) -> Statement {
        let mut ask = self.statement();
        // The inner select has the order and the limit, because SQLite would otherwise sort all events of both tables.
        ask.sql("select ").object(COLUMNS).sql(" from (select * from ");
        self.event_window(&mut ask, filter);
        if filter.scans() {
            ask.sql(ORDER).sql(" limit ").integer(filter.scan.into());
            ask.sql(") as window_rows where true");
            conditions(&mut ask, filter);
            page(&mut ask, filter);
        } else {
            conditions(&mut ask, filter);
            page(&mut ask, filter);
            ask.sql(") as page").sql(ORDER);
        }
        ask
    }

    fn event_window(&self, ask: &mut Statement, filter: &EventFilter) {
        ask.per("sessile.session_events", "session_events_raw").sql(" as log where true");
        if let Some(key) = filter.after {
            ask.sql(" and at <= ").moment(key.at);
        }
        if let Some(since) = filter.since {
            ask.sql(" and at >= ").moment(since);
        }
        if filter.user_id.is_none() && filter.after.is_none() && filter.since.is_none() {
            // Otherwise SQLite may sort all events, although the index has them in this order.
            ask.per("", " and at > 0");
        }
    }

    /// The moment of the last event that the page has read, if there are more.
    async fn last_in_window(&self, filter: &EventFilter) -> Result<Option<DateTime<Utc>>> {
        #[derive(Deserialize)]
        struct Last {
            #[serde(deserialize_with = "moment::moment")]
            at: DateTime<Utc>,
        }
        let ask = self.last_event_of_window(filter);
        Ok(self.rows::<Last>(&ask).await?.pop().map(|last| last.at))
    }

    pub(crate) fn last_event_of_window(&self, filter: &EventFilter) -> Statement {
        let mut ask = self.statement();
        ask.sql("select ").object(&["at"]).sql(" from (select * from ");
        self.event_window(&mut ask, filter);
        ask.sql(ORDER).sql(" limit 1 offset ").integer(i64::from(filter.scan) - 1).sql(") as last");
        ask
    }
}

fn page(ask: &mut Statement, filter: &EventFilter) {
    ask.sql(ORDER).sql(" limit ").integer(filter.limit.into());
    ask.sql(" offset ").integer(filter.after.map_or(0, |key| key.shown.into()));
}

fn conditions(ask: &mut Statement, filter: &EventFilter) {
    if let Some(user_id) = &filter.user_id {
        ask.sql(" and user_id = ").text(user_id);
    }
    if let Some(id) = filter.session_id {
        ask.sql(" and session_id = ").id(id);
    }
    if !filter.events.is_empty() {
        ask.sql(" and event in (");
        for (index, event) in filter.events.iter().enumerate() {
            ask.sql(if index == 0 { "" } else { ", " }).text(event);
        }
        ask.sql(")");
    }
    if let Some(realm) = &filter.realm {
        ask.sql(" and realm = ").text(realm);
    }
    if let Some(actor) = &filter.actor {
        let length = actor.chars().count() as i64;
        ask.sql(" and substr(actor, 1, ").per("cast(", "").integer(length).per(" as integer)", "");
        ask.sql(") = ").text(actor);
    }
}
