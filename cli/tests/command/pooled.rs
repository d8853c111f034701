//! Behind PgBouncer in transaction mode, without support for prepared statements.

use std::process::Command;

use crate::{
    keeper::{Keeper, RUN_PGBOUNCER},
    program::{done, rows, run},
    support::{Db, log_in, postgres_url},
};

/// A PgBouncer before the test's server, and its address.
fn bouncer(folder: &std::path::Path) -> (Keeper, String) {
    crate::program::mode(folder, 0o755);
    let server = postgres_url();
    let address = server.split_once("://").unwrap().1.rsplit_once('/').unwrap().0.to_owned();
    let address = address.rsplit_once('@').map_or(address.as_str(), |(_, address)| address);
    let (host, port) = address.rsplit_once(':').unwrap();
    let file = folder.join("pgbouncer.ini");
    for attempt in 0..10 {
        // Below the ports that the system gives to clients.
        let own = 20_000
            + (std::process::id() as u16).wrapping_mul(7).wrapping_add(attempt * 977) % 10_000;
        let text = format!(
            "[databases]\n* = host={host} port={port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut script = Command::new("sh");
        script.args(["-c", RUN_PGBOUNCER, "sh"]).arg(&file);
        let listens = format!("listening on 127.0.0.1:{own}");
        if let Some((keeper, _)) = Keeper::start(&mut script, |line| line.contains(&listens)) {
            return (keeper, format!("127.0.0.1:{own}"));
        }
    }
    panic!("PgBouncer does not start: scripts/test installs it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_works_through_a_pooler_and_the_doctor_notices_it() {
    let direct = Db::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let (_keeper, address) = bouncer(folder.path());
    let name = direct.url.rsplit_once('/').unwrap().1;
    let pooled = Db { url: format!("postgres://postgres@{address}/{name}"), ..direct.clone() };

    done(&pooled, &["migrate", "run"]);
    let sessions = direct.sessions().await;
    let ids = [
        log_in(&sessions, "ada", "203.0.113.7", "curl").await,
        log_in(&sessions, "ada", "203.0.113.7", "curl").await,
    ];
    log_in(&sessions, "bob", "203.0.113.7", "curl").await;
    assert_eq!(rows(&pooled, &["list", "--user", "ada"]).len(), 2);
    done(&pooled, &["show", &ids[0].to_string()]);
    assert_eq!(done(&pooled, &["revoke", &ids[0].to_string(), "--yes"]), "Ended 1 session.\n");
    assert_eq!(done(&pooled, &["revoke", "--user", "ada", "--yes"]), "Ended 1 session.\n");
    assert_eq!(rows(&pooled, &["events", "--event", "revoked"]).len(), 3);
    direct.run("update sessions set valid_until = {now} - {s}, expires_at = {now} - {s}").await;
    assert!(done(&pooled, &["cleanup"]).starts_with("Deleted 1 rows"));
    assert!(!rows(&pooled, &["stats"]).is_empty());

    let ran = run(crate::program::on(&pooled, &["doctor", "--json"]));
    let findings: Vec<serde_json::Value> = serde_json::from_str(&ran.out).unwrap();
    let faults: Vec<_> = findings.iter().filter(|row| row["ok"] == false).collect();
    assert_eq!((ran.code, faults.len()), (1, 1), "{findings:#?}");
    assert_eq!(faults[0]["check"], "pooler");
    assert!(faults[0]["remedy"].as_str().unwrap().contains("behind_pooler(true)"));

    done(&pooled, &["migrate", "revert", "--yes"]);
    done(&pooled, &["migrate", "run"]);
    drop(_keeper);
    drop(sessions);
    direct.drop().await;
}
