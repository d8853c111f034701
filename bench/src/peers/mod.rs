//! The stores under test: one in each file, all behind [`harness::Peer`].

mod axum;
mod pavex;
mod raw_postgres;
mod raw_sqlite;
mod redis;
mod sessile;
mod tokio_postgres;
mod tower;

use std::{fmt, future::Future, path::Path, pin::Pin, sync::Arc};

use anyhow::{Context, Result};
use harness::{Peer, Plan, Sample, cpu, drive};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    sessile::{Sessile, log_in},
    tower::{filled as tower_filled, postgres_store as tower_postgres, record as tower_record},
};
use crate::{
    postgres::{Database, Postgres},
    redis::{Durability, Redis},
    scale::Scale,
    sqlite,
};

/// The names in the tables, in their order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Name {
    TowerSessions,
    AxumSession,
    Pavex,
    RawSqlx,
    RawTokioPostgres,
    Sessile,
    SessileCached,
    Redis,
    RedisAlways,
}

impl Name {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::TowerSessions => "tower-sessions",
            Self::AxumSession => "axum-session",
            Self::Pavex => "pavex",
            Self::RawSqlx => "raw-sqlx",
            Self::RawTokioPostgres => "raw-tokio-postgres",
            Self::Sessile => "sessile",
            Self::SessileCached => "sessile-cached",
            Self::Redis => "redis",
            Self::RedisAlways => "redis-always",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// The databases on which a run compares.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    Postgres,
    Sqlite,
}

impl Backend {
    pub(crate) const ALL: [Self; 2] = [Self::Postgres, Self::Sqlite];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    /// The stores that run on a database. Redis stands beside Postgres, which it would replace.
    fn names(self) -> &'static [Name] {
        use Name::*;
        match self {
            Self::Postgres => &[
                TowerSessions,
                AxumSession,
                Pavex,
                RawSqlx,
                RawTokioPostgres,
                Sessile,
                SessileCached,
                Redis,
                RedisAlways,
            ],
            Self::Sqlite => &[TowerSessions, AxumSession, Pavex, RawSqlx, Sessile, SessileCached],
        }
    }

    /// The stores of these that this machine and the user's choice allow.
    pub(crate) fn stores(self, chosen: &[Name]) -> Vec<Name> {
        let has_redis = Redis::is_installed();
        let runs = |name: &Name| {
            let is_redis = matches!(name, Name::Redis | Name::RedisAlways);
            (chosen.is_empty() || chosen.contains(name)) && (has_redis || !is_redis)
        };
        self.names().iter().copied().filter(runs).collect()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// A peer of any type.
trait Runs: Send + Sync {
    fn run<'a>(&'a self, plan: &'a Plan) -> Running<'a>;
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Sample>> + Send + 'a>>;

impl<P: Peer> Runs for Arc<P> {
    fn run<'a>(&'a self, plan: &'a Plan) -> Running<'a> {
        Box::pin(drive(self, plan))
    }
}

/// A store that is ready for measurement, and the resources that it needs.
pub(crate) struct Contender {
    pub(crate) name: Name,
    pub(crate) server: cpu::Server,
    pub(crate) home: Home,
    peer: Box<dyn Runs>,
}

/// The place of a store's sessions.
#[derive(Debug)]
pub(crate) enum Home {
    Postgres(Database),
    File(std::path::PathBuf),
    Redis(#[expect(dead_code, reason = "stops when it is dropped")] Redis),
}

impl Contender {
    /// Creates the store and fills it with as many sessions as the scale says.
    pub(crate) async fn filled(
        backend: Backend,
        name: Name,
        postgres: &Postgres,
        folder: &Path,
        scale: &Scale,
    ) -> Result<Self> {
        let contender = match backend {
            Backend::Postgres => {
                Self::postgres(name, postgres, folder, scale.postgres_sessions).await
            }
            Backend::Sqlite => Self::sqlite(name, folder, scale.sqlite_sessions).await,
        };
        contender.with_context(|| format!("filling {name}"))
    }

    async fn postgres(
        name: Name,
        server: &Postgres,
        folder: &Path,
        sessions: usize,
    ) -> Result<Self> {
        if let Name::Redis | Name::RedisAlways = name {
            let is_durable = name == Name::RedisAlways;
            let redis = Redis::start(
                folder,
                if is_durable { Durability::Always } else { Durability::None },
            )?;
            let peer = redis::peer(&redis, sessions).await?;
            let (server, peer) = (redis.cpu(), Box::new(Arc::new(peer)));
            return Ok(Self { name, server, home: Home::Redis(redis), peer });
        }
        let database = server.database(&name.text().replace('-', "_")).await?;
        let peer: Box<dyn Runs> = match name {
            Name::TowerSessions => Box::new(Arc::new(tower::postgres(&database, sessions).await?)),
            Name::AxumSession => Box::new(Arc::new(axum::postgres(&database, sessions).await?)),
            Name::Pavex => Box::new(pavex::Pavex::start(&database.url, sessions).await?),
            Name::RawSqlx => Box::new(Arc::new(raw_postgres::peer(&database, sessions).await?)),
            Name::RawTokioPostgres => {
                Box::new(Arc::new(tokio_postgres::peer(&database, sessions).await?))
            }
            Name::Sessile => Box::new(Arc::new(sessile::postgres(&database, sessions).await?)),
            Name::SessileCached => {
                Box::new(Arc::new(sessile::cached(sessile::postgres(&database, sessions).await?)))
            }
            Name::Redis | Name::RedisAlways => unreachable!("it was made above"),
        };
        Ok(Self { name, server: server.cpu, home: Home::Postgres(database), peer })
    }

    /// The same in an SQLite file.
    async fn sqlite(name: Name, folder: &Path, sessions: usize) -> Result<Self> {
        let (url, path) = (sqlite::url(folder, name.text())?, folder.join(format!("{name}.db")));
        let peer: Box<dyn Runs> = match name {
            Name::TowerSessions => Box::new(Arc::new(tower::sqlite(&url, sessions).await?)),
            Name::AxumSession => Box::new(Arc::new(axum::sqlite(&url, sessions).await?)),
            Name::Pavex => Box::new(pavex::Pavex::start(&url, sessions).await?),
            Name::RawSqlx => Box::new(Arc::new(raw_sqlite::peer(&url, sessions).await?)),
            Name::Sessile => Box::new(Arc::new(sessile::sqlite(&url, sessions).await?)),
            Name::SessileCached => {
                Box::new(Arc::new(sessile::cached(sessile::sqlite(&url, sessions).await?)))
            }
            Name::RawTokioPostgres | Name::Redis | Name::RedisAlways => {
                anyhow::bail!("{name} is not for SQLite")
            }
        };
        Ok(Self { name, server: cpu::Server::None, home: Home::File(path), peer })
    }

    pub(crate) async fn run(&self, plan: &Plan) -> Result<Sample> {
        self.peer.run(plan).await
    }

    /// Removes everything, except for files in the run's folder, which is deleted as a whole.
    pub(crate) async fn drop(self) -> Result<()> {
        drop(self.peer);
        match self.home {
            Home::Postgres(database) => database.drop().await,
            Home::File(_) | Home::Redis(_) => Ok(()),
        }
    }
}
