//! The comparison: every store does the same work, in turn, round after round.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use harness::{Arrivals, Op, Plan, Sample};

use crate::{
    cell::{Cell, relate},
    figure::Figure,
    measure::size,
    peers::{Backend, Contender, Home, Name},
    postgres::Postgres,
    progress::Progress,
    scale::Scale,
};

pub(crate) const CONCURRENCIES: [usize; 4] = [1, 8, 64, 256];

/// The requested part of the comparison.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) backends: Vec<Backend>,
    pub(crate) stores: Vec<Name>,
    pub(crate) ops: Vec<Op>,
    pub(crate) concurrencies: Vec<usize>,
}

impl Choice {
    /// The number of steps of the progress bar.
    pub(crate) fn steps(&self, scale: &Scale) -> usize {
        let rounds = self.concurrencies.len() * scale.rounds;
        let steps =
            |store: Name| 1 + rounds * self.ops.iter().filter(|&&op| measures(store, op)).count();
        let of =
            |backend: &Backend| backend.stores(&self.stores).into_iter().map(steps).sum::<usize>();
        self.backends.iter().map(of).sum()
    }
}

/// Log-ins are compared only with the peer of the ratios. The others do the same as that one.
fn measures(store: Name, op: Op) -> bool {
    !op.logs_in() || matches!(store, Name::TowerSessions | Name::Sessile)
}

type Samples = BTreeMap<(Op, usize, Name), Vec<Sample>>;

/// Runs the comparison, and measures the room that the sessions take.
pub(crate) async fn run(
    choice: &Choice,
    scale: &Scale,
    postgres: &Postgres,
    folder: &Path,
    progress: &Progress,
) -> Result<(Vec<Cell>, Vec<Figure>)> {
    let (mut cells, mut figures) = (Vec::new(), Vec::new());
    for &backend in &choice.backends {
        let mut contenders = Vec::new();
        for name in backend.stores(&choice.stores) {
            progress.doing(format!("{backend}: filling {name}"));
            let contender = Contender::filled(backend, name, postgres, folder, scale).await?;
            figures.extend(size::of(backend, &contender, scale).await?);
            contenders.push(contender);
            progress.step();
        }
        let mut samples = Samples::new();
        for round in 0..scale.rounds {
            tidy(postgres, &contenders).await?;
            one_round(backend, &contenders, choice, scale, round, progress, &mut samples).await?;
        }
        for ((op, concurrency, name), samples) in samples {
            cells.push(Cell::of(backend, op, concurrency, name, &samples));
        }
        for contender in contenders {
            contender.drop().await?;
        }
    }
    relate(&mut cells);
    Ok((cells, figures))
}

/// The clean-up after one store's writes must not slow down another store in the next round.
pub(crate) async fn tidy(postgres: &Postgres, contenders: &[Contender]) -> Result<()> {
    for contender in contenders {
        if let Home::Postgres(database) = &contender.home {
            database.vacuum().await?;
        }
    }
    postgres.checkpoint().await
}

/// The stores follow each other within each operation and concurrency. Each round begins with another store.
async fn one_round(
    backend: Backend,
    contenders: &[Contender],
    choice: &Choice,
    scale: &Scale,
    round: usize,
    progress: &Progress,
    samples: &mut Samples,
) -> Result<()> {
    for &op in &choice.ops {
        for &concurrency in &choice.concurrencies {
            let (before, first) = contenders.split_at(round % contenders.len());
            for contender in first.iter().chain(before) {
                let name = contender.name;
                if !measures(name, op) {
                    continue;
                }
                let what = format!("{backend}: {op}, {concurrency} at once, {name}");
                progress.doing(what.clone());
                let plan = Plan {
                    op,
                    arrivals: Arrivals::AtOnce(concurrency),
                    warm_up: scale.warm_up,
                    measured: scale.measured,
                    seed: (round as u64) << 32,
                    server: contender.server,
                };
                let sample = contender.run(&plan).await.context(what)?;
                samples.entry((op, concurrency, name)).or_default().push(sample);
                progress.step();
            }
        }
    }
    Ok(())
}
