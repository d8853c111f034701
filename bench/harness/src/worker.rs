//! A peer in a separate process: plans come in on standard input, one on each line, and samples go out.

use std::{
    io::{BufRead, Write, stdin, stdout},
    sync::Arc,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{Peer, Plan, Sample, drive};

/// A line to the benchmark.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The sessions are there.
    Ready,
    Sample(Sample),
    Failed(String),
}

/// Serves until standard input ends.
pub async fn serve<P: Peer>(peer: P) -> Result<()> {
    let peer = Arc::new(peer);
    answer(&Answer::Ready)?;
    for line in stdin().lock().lines() {
        let plan: Plan = serde_json::from_str(&line?)?;
        answer(&match drive(&peer, &plan).await {
            Ok(sample) => Answer::Sample(sample),
            Err(error) => Answer::Failed(format!("{error:#}")),
        })?;
    }
    Ok(())
}

fn answer(answer: &Answer) -> Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
