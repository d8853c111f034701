//! Checks of a database: what is wrong, and what to do about it.

mod postgres;
mod rights;
mod sqlite;

use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;

use crate::{Database, ErrorKind, Kind, MigrationState, Result};

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, in a few words.
    pub check: &'static str,
    /// Whether all is well.
    pub ok: bool,
    /// What was found.
    pub finding: String,
    /// What to do. `None` if all is well.
    pub remedy: Option<String>,
}

impl Finding {
    fn well(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, ok: true, finding: finding.into(), remedy: None }
    }

    fn fault(check: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, ok: false, finding: finding.into(), remedy: Some(remedy.into()) }
    }
}

/// A row that the cleanup could have deleted this long ago, or an event that it could have filed, is a sign that no cleanup
/// runs: it usually runs every few minutes.
const LATE: TimeDelta = TimeDelta::hours(1);

/// The indexes of the schema: each is needed by a statement of the library.
const INDEXES: [&str; 7] = [
    "sessions_expires_at_idx",
    "sessions_user_id_idx",
    "session_cutoffs_used_at_idx",
    "session_event_log_user_id_idx",
    "session_event_log_at_idx",
    "session_event_log_superseded_idx",
    "session_cleanup_log_ended_at_idx",
];

impl Database {
    /// Runs all checks. `clock` is this machine's time since 1970, to compare with the database's. Without the schema, only
    /// that is found.
    pub async fn doctor(&self, clock: Duration) -> Result<Vec<Finding>> {
        let mut found = vec![self.check_migrations().await?];
        if self.check_schema().await.is_err_and(|error| error.kind() == ErrorKind::NoSchema) {
            return Ok(found);
        }
        found.push(self.check_indexes().await?);
        found.extend(self.check_cleanup().await?);
        match self.kind() {
            Kind::Postgres => postgres::checks(self, clock, &mut found).await?,
            Kind::Sqlite => sqlite::checks(self, &mut found).await?,
        }
        Ok(found)
    }

    async fn check_migrations(&self) -> Result<Finding> {
        const CHECK: &str = "schema";
        let migrations = match self.migrations().await {
            Err(error) if error.kind() == ErrorKind::Refused => {
                let finding = "this user may not read which migrations the database has, so they are not checked";
                return Ok(Finding::well(CHECK, finding));
            }
            migrations => migrations?,
        };
        let of = |state| migrations.iter().find(|one| one.state == state);
        if let Some(missing) = of(MigrationState::Missing) {
            let finding =
                format!("the migration {} {} is missing", missing.version, missing.description);
            return Ok(Finding::fault(
                CHECK,
                finding,
                "run `sessile migrate run` as the owner of the database",
            ));
        }
        if let Some(changed) = of(MigrationState::Changed) {
            let finding = format!(
                "the migration {} was run with another text than this release's",
                changed.version
            );
            return Ok(Finding::fault(
                CHECK,
                finding,
                "find out which program ran it: a released migration never changes",
            ));
        }
        if let Some(unknown) = of(MigrationState::Unknown) {
            let finding = format!(
                "the migration {} {} is of a newer release than this command",
                unknown.version, unknown.description
            );
            return Ok(Finding::fault(
                CHECK,
                finding,
                "install the release of the command that the application has",
            ));
        }
        let newest = migrations.last().map_or(0, |one| one.version);
        Ok(Finding::well(
            CHECK,
            format!("all {} migrations are there, up to {newest}", migrations.len()),
        ))
    }

    async fn check_indexes(&self) -> Result<Finding> {
        const CHECK: &str = "indexes";
        #[derive(serde::Deserialize)]
        struct Index {
            name: String,
        }
        let mut ask = self.statement();
        ask.per(
            "select json_build_object('name', c.relname) from pg_class as c join pg_index as i on i.indexrelid = c.oid
            where c.relnamespace = to_regnamespace('sessile') and i.indisvalid",
            "select json_object('name', name) from sqlite_schema where type = 'index'",
        );
        let there: Vec<Index> = self.rows(&ask).await?;
        let missing: Vec<_> = INDEXES
            .into_iter()
            .filter(|name| there.iter().all(|index| index.name != *name))
            .collect();
        if missing.is_empty() {
            return Ok(Finding::well(CHECK, format!("all {} are there", INDEXES.len())));
        }
        let finding = format!("missing or not valid: {}", missing.join(", "));
        let remedy = "create them again with the statements that `sessile migrate run --sql --all` prints; on Postgres add `concurrently`";
        Ok(Finding::fault(CHECK, finding, remedy))
    }

    async fn check_cleanup(&self) -> Result<Vec<Finding>> {
        const CHECK: &str = "cleanup";
        let Some(backlog) = self.backlog().await? else {
            let finding = "this user may not read the table sessions, so the backlog is not known";
            return Ok(vec![Finding::well(CHECK, finding)]);
        };
        let last = self.cleanup_runs(1).await?.pop();
        let mut found = Vec::new();
        if let Some(run) = &last
            && let Some(error) = &run.error
        {
            let finding = format!("the last run, at {}, failed: {error}", run.ended_at);
            found.push(Finding::fault(
                "last cleanup",
                finding,
                "see the log of the application, then run `sessile cleanup`",
            ));
        }
        let now = self.now().await?;
        let late = match backlog.oldest {
            Some(oldest) if now - oldest > LATE => {
                Some(format!("{} expired rows, the oldest since {oldest}", backlog.rows))
            }
            _ if self.leaves_events_for(LATE).await? => {
                Some("events have waited in the inbox for more than an hour".to_owned())
            }
            _ => None,
        };
        match late {
            Some(late) => {
                let since = last.map_or("no run is recorded".to_owned(), |run| {
                    format!("the last run was at {}", run.ended_at)
                });
                let finding = format!("{late}; {since}");
                let remedy = "let a node run the cleanup (`Sessions::spawn_cleanup`), or run `sessile cleanup --every 5m`";
                found.push(Finding::fault(CHECK, finding, remedy));
            }
            None => found.push(Finding::well(CHECK, format!("{} expired rows wait", backlog.rows))),
        }
        Ok(found)
    }
}
