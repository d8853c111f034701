//! The processor time of a run.

use std::{fs, time::Duration};

use anyhow::{Result, bail};
use nix::{
    sys::resource::{UsageWho, getrusage},
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};

/// This process's processor time so far, in user mode and in the kernel.
pub fn own() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let time = |time: nix::sys::time::TimeVal| {
        Duration::new(
            time.tv_sec().unsigned_abs(),
            1000 * u32::try_from(time.tv_usec()).unwrap_or(0),
        )
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

/// The calling thread's processor time so far.
pub fn of_thread() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// The process or the place that does the server's part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    /// The client's process, whose time is counted already.
    None,
    /// Another machine or another container: its time is unknown.
    Elsewhere,
    /// A process and its children.
    Process(i32),
}

impl Server {
    /// The process that a Postgres backend is a child of, if it runs here.
    pub fn postgres(backend: i32) -> Self {
        let is_postgres = |pid: i32| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.starts_with("postgres"))
        };
        match stat(backend).map(|stat| stat.parent) {
            Ok(parent) if is_postgres(backend) && is_postgres(parent) => Self::Process(parent),
            _ => Self::Elsewhere,
        }
    }

    /// The time spent so far; `None` if it is unknown.
    pub fn spent(self) -> Option<Duration> {
        match self {
            Self::None => Some(Duration::ZERO),
            Self::Elsewhere => None,
            Self::Process(pid) => process_and_children(pid).ok(),
        }
    }
}

/// Children that have ended are in their parent's sum; running ones are read one by one.
fn process_and_children(parent: i32) -> Result<Duration> {
    let mut sum = running(parent)? + stat(parent)?.ended_children;
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end between the listing and the reading.
        if stat(pid).is_ok_and(|stat| stat.parent == parent) {
            sum += running(pid).unwrap_or_default();
        }
    }
    Ok(sum)
}

/// To the nanosecond: ticks of a hundredth of a second are too coarse for a run of a quarter of a second.
fn running(pid: i32) -> Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        match text.split_whitespace().next().map(str::parse::<u64>) {
            Some(Ok(nanoseconds)) => sum += nanoseconds,
            _ => bail!("the kernel keeps no times for process {pid}"),
        }
    }
    Ok(Duration::from_nanos(sum))
}

struct Stat {
    parent: i32,
    ended_children: Duration,
}

fn stat(pid: i32) -> Result<Stat> {
    /// The unit that Linux shows to user space, independent of its own timer.
    const TICK: Duration = Duration::from_millis(10);

    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name is in parentheses and may contain any character. Numbers follow it.
    let Some((_, numbers)) = text.rsplit_once(')') else { bail!("/proc/{pid}/stat has no name") };
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    let number = |i: usize| numbers.get(i).and_then(|n| n.parse::<i64>().ok()).unwrap_or(0);
    let ticks = u32::try_from(number(13) + number(14)).unwrap_or(u32::MAX);
    Ok(Stat { parent: i32::try_from(number(1))?, ended_children: TICK * ticks })
}
