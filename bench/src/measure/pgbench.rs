//! The rate of the same server with the simplest query, measured by the server's own tool.

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::On;
use crate::{
    figure::{Figure, row},
    postgres::Database,
};

pub(super) async fn run(on: &On<'_>) -> Result<Vec<Figure>> {
    if Command::new("pgbench").arg("--version").output().await.is_err() {
        on.progress.say("pgbench is not installed: left out");
        return Ok(Vec::new());
    }
    let database = on.postgres.database("pgbench").await?;
    // A hundred thousand rows each.
    let factor = on.scale.pgbench_factor.to_string();
    pgbench(&["-i", "-q", "-s", &factor, &database.url]).await?;
    on.postgres.checkpoint().await?;

    let seconds = on.scale.pgbench.as_secs().to_string();
    let mut figures = Vec::new();
    for clients in ["1", "8", "64"] {
        for (way, address) in
            [("TCP", database.url.clone()), ("Unix socket", socket(&database).await?)]
        {
            let said = pgbench(&[
                "-S", "-M", "prepared", "-n", "-j", "2", "-c", clients, "-T", &seconds, &address,
            ])
            .await?;
            let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
            let tps: f64 = tps.context("pgbench told no tps")?.parse()?;
            figures.extend(row(
                "pgbench",
                format!("{clients} clients, {way}"),
                [("transactions/s", tps)],
            ));
        }
    }
    database.drop().await?;
    Ok(figures)
}

/// The same database's address on the same machine.
async fn socket(database: &Database) -> Result<String> {
    let (folder, port): (String, String) = sqlx::query_as(
        "select split_part(current_setting('unix_socket_directories'), ',', 1),
             current_setting('port')",
    )
    .fetch_one(&database.pool)
    .await?;
    let user = database
        .url
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('@'))
        .map_or("postgres", |(user, _)| user.split_once(':').map_or(user, |(user, _)| user));
    Ok(format!("host={folder} port={port} user={user} dbname={}", database.name))
}

async fn pgbench(arguments: &[&str]) -> Result<String> {
    let output = Command::new("pgbench").args(arguments).output().await?;
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
