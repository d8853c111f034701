//! All measurements except the comparison: one module for each question.

mod cached;
mod client;
mod cold;
mod encryption;
mod events;
mod faults;
mod hang;
mod http;
mod pgbench;
mod rates;
mod rows;
pub(crate) mod serve;
pub(crate) mod size;
mod sweep;
mod touch;

use std::path::Path;

use anyhow::{Context, Result};
use harness::Op;

use crate::{
    figure::Figure,
    fill::{self, Seen},
    peers::Backend,
    postgres::{Database, Postgres},
    progress::Progress,
    scale::Scale,
    stores,
};

/// The questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Measure {
    /// The rate of Postgres itself: `pgbench -S -M prepared`.
    Pgbench,
    /// Touches: how many stay heap-only, and how they change the indexes.
    Touch,
    /// The sweep: with nothing to do, and with a backlog beside running requests.
    Sweep,
    /// Loads from tables of several sizes.
    Rows,
    /// Loads of sessions that are in no cache.
    Cold,
    /// The cache's answers, and the time until the cache learns of a revocation elsewhere.
    Cached,
    /// Requests through the whole HTTP stack, with and without the layer.
    Http,
    /// Loads at a fixed rate, which continue however slow the store is.
    Rates,
    /// The same with the mix. Only on request.
    RatesMix,
    /// Requests during a fault that does not concern them. Only on request.
    Faults,
    /// Memory while the server stands still, for a minute. Only on request.
    Hang,
    /// The cost of the log of events. Only on request.
    Events,
    /// The cost of sealed data. Only on request.
    Encryption,
}

impl Measure {
    /// The quickest and most important ones first: a quick run may not reach all of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Pgbench,
        Self::Touch,
        Self::Cached,
        Self::Sweep,
        Self::Rates,
        Self::Http,
        Self::Rows,
        Self::Cold,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pgbench => "pgbench",
            Self::Touch => "touch",
            Self::Sweep => "sweep",
            Self::Rows => "rows",
            Self::Cold => "cold",
            Self::Cached => "cached",
            Self::Http => "http",
            Self::Rates => "rates",
            Self::RatesMix => "rates-mix",
            Self::Faults => "faults",
            Self::Hang => "hang",
            Self::Events => "events",
            Self::Encryption => "encryption",
        }
    }

    pub(crate) async fn run(self, on: &On<'_>) -> Result<Vec<Figure>> {
        on.progress.doing(self.name());
        let figures = match self {
            Self::Pgbench => pgbench::run(on).await,
            Self::Touch => touch::run(on).await,
            Self::Sweep => sweep::run(on).await,
            Self::Rows => rows::run(on).await,
            Self::Cold => cold::run(on).await,
            Self::Cached => cached::run(on).await,
            Self::Http => http::run(on).await,
            Self::Rates => rates::run(on, self.name(), Op::Load).await,
            Self::RatesMix => rates::run(on, self.name(), Op::Mix).await,
            Self::Faults => faults::run(on).await,
            Self::Hang => hang::run(on).await,
            Self::Events => events::run(on).await,
            Self::Encryption => encryption::run(on).await,
        };
        on.progress.step();
        figures.context(self.name())
    }
}

/// The place and the amount of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct On<'a> {
    pub(crate) postgres: &'a Postgres,
    pub(crate) folder: &'a Path,
    pub(crate) scale: &'a Scale,
    pub(crate) backends: &'a [Backend],
    pub(crate) progress: &'a Progress,
}

impl On<'_> {
    /// A separate database with this many sessions.
    async fn filled(&self, name: &str, sessions: usize, seen: Seen) -> Result<Database> {
        let database = self.postgres.database(name).await?;
        stores::open(&database.url).await?.migrate().await?;
        fill::postgres(&database.pool, sessions, seen).await?;
        Ok(database)
    }
}
