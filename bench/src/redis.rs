//! A Redis for this run, which ends with it.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use harness::cpu;

/// The data that survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing.
    None,
    /// Acknowledged writes, as with a database: `appendonly yes`, `appendfsync always`.
    Always,
}

#[derive(Debug)]
pub(crate) struct Redis {
    child: Child,
    pub(crate) url: String,
}

impl Redis {
    pub(crate) fn is_installed() -> bool {
        let version = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    }

    /// Starts a server that keeps its files in `folder`.
    pub(crate) fn start(folder: &Path, durability: Durability) -> Result<Self> {
        let persistence: &[&str] = match durability {
            Durability::None => &["--appendonly", "no"],
            Durability::Always => &[
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--auto-aof-rewrite-percentage",
                "0",
            ],
        };
        let folder = folder.join(format!("redis-{durability:?}"));
        std::fs::create_dir_all(&folder)?;
        // Another process may take the port before the server does.
        for _ in 0..10 {
            let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let mut child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
                .args(persistence)
                .arg("--dir")
                .arg(&folder)
                .stdout(Stdio::null())
                .spawn()
                .context("redis-server")?;
            while child.try_wait()?.is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Ok(Self { child, url: format!("redis://127.0.0.1:{port}") });
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        bail!("redis-server does not start")
    }

    pub(crate) fn cpu(&self) -> cpu::Server {
        i32::try_from(self.child.id()).map_or(cpu::Server::Elsewhere, cpu::Server::Process)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
