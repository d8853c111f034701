use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};
use harness::{Peer, Values, encode};
use tokio_postgres::{Client, NoTls, Statement, types::Json};
use uuid::Uuid;

use super::raw_postgres::{CREATE, DELETE, LOAD, SAVE, fill as fill_table};
use crate::{fill, postgres::Database};

/// One query for each request through tokio-postgres, which does not wait for the answer to the query before:
/// pipelined on two connections.
pub(super) struct Raw {
    connections: [Connection; 2],
    turn: AtomicUsize,
    ids: Vec<Uuid>,
}

struct Connection {
    client: Client,
    load: Statement,
    save: Statement,
    create: Statement,
    delete: Statement,
}

pub(super) async fn peer(database: &Database, sessions: usize) -> Result<Raw> {
    let ids = fill_table(database, sessions).await?;
    let connections =
        [Connection::open(&database.url).await?, Connection::open(&database.url).await?];
    Ok(Raw { connections, turn: AtomicUsize::new(0), ids })
}

impl Connection {
    async fn open(url: &str) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        Ok(Self {
            load: client.prepare(LOAD).await?,
            save: client.prepare(SAVE).await?,
            create: client.prepare(CREATE).await?,
            delete: client.prepare(DELETE).await?,
            client,
        })
    }
}

impl Raw {
    fn connection(&self) -> &Connection {
        &self.connections[self.turn.fetch_add(1, Relaxed) % self.connections.len()]
    }
}

impl Peer for Raw {
    type Created = Uuid;

    fn sessions(&self) -> usize {
        self.ids.len()
    }

    async fn load(&self, session: usize) -> Result<Values> {
        let Connection { client, load, .. } = self.connection();
        let row =
            client.query_opt(load, &[&self.ids[session]]).await?.context("no such session")?;
        ensure!(
            row.get::<_, &[u8]>("secret_hash") == fill::secret_hash().as_bytes(),
            "another secret"
        );
        Ok(row.get::<_, Json<Values>>("data").0)
    }

    async fn save(&self, session: usize, values: Values) -> Result<()> {
        let Connection { client, save, .. } = self.connection();
        let saved = client.execute(save, &[&self.ids[session], &encode(&values)?]).await?;
        ensure!(saved == 1, "not saved");
        Ok(())
    }

    async fn create(&self, values: Values) -> Result<Uuid> {
        let Connection { client, create, .. } = self.connection();
        let id = Uuid::now_v7();
        client
            .execute(create, &[&id, &&fill::secret_hash().as_bytes()[..], &encode(&values)?])
            .await?;
        Ok(id)
    }

    async fn delete(&self, created: Uuid) -> Result<()> {
        let Connection { client, delete, .. } = self.connection();
        ensure!(client.execute(delete, &[&created]).await? == 1, "not deleted");
        Ok(())
    }
}
