use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use tempfile::TempDir;

use crate::keeper::{Keeper, RUN_PGBOUNCER};

/// A PgBouncer for one test, in transaction mode, with four connections to its server.
#[derive(Debug)]
pub(crate) struct Bouncer {
    pub(crate) url: String,
    _keeper: Keeper,
    _folder: TempDir,
}

impl Bouncer {
    /// With further settings, one on each line.
    pub(crate) fn before(url: &str, settings: &str) -> Self {
        let (_, rest) = url.rsplit_once(':').unwrap();
        let (server, _) = rest.split_once('/').unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("pgbouncer.ini");
        // A port below those that the system gives to clients. PgBouncer itself finds out whether the port is
        // taken.
        for _ in 0..10 {
            let port = 20_000 + rand::random::<u16>() % 10_000;
            let text = format!(
                "[databases]\n\
                 * = host=127.0.0.1 port={server} user=postgres\n\
                 [pgbouncer]\n\
                 listen_addr = 127.0.0.1\n\
                 listen_port = {port}\n\
                 unix_socket_dir =\n\
                 auth_type = any\n\
                 pool_mode = transaction\n\
                 default_pool_size = 4\n\
                 max_client_conn = 300\n\
                 {settings}\n"
            );
            fs::write(&file, text).unwrap();
            let mut script = Command::new("sh");
            script.args(["-c", RUN_PGBOUNCER, "sh"]).arg(&file);
            let listens = format!("listening on 127.0.0.1:{port}");
            if let Some((keeper, _)) = Keeper::start(&mut script, |line| line.contains(&listens)) {
                let url = url.replacen(server, &port.to_string(), 1);
                return Self { url, _keeper: keeper, _folder: folder };
            }
        }
        panic!("PgBouncer does not start: scripts/test installs it");
    }
}
