use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use tempfile::TempDir;

use crate::{
    keeper::{Keeper, RUN_PGBOUNCER},
    server::Server,
};

/// A PgBouncer for one test, in transaction mode, with four connections to its server.
#[derive(Debug)]
pub(crate) struct Bouncer {
    pub(crate) url: String,
    _keeper: Keeper,
    _folder: TempDir,
}

impl Bouncer {
    /// With further settings, one on each line.
    pub(crate) fn before(server: &Server, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("pgbouncer.ini");
        // A port below those that the system gives to clients. PgBouncer itself finds out whether the port is
        // taken.
        for _ in 0..10 {
            let port = 20_000 + rand::random::<u16>() % 10_000;
            let text = format!(
                "[databases]\n\
                 * = host=127.0.0.1 port={} user=postgres\n\
                 [pgbouncer]\n\
                 listen_addr = 127.0.0.1\n\
                 listen_port = {port}\n\
                 unix_socket_dir =\n\
                 auth_type = any\n\
                 pool_mode = transaction\n\
                 default_pool_size = 4\n\
                 max_client_conn = 300\n\
                 {settings}\n",
                server.port()
            );
            fs::write(&file, text).unwrap();
            let mut script = Command::new("sh");
            script.args(["-c", RUN_PGBOUNCER, "sh"]).arg(&file);
            let listens = format!("listening on 127.0.0.1:{port}");
            if let Some((keeper, _)) = Keeper::start(&mut script, |line| line.contains(&listens)) {
                let url = server.url.replacen(&server.port().to_string(), &port.to_string(), 1);
                return Self { url, _keeper: keeper, _folder: folder };
            }
        }
        panic!("PgBouncer does not start: scripts/test installs it");
    }

    /// Whether this version can keep its clients' prepared statements apart.
    pub(crate) fn keeps_prepared_statements() -> bool {
        let output = Command::new("pgbouncer").arg("--version").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let version = text.lines().next().and_then(|line| line.strip_prefix("PgBouncer ")).unwrap();
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (parts.next(), parts.next()) >= (Some(1), Some(21))
    }
}
