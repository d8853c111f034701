use std::time::Duration;

/// The amount of everything.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    /// The number of sessions in each store's table at the beginning.
    pub(crate) postgres_sessions: usize,
    pub(crate) sqlite_sessions: usize,
    pub(crate) touched: usize,
    /// This many rows expire, among twice as many.
    pub(crate) backlog: usize,
    pub(crate) table_sizes: &'static [usize],
    /// The time of requests at a fixed rate: at 200 a second, a 99th percentile needs some seconds.
    pub(crate) at_rate: Duration,
    pub(crate) http: Duration,
    pub(crate) pgbench: Duration,
    pub(crate) pgbench_factor: usize,
    /// Measurements that have not begun by then are left out.
    pub(crate) at_most: Option<Duration>,
}

impl Scale {
    /// Takes less than five minutes.
    pub(crate) fn quick() -> Self {
        Self {
            rounds: 3,
            warm_up: Duration::from_millis(30),
            measured: Duration::from_millis(170),
            postgres_sessions: 100_000,
            sqlite_sessions: 20_000,
            touched: 20_000,
            backlog: 50_000,
            table_sizes: &[10_000, 100_000],
            at_rate: Duration::from_millis(500),
            http: Duration::from_secs(1),
            pgbench: Duration::from_secs(1),
            pgbench_factor: 1,
            at_most: Some(Duration::from_secs(225)),
        }
    }

    /// The scale of the tables in the documentation.
    pub(crate) fn full() -> Self {
        Self {
            rounds: 5,
            warm_up: Duration::from_millis(150),
            measured: Duration::from_secs(1),
            postgres_sessions: 1_000_000,
            sqlite_sessions: 100_000,
            touched: 300_000,
            backlog: 1_000_000,
            table_sizes: &[10_000, 1_000_000, 10_000_000],
            at_rate: Duration::from_secs(5),
            http: Duration::from_secs(5),
            pgbench: Duration::from_secs(5),
            pgbench_factor: 10,
            at_most: None,
        }
    }
}
