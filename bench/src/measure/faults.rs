//! Requests at a fixed rate during a fault that does not concern them.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use harness::{Arrivals, Op, Plan, Sample, cpu, drive};
use sessile::{
    Realm, SessionId,
    store::{Holder, LogIn, Save, Store},
};
use sqlx::SqlitePool;
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};
use uuid::Uuid;

use super::{On, hang::Stopped};
use crate::{
    cell::{median, spread},
    figure::{Figure, row},
    fill::{self, Seen},
    peers::{self, Backend},
    postgres::Database,
    sqlite, stores,
};

/// Requests a second, and those of them that meet the fault.
const PER_S: u32 = 1_000;
const MEET_IT: u32 = 50;
/// The limit of the 99th percentile beside a fault of others, as a multiple of the one before the fault.
const AT_MOST: f64 = 3.0;
/// Longer than the library's deadlines, so that no request of the last measurement is left.
const SETTLED: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A transaction holds a session's row, and saves of that session wait for it.
    LockedRow,
    /// An application's transaction has revoked a user's sessions, and is not committed while that user logs in.
    OpenRevocation,
    /// Saves of one session take a second to commit.
    SlowCommits,
    /// One of the store's connections stands still for a second.
    StoppedConnection,
    /// The server ends every connection, once, in the middle.
    EndedConnections,
    /// Another program holds the lock of the file's writer.
    BusyFile,
}

impl Fault {
    fn of(backend: Backend) -> &'static [Self] {
        match backend {
            Backend::Postgres => &[
                Self::LockedRow,
                Self::OpenRevocation,
                Self::SlowCommits,
                Self::StoppedConnection,
                Self::EndedConnections,
            ],
            Backend::Sqlite => &[Self::BusyFile],
        }
    }

    /// With the requests that others send meanwhile.
    fn cases(self) -> impl Iterator<Item = (Self, Op)> {
        let ops: &[Op] = match self {
            // The writer is a part of the fault.
            Self::BusyFile => &[Op::Load],
            _ => &[Op::Load, Op::Mix],
        };
        ops.iter().map(move |&op| (self, op))
    }

    fn text(self) -> &'static str {
        match self {
            Self::LockedRow => "a row is locked, which is saved 50 times a second",
            Self::OpenRevocation => "a revocation is open, whose user logs in 50 times a second",
            Self::SlowCommits => "a commit takes a second, and is asked for 50 times a second",
            Self::StoppedConnection => "a connection stands still for a second",
            Self::EndedConnections => "every connection is ended once",
            Self::BusyFile => "another program writes, and saves come 50 times a second",
        }
    }
}

/// A store whose sessions are loaded, except for one.
struct Subject {
    peer: Arc<peers::Sessile>,
    store: Arc<dyn Store>,
    /// The session that meets the faults.
    met: SessionId,
    home: Home,
    server: cpu::Server,
}

enum Home {
    Postgres(Database),
    File(SqlitePool),
}

pub(super) async fn run(on: &On<'_>) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for &backend in on.backends {
        on.progress.doing(format!("faults: {backend}, filling"));
        let subject = Subject::filled(on, backend).await?;
        let cases: Vec<_> = Fault::of(backend).iter().flat_map(|fault| fault.cases()).collect();
        let mut samples = vec![Vec::new(); cases.len()];
        for round in 0..on.scale.rounds {
            for (&(fault, op), samples) in cases.iter().zip(&mut samples) {
                on.progress.doing(format!("faults: {backend}, {op}, {fault:?}"));
                let plan = plan(on, op, round, subject.server);
                let before = drive(&subject.peer, &plan).await?;
                let beside = subject.beside(fault, &plan).await.context(fault.text())?;
                samples.push((before, beside));
                sleep(SETTLED).await;
            }
        }
        for ((fault, op), samples) in cases.iter().zip(&samples) {
            let case = format!("{backend}, {op}: {}", fault.text());
            figures.extend(summary(&case, samples));
            // This fault concerns all requests.
            if *fault != Fault::EndedConnections {
                figures.extend(row("faults", case, [("at most", AT_MOST)]));
            }
        }
        if let Home::Postgres(database) = subject.home {
            drop((subject.peer, subject.store));
            database.drop().await?;
        }
    }
    Ok(figures)
}

fn plan(on: &On<'_>, op: Op, round: usize, server: cpu::Server) -> Plan {
    Plan {
        op,
        arrivals: Arrivals::AtRate { per_s: PER_S, compute: Duration::ZERO },
        warm_up: on.scale.at_rate / 5,
        measured: on.scale.at_rate,
        seed: (round as u64) << 32,
        server,
    }
}

fn summary(case: &str, samples: &[(Sample, Sample)]) -> Vec<Figure> {
    let middle = |value: fn(&(Sample, Sample)) -> f64| median(samples.iter().map(value).collect());
    let ratios: Vec<f64> =
        samples.iter().map(|(before, beside)| beside.p99_us / before.p99_us).collect();
    row(
        "faults",
        case,
        [
            ("p50 before, µs", middle(|(before, _)| before.p50_us)),
            ("beside it, µs", middle(|(_, beside)| beside.p50_us)),
            ("p99 before, µs", middle(|(before, _)| before.p99_us)),
            ("p99 beside it, µs", middle(|(_, beside)| beside.p99_us)),
            ("multiple of p99", median(ratios.clone())),
            ("its spread, %", 100.0 * spread(&ratios)),
        ],
    )
}

