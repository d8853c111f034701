//! Requests at given times. A closed loop sends fewer requests to a slow store, and never sees the queue that
//! the store builds up. Here a request's latency counts from the moment when it was due.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::prctl;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    Op, Peer, cpu,
    drive::{Phase, nanoseconds},
    task::Task,
    values,
};

struct Answered {
    latency: u32,
    /// The processor time of the handler's own work.
    computed: Duration,
}

pub(crate) async fn run<P: Peer>(
    peer: Arc<P>,
    op: Op,
    per_s: u32,
    compute: Duration,
    length: Duration,
    seed: u64,
) -> Result<Phase> {
    let runtime = Handle::current();
    // In a separate thread, because the runtime's timers have steps of a millisecond. Its time is the
    // harness's.
    let send = move || {
        let before = cpu::of_thread()?;
        let requests = arrivals(&runtime, &peer, op, per_s, compute, length, seed)?;
        anyhow::Ok((requests, cpu::of_thread()? - before))
    };
    let (requests, mut aside) = tokio::task::spawn_blocking(send).await??;
    let mut latencies = Vec::with_capacity(requests.len());
    for request in requests {
        let answered = request.await??;
        latencies.push(answered.latency);
        aside += answered.computed;
    }
    Ok(Phase { latencies, aside })
}

/// Begins each request when it is due: at random moments, which are the same for each store.
fn arrivals<P: Peer>(
    runtime: &Handle,
    peer: &Arc<P>,
    op: Op,
    per_s: u32,
    compute: Duration,
    length: Duration,
    seed: u64,
) -> Result<Vec<JoinHandle<Result<Answered>>>> {
    // By default, Linux wakes a sleeper up to 50 µs late.
    prctl::set_timerslack(1)?;
    let mut random = fastrand::Rng::with_seed(seed);
    // Each session in turn, so that no two requests in flight are for one session.
    let mut sessions: Vec<usize> = (0..peer.sessions()).collect();
    random.shuffle(&mut sessions);
    let template = Arc::new(values());

    let mut requests = Vec::new();
    let mut due = Instant::now();
    let end = due + length;
    for &number in sessions.iter().cycle() {
        // Independent of each other: the gaps are distributed exponentially.
        due += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / f64::from(per_s));
        if due >= end {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut task = Task {
            peer: peer.clone(),
            op,
            random: random.fork(),
            number,
            tasks: sessions.len(),
            template: template.clone(),
        };
        requests.push(runtime.spawn(async move {
            task.once().await?;
            let latency = nanoseconds(due.elapsed());
            Ok(Answered { latency, computed: busy(compute)? })
        }));
    }
    Ok(requests)
}

/// Computes for this long, as a handler does that renders a page. Returns the time that it took.
fn busy(length: Duration) -> Result<Duration> {
    if length.is_zero() {
        return Ok(length);
    }
    let begun = cpu::of_thread()?;
    loop {
        let computed = cpu::of_thread()? - begun;
        if computed >= length {
            return Ok(computed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::{runtime::Builder, sync::Semaphore};

    use super::*;
    use crate::{Arrivals, Plan, Sample, Values, drive};

    /// Answers no request before this many have arrived.
    struct Reluctant {
        asked: AtomicUsize,
        before: usize,
        answers: Semaphore,
    }

    impl Peer for Reluctant {
        type Created = ();

        fn sessions(&self) -> usize {
            3
        }

        async fn load(&self, _: usize) -> Result<Values> {
            if self.asked.fetch_add(1, Relaxed) + 1 == self.before {
                self.answers.add_permits(Semaphore::MAX_PERMITS / 2);
            }
            self.answers.acquire().await?.forget();
            Ok(values())
        }

        async fn save(&self, _: usize, _: Values) -> Result<()> {
            unreachable!()
        }

        async fn create(&self, _: Values) -> Result<()> {
            unreachable!()
        }

        async fn delete(&self, (): ()) -> Result<()> {
            unreachable!()
        }
    }

    fn at_rate(before: usize, compute: Duration) -> Sample {
        let peer = Reluctant { asked: AtomicUsize::new(0), before, answers: Semaphore::new(0) };
        let plan = Plan {
            op: Op::Load,
            arrivals: Arrivals::AtRate { per_s: 1_000, compute },
            warm_up: Duration::ZERO,
            measured: Duration::from_millis(100),
            seed: 1,
            server: cpu::Server::None,
        };
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(drive(&Arc::new(peer), &plan)).unwrap()
    }

    #[test]
    fn requests_come_before_others_are_answered_and_are_late_from_when_they_were_due() {
        let sample = at_rate(50, Duration::ZERO);
        assert!((70..130).contains(&sample.ops), "{} requests", sample.ops);
        // The first request waits for about fifty milliseconds, and half of the others not at all.
        assert!(sample.p99_us > 25_000.0, "{} µs", sample.p99_us);
    }

    #[test]
    fn what_handlers_compute_delays_others_and_is_not_the_stores_time() {
        let sample = at_rate(1, Duration::from_millis(2));
        assert!(sample.client_cpu_us < 1_000.0, "{} µs", sample.client_cpu_us);
        assert!(sample.p99_us > 50_000.0, "{} µs", sample.p99_us);
    }
}
