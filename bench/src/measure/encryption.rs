//! The cost of sealed data: loads and saves with it and without it, in turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use sessile::{
    Client, CookieChange, Sessions,
    encryption::{Algorithm, Encryption, Key},
};
use tokio::{sync::Barrier, task::JoinSet};

use super::On;
use crate::{
    cell::{median, spread},
    figure::{Figure, row},
    peers::Backend,
    sqlite,
};

const CLIENTS: usize = 64;
/// Of each kind, in one table: a small table costs the database so little that it says nothing.
const SESSIONS: usize = 20_000;
/// The sessions that each client saves, at random.
const SAVED: usize = 64;
/// The machine's speed changes within seconds, so many short rounds that take turns say more than a few long ones.
const ROUNDS: usize = 45;
const ROUND: Duration = Duration::from_millis(200);
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
        let tokens = begin(&nodes).await?;
        if let Some(database) = &database {
            database.vacuum().await?;
        }
        for (name, op) in [("loads", Op::Load), ("saves", Op::Save)] {
            let mut rates = [const { Vec::new() }; 3];
            for round in 0..=ROUNDS {
                // One that always ran after the same other one would be helped or harmed by it.
                let mut turns = [0, 1, 2];
                fastrand::shuffle(&mut turns);
                for which in turns {
                    let rate = rate(&nodes[which], &tokens[which], op, ROUND).await?;
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

/// The tokens of each node's sessions. The sessions of all nodes lie side by side.
async fn begin(nodes: &[Sessions; 3]) -> Result<[Arc<[String]>; 3]> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let nodes = nodes.clone();
        clients.spawn(async move {
            let mut tokens = [const { Vec::new() }; 3];
            for _ in 0..SESSIONS.div_ceil(CLIENTS) {
                for (sessions, tokens) in nodes.iter().zip(&mut tokens) {
                    let session = sessions.open([] as [&[u8]; 0], Client::new()).await?;
                    session.insert("value", "x".repeat(VALUE))?;
                    let CookieChange::Set { value, .. } = session.finish().await? else {
                        anyhow::bail!("no session has begun");
                    };
                    tokens.push(value);
                }
            }
            Ok(tokens)
        });
    }
    let clients: Result<Vec<_>> = clients.join_all().await.into_iter().collect();
    let clients = clients?;
    Ok([0, 1, 2].map(|node| clients.iter().flat_map(|tokens| tokens[node].clone()).collect()))
}

async fn rate(
    sessions: &Sessions,
    tokens: &Arc<[String]>,
    op: Op,
    during: Duration,
) -> Result<f64> {
    let ready = Arc::new(Barrier::new(CLIENTS + 1));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (sessions, tokens, ready) = (sessions.clone(), tokens.clone(), ready.clone());
        clients.spawn(async move {
            let open = || {
                let token = &tokens[fastrand::usize(..tokens.len())];
                sessions.open([token.as_bytes()], Client::new())
            };
            let mut held = Vec::new();
            if matches!(op, Op::Save) {
                for _ in 0..SAVED {
                    held.push(open().await?);
                }
            }
            ready.wait().await;
            let (begun, mut calls) = (Instant::now(), 0_u32);
            while begun.elapsed() < during {
                match op {
                    Op::Load => ensure!(open().await?.contains("value"), "the session is gone"),
                    Op::Save => {
                        let session = &held[fastrand::usize(..held.len())];
                        session.update("n", |n: &mut u32| *n += 1).await?;
                    }
                }
                calls += 1;
            }
            Ok(calls)
        });
    }
    ready.wait().await;
    let begun = Instant::now();
    let mut calls = 0;
    for client in clients.join_all().await {
        calls += client?;
    }
    Ok(f64::from(calls) / begun.elapsed().as_secs_f64())
}
