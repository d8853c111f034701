//! Compares sessile with other stores of sessions. `scripts/bench` builds and runs it.

mod cell;
mod figure;
mod fill;
mod matrix;
mod measure;
mod peers;
mod postgres;
mod progress;
mod redis;
mod report;
mod scale;
mod sqlite;
mod stores;
mod watch;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use harness::Op;

use self::{
    cell::Cell,
    figure::{Figure, Figures, Machine},
    matrix::{CONCURRENCIES, Choice},
    measure::{Measure, On, serve},
    peers::{Backend, Name},
    postgres::Postgres,
    progress::Progress,
    report::{charts, docs, terminal},
    scale::Scale,
};

/// Compares sessile with other stores of sessions, on the same databases, with the same durability.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fills the tables of docs/performance.md, and draws the charts, from a run that was written with
    /// --json.
    Report {
        /// The file that --json wrote.
        file: PathBuf,
        #[arg(long, default_value = "docs/performance.md")]
        page: PathBuf,
        #[arg(long, default_value = "docs/charts")]
        charts: PathBuf,
    },
    /// The application under load.
    #[command(hide = true)]
    Serve(serve::Arguments),
}

#[derive(Debug, Args)]
struct Run {
    /// Smaller numbers, in under five minutes. This is the default.
    #[arg(long)]
    quick: bool,
    /// A million sessions, five rounds: an hour.
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// Writes the cells to this file, and the other figures to one beside it.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws the charts in this folder. Default: docs/charts after a full run, otherwise target/bench/charts.
    #[arg(long, value_name = "FOLDER")]
    charts: Option<PathBuf>,
    /// Compares only on this database, also at a fixed rate. This option and the following ones may be
    /// repeated.
    #[arg(long)]
    backend: Vec<Backend>,
    #[arg(long)]
    store: Vec<Name>,
    #[arg(long, value_parser = op)]
    op: Vec<Op>,
    #[arg(long)]
    concurrency: Vec<usize>,
    #[arg(long)]
    rounds: Option<usize>,
    /// Of each measurement.
    #[arg(long)]
    seconds: Option<f64>,
    /// Only these, without the comparison.
    #[arg(long)]
    measure: Vec<Measure>,
    /// Only the comparison.
    #[arg(long, conflicts_with = "measure")]
    cells_only: bool,
}

fn op(name: &str) -> Result<Op, String> {
    let named = |op: &Op| op.name() == name;
    Op::ALL
        .into_iter()
        .find(named)
        .ok_or_else(|| "load, save, create, mix, log-in or visitor".to_owned())
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        None => cli.run.run().await,
        Some(Command::Report { file, page, charts: folder }) => {
            let cells = cell::read(&file)?;
            let figures = figure::path(&file);
            let figures = figures.exists().then(|| Figures::read(&figures)).transpose()?;
            docs::fill(&page, &cells, figures.as_ref())?;
            charts::draw(&folder, &cells)?;
            Ok(())
        }
        Some(Command::Serve(arguments)) => serve::run(arguments).await,
    }
}

impl Run {
    async fn run(self) -> Result<()> {
        let scale = self.scale();
        let backends = or_all(&self.backend, &Backend::ALL);
        let choice = Choice {
            backends: backends.clone(),
            stores: self.store.clone(),
            ops: or_all(&self.op, &Op::ALL),
            concurrencies: or_all(&self.concurrency, &CONCURRENCIES),
        };
        let compares = self.measure.is_empty();
        let measures = match (self.cells_only, compares) {
            (true, _) => Vec::new(),
            (false, true) => Measure::ALL.to_vec(),
            (false, false) => self.measure.clone(),
        };

        let postgres = Postgres::connect().await?;
        let steps = if compares { choice.steps(&scale) } else { 0 } + measures.len();
        let progress = Progress::new(steps);
        let choice = compares.then_some(&choice);
        let result = measure_all(choice, &measures, &backends, &scale, &postgres, &progress).await;
        progress.done();
        postgres.tidy().await?;
        let (cells, figures) = result?;

        print!("{}{}", terminal::figures(&figures), terminal::cells(&cells));
        if let Some(path) = &self.json {
            let scale_name = if self.full { "full" } else { "quick" };
            let seconds = scale.measured.as_secs_f64();
            let machine =
                Machine::this(postgres.version().await?, scale_name, scale.rounds, seconds);
            cell::write(path, &cells)?;
            Figures { machine, figures }.write(&figure::path(path))?;
        }
        if !cells.is_empty() {
            let default = if self.full { "docs/charts" } else { "target/bench/charts" };
            let folder = self.charts.unwrap_or_else(|| default.into());
            let drawn = charts::draw(&folder, &cells)?;
            println!("\nCharts in {}: {}", folder.display(), drawn.join(", "));
        }
        Ok(())
    }

    fn scale(&self) -> Scale {
        let mut scale = if self.full { Scale::full() } else { Scale::quick() };
        if let Some(rounds) = self.rounds {
            scale.rounds = rounds.max(1);
        }
        if let Some(seconds) = self.seconds {
            scale.measured = Duration::from_secs_f64(seconds);
            scale.at_rate = scale.measured;
        }
        if !self.measure.is_empty() {
            scale.at_most = None;
        }
        scale
    }
}

async fn measure_all(
    choice: Option<&Choice>,
    measures: &[Measure],
    backends: &[Backend],
    scale: &Scale,
    postgres: &Postgres,
    progress: &Progress,
) -> Result<(Vec<Cell>, Vec<Figure>)> {
    let (begun, folder) = (Instant::now(), tempfile::tempdir()?);
    if !redis::Redis::is_installed() {
        progress.say("redis-server is not installed: left out");
    }
    let (cells, mut figures) = match choice {
        Some(choice) => matrix::run(choice, scale, postgres, folder.path(), progress).await?,
        None => Default::default(),
    };
    let on = On { postgres, folder: folder.path(), scale, backends, progress };
    for measure in measures {
        if scale.at_most.is_some_and(|at_most| begun.elapsed() > at_most) {
            progress.say(format!("{}: left out, the time is over", measure.name()));
            continue;
        }
        figures.extend(measure.run(&on).await?);
    }
    Ok((cells, figures))
}

fn or_all<T: Clone>(chosen: &[T], all: &[T]) -> Vec<T> {
    if chosen.is_empty() { all.to_vec() } else { chosen.to_vec() }
}
