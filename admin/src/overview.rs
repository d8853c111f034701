//! The state of all sessions in a few cheap questions: for a page that is opened often.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    Database, ErrorKind, Kind, Result, moment,
    statement::{SQLITE_NOW, Statement},
};

/// A number of rows. Up to [`Count::EXACT_UP_TO`] it is counted; above that, a count would take too long for a page
/// that is opened often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// Counted.
    Exact(u64),
    /// From the database's statistics, which are as old as its last `analyze`.
    About(u64),
    /// Counted up to here: the database has no statistics.
    MoreThan(u64),
}

impl Count {
    /// Rows are counted up to this number.
    pub const EXACT_UP_TO: u64 = 50_000;

    /// The number itself.
    pub fn number(self) -> u64 {
        match self {
            Self::Exact(number) | Self::About(number) | Self::MoreThan(number) => number,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(number) => write!(f, "{number}"),
            Self::About(number) => write!(f, "about {number}"),
            Self::MoreThan(number) => write!(f, "more than {number}"),
        }
    }
}

/// How many sessions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Live {
    /// All live sessions.
    pub all: Count,
    /// Those without a user.
    pub anonymous: Count,
}

/// The length of a [`Period`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Whole hours of UTC.
    Hour,
    /// Whole days of UTC.
    Day,
}

/// The number of events of each kind in an hour or a day. Periods without events are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// When the period begins.
    #[serde(deserialize_with = "moment::moment")]
    pub begins_at: DateTime<Utc>,
    /// Log-ins.
    pub logged_in: u64,
    /// Sessions that ended themselves.
    pub logged_out: u64,
    /// Sessions that were ended from outside.
    pub revoked: u64,
    /// Sessions whose time was over.
    pub expired: u64,
    /// Log-ins that were refused.
    pub refused: u64,
    /// Uses of a secret that a newer one had replaced.
    pub superseded: u64,
}

impl Period {
    /// A period without events.
    pub fn empty(begins_at: DateTime<Utc>) -> Self {
        Self {
            begins_at,
            logged_in: 0,
            logged_out: 0,
            revoked: 0,
            expired: 0,
            refused: 0,
            superseded: 0,
        }
    }
}

/// A run of the cleanup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CleanupRun {
    /// When it began.
    #[serde(deserialize_with = "moment::moment")]
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(deserialize_with = "moment::moment")]
    pub ended_at: DateTime<Utc>,
    /// The expired rows that it deleted.
    pub sessions: u64,
    /// The number of its statements.
    pub statements: u64,
    /// Why it ended early.
    pub error: Option<String>,
}

/// How many live sessions end within a time if nobody uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// The sessions that end from this many seconds from now…
    pub from_seconds: u32,
    /// … to this many.
    pub to_seconds: u32,
    /// Their number.
    pub sessions: Count,
}

/// Expired rows that the cleanup has not deleted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// The number of rows.
    pub rows: Count,
    /// Since when the oldest one could have been deleted.
    pub oldest: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Number {
    number: u64,
}

impl Database {
    /// The number of live sessions: counted if they are few, otherwise from the statistics.
    pub async fn live(&self) -> Result<Live> {
        let rows = self.live_rows().await?;
        let all = self.count(&rows, "true").await?;
        let anonymous = self.count(&rows, "user_id is null").await?;
        Ok(Live { all, anonymous })
    }

    /// The events of each hour or day since a moment, the oldest first. It reads all events since then, through the index.
    pub async fn activity(&self, since: DateTime<Utc>, bucket: Bucket) -> Result<Vec<Period>> {
        self.rows(&self.events_by(since, bucket)).await
    }

