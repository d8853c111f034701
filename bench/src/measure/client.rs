//! The source of the requests: `wrk` if it is installed, otherwise a plain client of our own.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use harness::quantile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use super::On;

/// A script for wrk: each request brings the next one of the file's cookies.
const SCRIPT: &str = r#"
local requests, next_one = {}, 0
function init(arguments)
    for line in io.lines(arguments[1]) do
        requests[#requests + 1] = wrk.format("GET", nil, { Cookie = line })
    end
    if #requests == 0 then requests[1] = wrk.format("GET") end
    next_one = math.random(#requests)
end
function request()
    next_one = next_one % #requests + 1
    return requests[next_one]
end
function done(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format("RESULT %d %d %d %f %f\n", summary.requests, summary.duration, failed,
        latency:percentile(50), latency:percentile(99)))
end
"#;

#[derive(Debug)]
pub(super) enum Client {
    Wrk { script: PathBuf },
    Own,
}

/// The client's results.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) requests: usize,
    pub(super) errors: usize,
    pub(super) requests_per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

impl Client {
    pub(super) async fn find(on: &On<'_>) -> Self {
        let script = on.folder.join("requests.lua");
        // It prints its version and exits with an error.
        let has_wrk = Command::new("wrk").arg("--version").output().await.is_ok();
        if has_wrk && std::fs::write(&script, SCRIPT).is_ok() {
            Self::Wrk { script }
        } else {
            Self::Own
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Wrk { .. } => "wrk",
            Self::Own => "the benchmark's own client: wrk is not installed",
        }
    }

    pub(super) async fn run(
        &self,
        address: &str,
        path: &str,
        cookies: &Path,
        connections: usize,
        length: Duration,
    ) -> Result<Seen> {
        match self {
            Self::Wrk { script } => wrk(script, address, path, cookies, connections, length).await,
            Self::Own => own(address, path, cookies, connections, length).await,
        }
    }
}

async fn wrk(
    script: &Path,
    address: &str,
    path: &str,
    cookies: &Path,
    connections: usize,
    length: Duration,
) -> Result<Seen> {
    let (connections, length) = (connections.to_string(), format!("{}s", length.as_secs().max(1)));
    let output = Command::new("wrk")
        .args(["-t", "2", "-c", &connections, "-d", &length, "-s"])
        .arg(script)
        .arg(format!("http://{address}{path}"))
        .arg("--")
        .arg(cookies)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers = said.lines().find_map(|line| line.strip_prefix("RESULT "));
    let Some(numbers) = numbers else {
        bail!("wrk: {said}{}", String::from_utf8_lossy(&output.stderr))
    };
    let numbers: Vec<f64> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let &[requests, microseconds, errors, p50_us, p99_us] = &numbers[..] else {
        bail!("wrk: {said}")
    };
    Ok(Seen {
        requests: requests as usize,
        errors: errors as usize,
        requests_per_s: requests * 1e6 / microseconds,
        p50_us,
        p99_us,
    })
}

async fn own(
    address: &str,
    path: &str,
    cookies: &Path,
    connections: usize,
    length: Duration,
) -> Result<Seen> {
    let cookies = std::fs::read_to_string(cookies)?;
    let cookies: Vec<&str> =
        if cookies.is_empty() { vec!["none=0"] } else { cookies.lines().collect() };
    let begun = Instant::now();
    let connection = |number: usize| {
        let request = |cookie: &&str| {
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n")
                .into_bytes()
        };
        let requests: Vec<_> = cookies.iter().skip(number % cookies.len()).map(request).collect();
        let address = address.to_owned();
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (mut latencies, mut errors, mut buffer) = (Vec::new(), 0, Vec::new());
            for request in requests.iter().cycle() {
                let sent = Instant::now();
                if sent - begun > length {
                    break;
                }
                stream.write_all(request).await?;
                errors += usize::from(!is_ok(&mut stream, &mut buffer).await?);
                latencies.push(u32::try_from(sent.elapsed().as_nanos()).unwrap_or(u32::MAX));
            }
            anyhow::Ok((latencies, errors))
        })
    };
    let (mut latencies, mut errors) = (Vec::new(), 0);
    let tasks: Vec<_> = (0..connections).map(connection).collect();
    for task in tasks {
        let (more, failed) = task.await??;
        latencies.extend(more);
        errors += failed;
    }
    Ok(Seen {
        requests: latencies.len(),
        errors,
        requests_per_s: latencies.len() as f64 / begun.elapsed().as_secs_f64(),
        p50_us: quantile(&mut latencies, 0.50),
        p99_us: quantile(&mut latencies, 0.99),
    })
}

/// Reads one response, whole, and tells whether it is a 200.
async fn is_ok(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<bool> {
    buffer.clear();
    loop {
        ensure!(stream.read_buf(buffer).await? > 0, "the application closed the connection");
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end])?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        if buffer.len() >= end + 4 + length.context("a response without a length")? {
            return Ok(head.starts_with("HTTP/1.1 200"));
        }
    }
}
