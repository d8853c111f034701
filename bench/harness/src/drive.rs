use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{Op, Peer, cpu, open, task::Task, values};

/// One measurement.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub op: Op,
    pub arrivals: Arrivals,
    /// Not measured: connections are opened, statements prepared, caches filled.
    pub warm_up: Duration,
    pub measured: Duration,
    /// Changes the choice of sessions from round to round. It is the same for each store.
    pub seed: u64,
    pub server: cpu::Server,
}

/// When an operation begins.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// A closed loop: this many tasks, each of which begins when its last operation is answered.
    AtOnce(usize),
    /// An open loop: operations begin at moments that no answer delays.
    AtRate {
        per_s: u32,
        /// The time that the request's handler computes after the operation, on the same threads.
        compute: Duration,
    },
}

/// The results of one measurement.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sample {
    pub ops: usize,
    pub ops_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// An operation, on average.
    pub client_cpu_us: f64,
    pub server_cpu_us: Option<f64>,
}

/// Carries out a plan.
///
/// # Errors
///
/// The first error of any operation.
pub async fn drive<P: Peer>(peer: &Arc<P>, plan: &Plan) -> Result<Sample> {
    if !plan.warm_up.is_zero() {
        phase(peer, plan, plan.warm_up, plan.seed ^ u64::MAX).await?;
    }
    let (client, server) = (cpu::own()?, plan.server.spent());
    let begun = Instant::now();
    let Phase { mut latencies, aside } = phase(peer, plan, plan.measured, plan.seed).await?;
    let elapsed = begun.elapsed();
    let client = (cpu::own()? - client).saturating_sub(aside);
    let server = plan.server.spent().zip(server);

    let ops = latencies.len();
    let per_op = |time: Duration| time.as_secs_f64() * 1e6 / ops as f64;
    Ok(Sample {
        ops,
        ops_per_s: ops as f64 / elapsed.as_secs_f64(),
        p50_us: quantile(&mut latencies, 0.50),
        p99_us: quantile(&mut latencies, 0.99),
        client_cpu_us: per_op(client),
        server_cpu_us: server.map(|(after, before)| per_op(after.saturating_sub(before))),
    })
}

/// The quantile of latencies in nanoseconds, in microseconds.
pub fn quantile(latencies: &mut [u32], quantile: f64) -> f64 {
    if latencies.is_empty() {
        return f64::NAN;
    }
    let rank = (latencies.len() as f64 * quantile) as usize;
    let rank = rank.min(latencies.len() - 1);
    f64::from(*latencies.select_nth_unstable(rank).1) / 1e3
}

pub(crate) fn nanoseconds(latency: Duration) -> u32 {
    u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX)
}

pub(crate) struct Phase {
    /// Of each operation, in nanoseconds.
    pub(crate) latencies: Vec<u32>,
    /// This process's processor time outside the operations.
    pub(crate) aside: Duration,
}

async fn phase<P: Peer>(peer: &Arc<P>, plan: &Plan, length: Duration, seed: u64) -> Result<Phase> {
    match plan.arrivals {
        Arrivals::AtOnce(tasks) => closed(peer, plan.op, tasks, length, seed).await,
        Arrivals::AtRate { per_s, compute } => {
            open::run(peer.clone(), plan.op, per_s, compute, length, seed).await
        }
    }
}

async fn closed<P: Peer>(
    peer: &Arc<P>,
    op: Op,
    tasks: usize,
    length: Duration,
    seed: u64,
) -> Result<Phase> {
    let template = Arc::new(values());
    let end = Instant::now() + length;
    let task = |number: usize| {
        let mut task = Task {
            peer: peer.clone(),
            op,
            random: fastrand::Rng::with_seed(seed.wrapping_add(number as u64)),
            number,
            tasks,
            template: template.clone(),
        };
        tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(1 << 12);
            loop {
                let begun = Instant::now();
                if begun >= end {
                    break;
                }
                task.once().await?;
                latencies.push(nanoseconds(begun.elapsed()));
                // An operation that never waits must not delay the others for long.
                tokio::task::coop::consume_budget().await;
            }
            anyhow::Ok(latencies)
        })
    };
    let tasks: Vec<_> = (0..tasks).map(task).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(Phase { latencies, aside: Duration::ZERO })
}