    pub(crate) fn events_by(&self, since: DateTime<Utc>, bucket: Bucket) -> Statement {
        let (postgres, sqlite) = match bucket {
            Bucket::Hour => ("date_trunc('hour', at, 'UTC')", "at - at % 3600000"),
            Bucket::Day => ("date_trunc('day', at, 'UTC')", "at - at % 86400000"),
        };
        let mut ask = self.statement();
        ask.sql("select ").per("json_build_object(", "json_object(").sql("'begins_at', begins_at");
        for event in ["logged_in", "logged_out", "revoked", "expired", "refused", "superseded"] {
            // The event without a session that a revocation adds ends none.
            ask.sql(&format!(
                ", '{event}', count(*) filter (where event = '{event}' and (session_id is not null or event = 'refused'))"
            ));
        }
        ask.sql(") from (select ")
            .per(postgres, sqlite)
            .sql(" as begins_at, event, session_id from ");
        ask.per("sessile.session_events", "session_events_raw").sql(" where at >= ").moment(since);
        ask.sql(") as events group by begins_at order by begins_at");
        ask
    }

    /// The events of the last seconds, as one period that begins then. It reads these events, through the index.
    pub async fn recent(&self, seconds: u32) -> Result<Period> {
        let begins_at = self.now().await? - TimeDelta::seconds(seconds.into());
        let none = Period::empty(begins_at);
        let hours = self.activity(begins_at, Bucket::Hour).await?;
        Ok(hours.into_iter().fold(none, |mut all, hour| {
            all.logged_in += hour.logged_in;
            all.logged_out += hour.logged_out;
            all.revoked += hour.revoked;
            all.expired += hour.expired;
            all.refused += hour.refused;
            all.superseded += hour.superseded;
            all
        }))
    }

    /// The newest runs of the cleanup, the newest first.
    pub async fn cleanup_runs(&self, limit: u32) -> Result<Vec<CleanupRun>> {
        let mut ask = self.statement();
        ask.sql("select ")
            .object(&["started_at", "ended_at", "sessions", "statements", "error"])
            .sql(" from ");
        ask.per("sessile.cleanup_runs", "session_cleanup_log")
            .sql(" as runs order by ended_at desc limit ");
        ask.integer(limit.into());
        self.rows(&ask).await
    }

    /// How many live sessions end within each of these numbers of seconds, if nobody uses them. The numbers are in
    /// ascending order: `[3600, 86400]` asks for the next hour, and for the rest of the next day. On SQLite it reads the
    /// table once, up to 300,000 rows.
    pub async fn ending(&self, within_seconds: &[u32]) -> Result<Vec<Ending>> {
        let begins = [0].iter().chain(within_seconds).copied();
        let spans: Vec<_> = begins.zip(within_seconds.iter().copied()).collect();
        if self.kind() == Kind::Sqlite {
            return self.ending_in_one_pass(&spans).await;
        }
        let rows = self.live_rows().await?;
        let mut found = Vec::new();
        for (from_seconds, to_seconds) in spans {
            let condition = format!(
                "valid_until > now() + interval '{from_seconds} seconds' and valid_until <= now() + interval '{to_seconds} seconds'"
            );
            let sessions = self.count(&rows, &condition).await?;
            found.push(Ending { from_seconds, to_seconds, sessions });
        }
        Ok(found)
    }

