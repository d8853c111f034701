use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{Op, Peer, Values, change, cpu, values};

/// One measurement: so many tasks, each of which does one operation after the other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub op: Op,
    pub concurrency: usize,
    /// Not measured: connections are opened, statements prepared, caches filled.
    pub warm_up: Duration,
    pub measured: Duration,
    /// Makes the choice of sessions another one in each round, and the same one for each store.
    pub seed: u64,
    pub server: cpu::Server,
}

/// What one measurement saw.
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
/// The first that any operation returned.
pub async fn drive<P: Peer>(peer: &Arc<P>, plan: &Plan) -> Result<Sample> {
    if !plan.warm_up.is_zero() {
        phase(peer, plan, plan.warm_up, plan.seed ^ u64::MAX).await?;
    }
    let (client, server) = (cpu::own()?, plan.server.spent());
    let begun = Instant::now();
    let latencies = phase(peer, plan, plan.measured, plan.seed).await?;
    let elapsed = begun.elapsed();
    let (client, server) = (cpu::own()? - client, plan.server.spent().zip(server));

    let mut latencies = latencies.concat();
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

/// Each task's latencies, in nanoseconds.
async fn phase<P: Peer>(
    peer: &Arc<P>,
    plan: &Plan,
    length: Duration,
    seed: u64,
) -> Result<Vec<Vec<u32>>> {
    let end = Instant::now() + length;
    let task = |number: usize| {
        let mut task = Task {
            peer: peer.clone(),
            op: plan.op,
            random: fastrand::Rng::with_seed(seed.wrapping_add(number as u64)),
            number,
            tasks: plan.concurrency,
            template: values(),
        };
        tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(1 << 12);
            loop {
                let begun = Instant::now();
                if begun >= end {
                    break;
                }
                task.once().await?;
                latencies.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
                // What needed no wait keeps nobody from their turn for long.
                tokio::task::coop::consume_budget().await;
            }
            anyhow::Ok(latencies)
        })
    };
    let tasks: Vec<_> = (0..plan.concurrency).map(task).collect();
    let mut latencies = Vec::with_capacity(tasks.len());
    for task in tasks {
        latencies.push(task.await??);
    }
    Ok(latencies)
}

struct Task<P> {
    peer: Arc<P>,
    op: Op,
    random: fastrand::Rng,
    number: usize,
    tasks: usize,
    template: Values,
}

impl<P: Peer> Task<P> {
    async fn once(&mut self) -> Result<()> {
        match self.op {
            Op::Load => self.load().await,
            Op::Save => self.save().await,
            Op::Create => self.create().await.map(drop),
            Op::LogIn => {
                let values = self.new_values();
                self.peer.log_in(values).await
            }
            Op::Visitor => {
                let values = self.new_values();
                self.peer.visit_and_log_in(values).await
            }
            Op::Mix => match self.random.u32(0..100) {
                0..90 => self.load().await,
                90..99 => self.load_and_save().await,
                _ => {
                    let created = self.create().await?;
                    self.peer.delete(created).await
                }
            },
        }
    }

    /// Any of the sessions that are this task's alone, spread over the whole.
    fn any_session(&mut self) -> usize {
        let sessions = self.peer.sessions() / self.tasks;
        self.number + self.tasks * self.random.usize(0..sessions)
    }

    fn new_values(&mut self) -> Values {
        let mut values = self.template.clone();
        change(&mut values, self.random.u64(..));
        values
    }

    async fn load(&mut self) -> Result<()> {
        let session = self.any_session();
        let values = self.peer.load(session).await?;
        anyhow::ensure!(
            values.len() == self.template.len(),
            "what was loaded is not what was saved"
        );
        Ok(())
    }

    async fn save(&mut self) -> Result<()> {
        let (session, values) = (self.any_session(), self.new_values());
        self.peer.save(session, values).await
    }

    async fn load_and_save(&mut self) -> Result<()> {
        let session = self.any_session();
        let mut values = self.peer.load(session).await?;
        change(&mut values, self.random.u64(..));
        self.peer.save(session, values).await
    }

    async fn create(&mut self) -> Result<P::Created> {
        let values = self.new_values();
        self.peer.create(values).await
    }
}
