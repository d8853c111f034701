use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Database, ErrorKind, Kind, Result, moment, statement::SQLITE_NOW};

/// Exact numbers of the sessions of one realm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealmCounts {
    /// The realm. The empty text is the default one.
    pub realm: String,
    /// Live sessions, the anonymous ones included.
    pub live: u64,
    /// Live sessions without a user.
    pub anonymous: u64,
    /// Sessions past their end whose row is still there.
    pub expired: u64,
    /// Since when the cleanup could have deleted a row that is still there.
    #[serde(deserialize_with = "moment::moment_or_none")]
    pub oldest_unswept: Option<DateTime<Utc>>,
}

/// Percentiles over live sessions, or over a sample of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of the sessions have at most this.
    pub p50: u64,
    /// Nine tenths of the sessions have at most this.
    pub p90: u64,
    /// All but a hundredth of the sessions have at most this.
    pub p99: u64,
    /// The most.
    pub max: u64,
}

/// Percentiles of live sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The number of sessions that were looked at: all, or a sample of about [`Spread::SAMPLE`].
    pub sessions: u64,
    /// Seconds since the session was first written.
    pub age_seconds: Percentiles,
    /// Bytes of the session's data, as JSON.
    pub data_bytes: Percentiles,
}

impl Spread {
    /// From this number on, percentiles are those of a sample of about so many sessions.
    pub const SAMPLE: u64 = 50_000;
}

/// The size of a table, of an index, or of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Its name.
    pub name: String,
    /// Whether it is a `table` (with the large values that Postgres keeps apart) or an `index`.
    pub kind: String,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// How Postgres updates and cleans the table of sessions, since its statistics began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Churn {
    /// Row versions that a vacuum has not removed yet.
    pub dead_rows: u64,
    /// Updates of rows.
    pub updates: u64,
    /// The part of the updates that changed no index ("heap-only"), 0 to 1. `None` without updates.
    pub heap_only_share: Option<f64>,
    /// The last vacuum, by hand or automatic.
    #[serde(deserialize_with = "moment::moment_or_none")]
    pub last_vacuum: Option<DateTime<Utc>>,
}

impl Database {
    /// Exact numbers of each realm that has a session. **Reads the whole table of sessions.**
    pub async fn realm_counts(&self) -> Result<Vec<RealmCounts>> {
        let mut ask = self.statement();
        ask.sql("select ").object(&["realm", "live", "anonymous", "expired", "oldest_unswept"]);
        ask.per(" from sessile.session_counts", " from session_counts")
            .sql(" as counts order by realm");
        self.rows(&ask).await
    }

    /// Percentiles of the age and of the size of live sessions. `None` if there is none, or if the user may not read the
    /// table `sessions`. It reads all live sessions, or a sample of [`Spread::SAMPLE`] on Postgres.
    pub async fn spread(&self) -> Result<Option<Spread>> {
        let spread = match self.kind() {
            Kind::Postgres => self.spread_of_postgres().await,
            Kind::Sqlite => self.spread_of_sqlite().await,
        };
        match spread {
            Err(error) if error.kind() == ErrorKind::Refused => Ok(None),
            spread => spread,
        }
    }

    async fn spread_of_postgres(&self) -> Result<Option<Spread>> {
        let rows = self.planned_rows("sessile.sessions").await?;
        let percent = (100.0 * Spread::SAMPLE as f64 / rows as f64).min(100.0);
        let sample = if rows > Spread::SAMPLE {
            format!("tablesample system ({percent})")
        } else {
            String::new()
        };
        let of = |value: &str| {
            format!(
                "(select json_build_object('p50', p[1], 'p90', p[2], 'p99', p[3], 'max', p[4]) from (select percentile_disc(array[0.5, 0.9, 0.99, 1]) within group (order by {value}) as p from looked_at) as percentiles)"
            )
        };
        let mut ask = self.statement();
        ask.sql(&format!(
            "with looked_at as (select greatest(extract(epoch from now() - created_at), 0)::bigint as age, octet_length(data::text) as bytes from sessile.sessions {sample} where now() < valid_until) select json_build_object('sessions', (select count(*) from looked_at), 'age_seconds', {}, 'data_bytes', {}) where exists (select from looked_at)",
            of("age"), of("bytes")
        ));
        Ok(self.rows(&ask).await?.pop())
    }

    async fn spread_of_sqlite(&self) -> Result<Option<Spread>> {
        let of = |value: &str| {
            let at = |share: &str| {
                format!(
                    "(select {value} from looked_at order by {value} limit 1 offset (select cast({share} * (count(*) - 1) as integer) from looked_at))"
                )
            };
            format!(
                "json_object('p50', {}, 'p90', {}, 'p99', {}, 'max', {})",
                at("0.5"),
                at("0.9"),
                at("0.99"),
                at("1")
            )
        };
        let mut ask = self.statement();
        ask.sql(&format!(
            "with looked_at as materialized (select max(({SQLITE_NOW} - created_at) / 1000, 0) as age, octet_length(data) as bytes from sessions where {SQLITE_NOW} < valid_until) select json_object('sessions', (select count(*) from looked_at), 'age_seconds', {}, 'data_bytes', {}) where exists (select 1 from looked_at)",
            of("age"), of("bytes")
        ));
        Ok(self.rows(&ask).await?.pop())
    }

    /// The tables and indexes of sessile on the disk, the largest first. On SQLite it reads the whole file.
    pub async fn sizes(&self) -> Result<Vec<Size>> {
        let mut ask = self.statement();
        ask.per(
            "select json_build_object('name', c.relname, 'kind', case when c.relkind = 'i' then 'index' else 'table' end,
                'bytes', case when c.relkind = 'i' then pg_relation_size(c.oid) else pg_table_size(c.oid) end)
            from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
            where n.nspname = 'sessile' and c.relkind in ('r', 'i') and c.relname <> all (array['_sqlx_migrations', '_sqlx_migrations_pkey'])
            order by pg_relation_size(c.oid) desc, c.relname",
            "select json_object('name', s.name, 'kind', s.type, 'bytes', sum(p.pgsize))
            from sqlite_schema as s join dbstat as p on p.name = s.name
            where s.tbl_name in ('sessions', 'session_cutoffs', 'session_event_log', 'session_event_inbox', 'session_cleanup_log', 'session_schema')
            group by s.name order by sum(p.pgsize) desc, s.name",
        );
        self.rows(&ask).await
    }

    /// Updates and dead rows. `None` on SQLite, which has neither.
    pub async fn churn(&self) -> Result<Option<Churn>> {
        if self.kind() == Kind::Sqlite {
            return Ok(None);
        }
        let mut ask = self.statement();
        ask.sql(
            "select json_build_object('dead_rows', n_dead_tup, 'updates', n_tup_upd,
                'heap_only_share', n_tup_hot_upd::float8 / nullif(n_tup_upd, 0), 'last_vacuum', greatest(last_vacuum, last_autovacuum))
            from pg_stat_user_tables where schemaname = 'sessile' and relname = 'sessions'",
        );
        Ok(self.rows(&ask).await?.pop())
    }
}
