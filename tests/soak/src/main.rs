//! `sessile-soak run` is a soak. The other commands are its processes.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::{Parser, Subcommand};
use sessile_soak::{
    node::{self, Settings},
    soak,
};
use sqlx::{Connection, SqliteConnection};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Works and makes faults, and prints a report.
    Run(soak::Options),
    /// Answers calls from standard input.
    Node(Settings),
    /// Locks an SQLite file for a while.
    Lock {
        #[arg(long)]
        url: String,
        #[arg(long)]
        ms: u64,
    },
    /// Moves the log of an SQLite file into the file.
    Checkpoint {
        #[arg(long)]
        url: String,
    },
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Run(options) => {
            // Not in TMPDIR: Postgres' user must be able to reach it.
            let folder = tempfile::Builder::new().prefix("sessile-soak.").tempdir_in("/tmp")?;
            fs::set_permissions(folder.path(), Permissions::from_mode(0o777))?;
            // Whoever stops a soak stops its servers: they are not in the terminal's group of processes.
            let mut stop = signal(SignalKind::terminate())?;
            let report = tokio::select! {
                report = soak::run(&options, folder.path()) => report?,
                _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
                _ = stop.recv() => return Ok(ExitCode::from(143)),
            };
            println!("{report}");
            return Ok(if report.violations.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::Node(settings) => node::serve(settings).await?,
        Command::Lock { url, ms } => {
            let mut connection = SqliteConnection::connect(&url).await?;
            let mut lock = connection.begin_with("begin immediate").await?;
            sqlx::raw_sql("update session_cutoffs set used_at = used_at")
                .execute(&mut *lock)
                .await?;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            lock.rollback().await?;
        }
        Command::Checkpoint { url } => {
            let mut connection = SqliteConnection::connect(&url).await?;
            sqlx::raw_sql("pragma wal_checkpoint(truncate)").execute(&mut connection).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
