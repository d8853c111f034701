//! Requests at a fixed rate, which come whether or not earlier ones are answered.

use std::time::Duration;

use anyhow::{Context, Result};
use harness::{Arrivals, Op, Plan, Sample};

use super::On;
use crate::{
    cell::{median, spread},
    figure::{Figure, row},
    matrix::tidy,
    peers::{Backend, Contender, Name},
    report::thousands,
};

struct Rate {
    per_s: u32,
    /// The time that each request's handler computes.
    compute: Duration,
    /// The limits of loads, as multiples of tower-sessions': 99th percentile, processor time.
    at_most: (f64, f64),
}

const RATES: [Rate; 5] = [
    Rate { per_s: 200, compute: Duration::ZERO, at_most: (1.1, 1.1) },
    Rate { per_s: 1_000, compute: Duration::ZERO, at_most: (1.1, 1.1) },
    Rate { per_s: 5_000, compute: Duration::ZERO, at_most: (0.6, 0.75) },
    Rate { per_s: 10_000, compute: Duration::ZERO, at_most: (0.6, 0.75) },
    Rate { per_s: 2_000, compute: Duration::from_micros(500), at_most: (1.1, 1.1) },
];

const STORES: [Name; 2] = [Name::TowerSessions, Name::Sessile];

/// The results of all rounds for one store at one rate.
type Samples = Vec<Sample>;

pub(super) async fn run(on: &On<'_>, measure: &str, op: Op) -> Result<Vec<Figure>> {
    let folder = on.folder.join(measure);
    std::fs::create_dir_all(&folder)?;
    let (mut figures, mut ratios) = (Vec::new(), Vec::new());
    for &backend in on.backends {
        let mut stores = Vec::new();
        for name in STORES {
            on.progress.doing(format!("{measure}: {backend}, filling {name}"));
            stores.push(Contender::filled(backend, name, on.postgres, &folder, on.scale).await?);
        }
        for (rate, samples) in RATES.iter().zip(rounds(on, backend, &stores, op).await?) {
            let case = format!("{backend}, {rate}");
            for (name, samples) in STORES.iter().zip(&samples) {
                figures.extend(absolute(measure, &format!("{case}, {name}"), backend, samples));
            }
            ratios.extend(relative(&format!("{measure}-ratios"), &case, op, rate, &samples));
        }
        for store in stores {
            store.drop().await?;
        }
    }
    figures.extend(ratios);
    Ok(figures)
}

/// By rate and store. The stores follow each other at each rate. Each round begins with another store.
async fn rounds(
    on: &On<'_>,
    backend: Backend,
    stores: &[Contender],
    op: Op,
) -> Result<[[Samples; STORES.len()]; RATES.len()]> {
    let mut samples = <[[Samples; STORES.len()]; RATES.len()]>::default();
    for round in 0..on.scale.rounds {
        tidy(on.postgres, stores).await?;
        for (rate, samples) in RATES.iter().zip(&mut samples) {
            for i in 0..stores.len() {
                let which = (round + i) % stores.len();
                let store = &stores[which];
                let what = format!("{backend}: {op}, {rate}, {}", store.name);
                on.progress.doing(what.clone());
                let plan = Plan {
                    op,
                    arrivals: Arrivals::AtRate { per_s: rate.per_s, compute: rate.compute },
                    warm_up: on.scale.at_rate / 5,
                    measured: on.scale.at_rate,
                    seed: (round as u64) << 32,
                    server: store.server,
                };
                samples[which].push(store.run(&plan).await.context(what)?);
            }
        }
    }
    Ok(samples)
}

fn absolute(measure: &str, case: &str, backend: Backend, samples: &[Sample]) -> Vec<Figure> {
    let percent = |value: fn(&Sample) -> f64| 100.0 * spread(&over(samples, value));
    let mut figures = row(
        measure,
        case,
        [
            ("p50, µs", middle(samples, |s| s.p50_us)),
            ("p99, µs", middle(samples, |s| s.p99_us)),
            ("spread of p99, %", percent(|s| s.p99_us)),
            ("client, µs", middle(samples, |s| s.client_cpu_us)),
        ],
    );
    if backend == Backend::Postgres {
        figures.extend(row(measure, case, [("server, µs", middle(samples, server))]));
    }
    figures.extend(row(
        measure,
        case,
        [("together, µs", middle(samples, together)), ("spread of that, %", percent(together))],
    ));
    figures
}

/// Sessile's as multiples of tower-sessions'.
fn relative(
    measure: &str,
    case: &str,
    op: Op,
    rate: &Rate,
    [tower, sessile]: &[Samples; STORES.len()],
) -> Vec<Figure> {
    let ratio = |value: fn(&Sample) -> f64| middle(sessile, value) / middle(tower, value);
    let figure = |what: &str, value: f64| row(measure, case, [(what, value)]);
    let bound = |what: &str, at_most: f64| match op {
        Op::Load => figure(what, at_most),
        _ => Vec::new(),
    };
    [
        figure("p50", ratio(|s| s.p50_us)),
        figure("p99", ratio(|s| s.p99_us)),
        bound("p99, at most", rate.at_most.0),
        figure("processor time", ratio(together)),
        bound("processor time, at most", rate.at_most.1),
    ]
    .concat()
}

fn server(sample: &Sample) -> f64 {
    sample.server_cpu_us.unwrap_or(0.0)
}

fn together(sample: &Sample) -> f64 {
    sample.client_cpu_us + server(sample)
}

fn over(samples: &[Sample], value: fn(&Sample) -> f64) -> Vec<f64> {
    samples.iter().map(value).collect()
}

fn middle(samples: &[Sample], value: fn(&Sample) -> f64) -> f64 {
    median(over(samples, value))
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/s", thousands(f64::from(self.per_s)))?;
        if !self.compute.is_zero() {
            write!(f, " beside {} µs of computing", self.compute.as_micros())?;
        }
        Ok(())
    }
}
