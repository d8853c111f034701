//! The run's Postgres server, and databases on it that are dropped when the run ends.

use anyhow::{Context, Result, ensure};
use harness::cpu;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};

/// A server that `scripts/bench` started, or another one on which the run may create databases.
#[derive(Debug)]
pub(crate) struct Postgres {
    url: String,
    pool: PgPool,
    pub(crate) cpu: cpu::Server,
}

impl Postgres {
    /// # Errors
    ///
    /// If the server would lose acknowledged writes: a benchmark of that would be meaningless.
    pub(crate) async fn connect() -> Result<Self> {
        let url = std::env::var("TEST_POSTGRES_URL")
            .context("no Postgres: run scripts/bench, or set TEST_POSTGRES_URL to one to fill")?;
        let pool = PgPoolOptions::new().max_connections(2).connect(&url).await?;
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            let value: String = sqlx::query_scalar("select current_setting($1)")
                .bind(setting)
                .fetch_one(&pool)
                .await?;
            ensure!(
                value == "on",
                "{setting} is {value} on this server: saves would not be durable"
            );
        }
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&pool).await?;
        Ok(Self { url, pool, cpu: cpu::Server::postgres(backend) })
    }

    pub(crate) async fn version(&self) -> Result<String> {
        Ok(sqlx::query_scalar("select current_setting('server_version')")
            .fetch_one(&self.pool)
            .await?)
    }

    /// A new, empty database.
    pub(crate) async fn database(&self, name: &str) -> Result<Database> {
        self.create(name, "").await
    }

    /// A copy of a database without connections.
    pub(crate) async fn copy(&self, of: &Database, name: &str) -> Result<Database> {
        let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
            .fetch_one(&self.pool)
            .await?;
        // File by file, as all copies were before version 15: the other way leaves pages in Postgres's cache.
        let strategy = if version >= 150_000 { " strategy file_copy" } else { "" };
        self.create(name, &format!(" template {}{strategy}", of.name)).await
    }

    async fn create(&self, name: &str, options: &str) -> Result<Database> {
        let name = format!("{}{name}", prefix());
        self.run(format!("create database {name}{options}")).await?;
        let url = with_database(&self.url, &name);
        // Its connections close when they are idle, so that the database can be copied.
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&url)?;
        Ok(Database { url, pool, name, server: self.pool.clone() })
    }

    /// Writes out the pages that earlier measurements have left.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        self.run("checkpoint".to_owned()).await
    }

    /// Drops the databases of a run that failed.
    pub(crate) async fn tidy(&self) -> Result<()> {
        let names: Vec<String> = sqlx::query_scalar(
            "select datname::text from pg_database where starts_with(datname, $1)",
        )
        .bind(prefix())
        .fetch_all(&self.pool)
        .await?;
        for name in names {
            self.run(format!("drop database {name} with (force)")).await?;
        }
        Ok(())
    }

    async fn run(&self, statement: String) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.pool).await?;
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) url: String,
    /// The benchmark's own connection, beside the peers'.
    pub(crate) pool: PgPool,
    pub(crate) name: String,
    server: PgPool,
}

impl Database {
    pub(crate) async fn run(&self, statement: impl Into<String>) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(statement.into())).execute(&self.pool).await?;
        Ok(())
    }

    pub(crate) async fn vacuum(&self) -> Result<()> {
        self.run("vacuum analyze").await
    }

    pub(crate) async fn drop(self) -> Result<()> {
        self.pool.close().await;
        let statement = format!("drop database {} with (force)", self.name);
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.server).await?;
        Ok(())
    }
}

/// Part of the names of this run's databases, so that two runs can share a server.
fn prefix() -> String {
    format!("sessile_bench_{}_", std::process::id())
}

fn with_database(url: &str, name: &str) -> String {
    let (address, options) =
        url.split_once('?').map_or((url, ""), |(address, options)| (address, options));
    let (scheme, rest) = address.split_once("://").unwrap_or(("postgres", address));
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let mark = if options.is_empty() { "" } else { "?" };
    format!("{scheme}://{host}/{name}{mark}{options}")
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn a_url_gets_another_database() {
        let urls = [
            ("postgres://u@h:1/a", "postgres://u@h:1/b"),
            ("postgres://u:p@h:1", "postgres://u:p@h:1/b"),
            ("postgres://h/a?sslmode=disable", "postgres://h/b?sslmode=disable"),
        ];
        for (url, expected) in urls {
            assert_eq!(with_database(url, "b"), expected);
        }
    }
}
