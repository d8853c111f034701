//! The cost of sealed data: loads and saves with it and without it, in turn.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sessile::{
    Client, CookieChange, Sessions,
    encryption::{Algorithm, Encryption, Key},
};
use tokio::task::JoinSet;

use super::On;
use crate::{
    cell::{median, spread},
    figure::{Figure, row},
    peers::Backend,
    sqlite,
};

const CLIENTS: usize = 64;
const ROUNDS: usize = 9;
/// The data is then as long as that of the comparison.
const VALUE: usize = 271;

#[derive(Clone, Copy)]
enum Op {
    Load,
    Save,
}

pub(super) async fn run(on: &On<'_>) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for &backend in on.backends {
        on.progress.doing(format!("encryption: {backend}"));
        let database = match backend {
            Backend::Postgres => Some(on.postgres.database("encryption").await?),
            Backend::Sqlite => None,
        };
        let url = match &database {
            Some(database) => database.url.clone(),
            None => sqlite::url(on.folder, "encryption")?,
        };
        let nodes = [
            node(&url, None).await?,
            node(&url, Some(Algorithm::XChaCha20Poly1305)).await?,
            node(&url, Some(Algorithm::Aes256Gcm)).await?,
        ];
        nodes[0].migrate().await?;
        let mut tokens = Vec::new();
        for sessions in &nodes {
            tokens.push(begin(sessions).await?);
        }
        for (name, op) in [("loads", Op::Load), ("saves", Op::Save)] {
            let mut rates = [const { Vec::new() }; 3];
            for round in 0..=ROUNDS {
                // Each round begins with another one.
                for which in (0..3).map(|turn| (turn + round) % 3) {
                    let rate = rate(&nodes[which], &tokens[which], op, on.scale.measured).await?;
                    // The first round fills what is empty.
                    if round > 0 {
                        rates[which].push(rate);
                    }
                }
            }
            for (which, sealed) in [(1, "XChaCha20-Poly1305"), (2, "AES-256-GCM")] {
                let ratios: Vec<f64> = rates[0]
                    .iter()
                    .zip(&rates[which])
                    .map(|(plain, sealed)| sealed / plain)
                    .collect();
                figures.extend(row(
                    "encryption",
                    format!("{backend}, {name} a second, {CLIENTS} clients, {sealed}"),
                    [
                        ("without", median(rates[0].clone())),
                        ("with", median(rates[which].clone())),
                        ("ratio", median(ratios.clone())),
                        ("spread, %", 100.0 * spread(&ratios)),
                    ],
                ));
            }
        }
        drop(nodes);
        if let Some(database) = database {
            database.drop().await?;
        }
    }
    Ok(figures)
}

async fn node(url: &str, algorithm: Option<Algorithm>) -> Result<Sessions> {
    let builder = Sessions::builder(sessile::connect(url).await?);
    let Some(algorithm) = algorithm else { return Ok(builder.build()?) };
    let encryption = Encryption::new(Key::new("bench", [7; 32])?).algorithm(algorithm);
    Ok(builder.encryption(encryption).build()?)
}

/// A session for each client.
async fn begin(sessions: &Sessions) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    for _ in 0..CLIENTS {
        let session = sessions.open([] as [&[u8]; 0], Client::new()).await?;
        session.insert("value", "x".repeat(VALUE))?;
        let CookieChange::Set { value, .. } = session.finish().await? else {
            anyhow::bail!("no session has begun");
        };
        tokens.push(value);
    }
    Ok(tokens)
}

async fn rate(sessions: &Sessions, tokens: &[String], op: Op, during: Duration) -> Result<f64> {
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for token in tokens {
        let (sessions, token) = (sessions.clone(), token.clone());
        clients.spawn(async move {
            let mut calls = 0_u32;
            let held = sessions.open([token.as_bytes()], Client::new()).await?;
            while begun.elapsed() < during {
                match op {
                    Op::Load => {
                        let session = sessions.open([token.as_bytes()], Client::new()).await?;
                        ensure!(session.contains("value"), "the session is gone");
                    }
                    Op::Save => held.update("n", |n: &mut u32| *n += 1).await?,
                }
                calls += 1;
            }
            Ok(calls)
        });
    }
    let mut calls = 0;
    for client in clients.join_all().await {
        calls += client?;
    }
    Ok(f64::from(calls) / begun.elapsed().as_secs_f64())
}