    async fn ending_in_one_pass(&self, spans: &[(u32, u32)]) -> Result<Vec<Ending>> {
        const MOST: u64 = 6 * Count::EXACT_UP_TO;
        #[derive(Deserialize)]
        struct Counted {
            all: u64,
            spans: Vec<u64>,
        }
        let mut ask = self.statement();
        ask.sql("with clock (now) as materialized (select ").sql(SQLITE_NOW);
        ask.sql("), ahead (millis) as (select valid_until - now from clock cross join sessions where valid_until > now limit ");
        ask.integer(MOST as i64 + 1)
            .sql(") select json_object('all', count(*), 'spans', json_array(");
        for (index, (from, to)) in spans.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            ask.sql(&format!(
                "{separator}count(*) filter (where millis > {from}000 and millis <= {to}000)"
            ));
        }
        ask.sql(")) from ahead");
        let counted: Counted = self.one(&ask).await?;
        let count = if counted.all > MOST { Count::MoreThan } else { Count::Exact };
        let endings = spans.iter().zip(counted.spans);
        Ok(endings
            .map(|(&(from_seconds, to_seconds), number)| Ending {
                from_seconds,
                to_seconds,
                sessions: count(number),
            })
            .collect())
    }

    /// The expired rows that are still there, through the index of the cleanup. `None` if the user may not read the table
    /// `sessions`.
    pub async fn backlog(&self) -> Result<Option<Backlog>> {
        #[derive(Deserialize)]
        struct Oldest {
            #[serde(deserialize_with = "moment::moment_or_none")]
            oldest: Option<DateTime<Utc>>,
        }
        let mut ask = self.statement();
        ask.sql("select ")
            .per("json_build_object(", "json_object(")
            .sql("'oldest', min(expires_at)) from ");
        ask.per("sessile.sessions where expires_at < now()", "sessions where expires_at < ");
        ask.per("", SQLITE_NOW);
        let oldest = match self.one::<Oldest>(&ask).await {
            Err(error) if error.kind() == ErrorKind::Refused => return Ok(None),
            oldest => oldest?.oldest,
        };
        let (table, condition) = match self.kind() {
            Kind::Postgres => ("sessile.sessions", "expires_at < now()".to_owned()),
            Kind::Sqlite => ("sessions", format!("expires_at < {SQLITE_NOW}")),
        };
        // Not from the statistics: the index has these rows side by side.
        let rows = self.counted(table, &condition).await?;
        Ok(Some(Backlog { rows, oldest }))
    }

    /// Whether the cleanup has left events in the inbox for this long. `false` if the user may not read them.
    pub(crate) async fn leaves_events_for(&self, time: TimeDelta) -> Result<bool> {
        let mut ask = self.statement();
        ask.per("select json_build_object(", "select json_object(")
            .sql("'number', count(*)) from (select 1 as one from ");
        ask.per("sessile.session_event_inbox", "session_event_inbox").sql(" where at < ");
        ask.ago(time.num_seconds()).sql(" limit 1) as old");
        match self.one::<Number>(&ask).await {
            Err(error) if error.kind() == ErrorKind::Refused => Ok(false),
            found => Ok(found?.number > 0),
        }
    }

    /// Counts rows, but not more than [`Count::EXACT_UP_TO`]. The texts are the library's own.
    async fn count(&self, table: &str, condition: &str) -> Result<Count> {
        // First the statistics, because even a count that stops reads up to the whole table if few rows fit.
        if self.kind() == Kind::Postgres {
            let rows = self.planned_rows(&format!("{table} as counted")).await?;
            if rows > Count::EXACT_UP_TO {
                return Ok(Count::About(
                    self.planned_rows(&format!("{table} as counted where {condition}")).await?,
                ));
            }
        }
        self.counted(table, condition).await
    }

    /// The same without the statistics.
    async fn counted(&self, table: &str, condition: &str) -> Result<Count> {
        let from = format!(" from {table} as counted where {condition}");
        let mut ask = self.statement();
        ask.sql("select ")
            .per("json_build_object(", "json_object(")
            .sql("'number', count(*)) from (select 1 as one");
        ask.sql(&from)
            .sql(" limit ")
            .integer(Count::EXACT_UP_TO as i64 + 1)
            .sql(") as rows_counted");
        let number = self.one::<Number>(&ask).await?.number;
        Ok(if number > Count::EXACT_UP_TO {
            Count::MoreThan(Count::EXACT_UP_TO)
        } else {
            Count::Exact(number)
        })
    }

    /// The number of rows that Postgres expects, from its statistics. It needs no right beyond that to read the view.
    pub(crate) async fn planned_rows(&self, from: &str) -> Result<u64> {
        #[derive(Deserialize)]
        struct Explained {
            #[serde(rename = "Plan")]
            plan: Plan,
        }
        #[derive(Deserialize)]
        struct Plan {
            #[serde(rename = "Plan Rows")]
            rows: f64,
        }
        let mut ask: Statement = self.statement();
        ask.sql("explain (format json) select from ").sql(from);
        let explained: Vec<Explained> = self.one(&ask).await?;
        Ok(explained.first().map_or(0, |explained| explained.plan.rows as u64))
    }
}