impl Subject {
    async fn filled(on: &On<'_>, backend: Backend) -> Result<Self> {
        let (store, ids, home, server);
        match backend {
            Backend::Postgres => {
                let sessions = on.scale.postgres_sessions;
                let database = on.filled("faults", sessions, Seen::Now).await?;
                store = stores::open(&database.url).await?;
                ids = fill::ids(&database.pool, sessions).await?;
                (home, server) = (Home::Postgres(database), on.postgres.cpu);
            }
            Backend::Sqlite => {
                let url = sqlite::url(on.folder, "faults")?;
                store = stores::open(&url).await?;
                store.migrate().await?;
                let pool = sqlite::pool(&url).await?;
                ids = fill::sqlite(&pool, on.scale.sqlite_sessions).await?;
                (home, server) = (Home::File(pool), cpu::Server::None);
            }
        }
        let (met, others) = ids.split_first().context("no session")?;
        let peer = Arc::new(peers::Sessile::new(store.clone(), others.to_vec()).await?);
        Ok(Self { peer, store, met: *met, home, server })
    }

    /// A request that fails ends the run.
    async fn beside(&self, fault: Fault, plan: &Plan) -> Result<Sample> {
        let middle = plan.warm_up + plan.measured / 2;
        tokio::select! {
            sample = drive(&self.peer, plan) => sample,
            ended = self.go_wrong(fault, middle) => {
                ended?;
                bail!("the fault ended before the requests")
            }
        }
    }

    /// Continues until it is dropped.
    async fn go_wrong(&self, fault: Fault, middle: Duration) -> Result<()> {
        match (&self.home, fault) {
            (Home::Postgres(database), Fault::LockedRow) => {
                let mut psql = database.pool.begin().await?;
                sqlx::query("select from sessile.sessions where id = $1 for update")
                    .bind(self.met.as_uuid())
                    .execute(&mut *psql)
                    .await?;
                self.meet(Self::save, false).await
            }
            (Home::Postgres(database), Fault::OpenRevocation) => {
                let mut tx = database.pool.begin().await?;
                sessile::store::postgres::revoke_user(&mut tx, &Realm::default(), USER).await?;
                self.meet(Self::log_in, false).await
            }
            (Home::Postgres(database), Fault::SlowCommits) => {
                database.run(slow_commits(self.met)).await?;
                self.meet(Self::save, true).await
            }
            (Home::Postgres(database), Fault::StoppedConnection) => {
                sleep(middle.saturating_sub(Duration::from_millis(500))).await;
                let pid: i32 = sqlx::query_scalar(
                    "select pid from pg_stat_activity
                     where datname = current_database() and query like '%secret_hash%'
                     order by state_change desc limit 1",
                )
                .fetch_one(&database.pool)
                .await?;
                let stopped = Stopped::process(pid)?;
                sleep(Duration::from_secs(1)).await;
                drop(stopped);
                std::future::pending().await
            }
            (Home::Postgres(database), Fault::EndedConnections) => {
                sleep(middle).await;
                database
                    .run(
                        "select pg_terminate_backend(pid) from pg_stat_activity
                         where datname = current_database() and pid <> pg_backend_pid()",
                    )
                    .await?;
                std::future::pending().await
            }
            (Home::File(pool), Fault::BusyFile) => {
                let _writes = pool.begin_with("begin immediate").await?;
                self.meet(Self::save, false).await
            }
            (Home::Postgres(_) | Home::File(_), _) => bail!("not for this database"),
        }
    }

    /// Sends the requests that meet the fault, each at its time. `may_succeed` tells whether they may
    /// succeed. If not, a success ends the run: a fault without effect would be measured.
    async fn meet<F>(
        &self,
        call: fn(Arc<dyn Store>, SessionId) -> F,
        may_succeed: bool,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut ticks = interval(Duration::from_secs(1) / MEET_IT);
        let mut calls = JoinSet::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    calls.spawn(call(self.store.clone(), self.met));
                }
                Some(done) = calls.join_next() => {
                    ensure!(done?.is_err() || may_succeed, "what should have met the fault did not");
                }
            }
        }
    }

    async fn save(store: Arc<dyn Store>, id: SessionId) -> Result<()> {
        let of = store.load(&[id]).await?.pop().context("no such session")?;
        let save = Save {
            holder: Holder { id, secret_hash: of.secret_hash },
            revision: of.revision,
            lifetime: of.lifetime.seen(of.now()),
            data: of.data.to_string(),
            ip: None,
        };
        store.save(&[save]).await?;
        Ok(())
    }

    async fn log_in(store: Arc<dyn Store>, _: SessionId) -> Result<()> {
        let log_in = LogIn { user_id: USER.to_owned(), ..peers::log_in(Uuid::now_v7(), None) };
        store.log_in(&log_in).await?;
        Ok(())
    }
}

/// The user whose sessions are revoked.
const USER: &str = "user-1";

/// A trigger that runs at the commit, as a wait for another server does.
fn slow_commits(of: SessionId) -> String {
    format!(
        "create or replace function sleep() returns trigger language plpgsql as
         'begin perform pg_sleep(1); return null; end';
         drop trigger if exists sleep on sessile.sessions;
         create constraint trigger sleep after update on sessile.sessions deferrable initially deferred
         for each row when (new.id = '{}') execute function sleep()",
        of.as_uuid(),
    )
}
