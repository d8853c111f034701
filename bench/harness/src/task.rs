use std::sync::Arc;

use anyhow::Result;

use crate::{Op, Peer, Values, change};

/// The task that does the operations: one of several, which never use each other's sessions.
pub(crate) struct Task<P> {
    pub(crate) peer: Arc<P>,
    pub(crate) op: Op,
    pub(crate) random: fastrand::Rng,
    pub(crate) number: usize,
    pub(crate) tasks: usize,
    pub(crate) template: Arc<Values>,
}

impl<P: Peer> Task<P> {
    pub(crate) async fn once(&mut self) -> Result<()> {
        match self.op {
            Op::Load => self.load().await,
            Op::Save => self.save().await,
            Op::Create => self.create().await.map(drop),
            Op::LogIn => {
                let values = self.new_values();
                self.peer.log_in(values).await
            }
            Op::Visitor => {
                let values = self.new_values();
                self.peer.visit_and_log_in(values).await
            }
            Op::Mix => match self.random.u32(0..100) {
                0..90 => self.load().await,
                90..99 => self.load_and_save().await,
                _ => {
                    let created = self.create().await?;
                    self.peer.delete(created).await
                }
            },
        }
    }

    /// Any of the sessions that only this task uses, spread over all sessions.
    fn any_session(&mut self) -> usize {
        let sessions = self.peer.sessions() / self.tasks;
        self.number + self.tasks * self.random.usize(0..sessions)
    }

    fn new_values(&mut self) -> Values {
        let mut values = Values::clone(&self.template);
        change(&mut values, self.random.u64(..));
        values
    }

    async fn load(&mut self) -> Result<()> {
        let session = self.any_session();
        let values = self.peer.load(session).await?;
        anyhow::ensure!(
            values.len() == self.template.len(),
            "what was loaded is not what was saved"
        );
        Ok(())
    }

    async fn save(&mut self) -> Result<()> {
        let (session, values) = (self.any_session(), self.new_values());
        self.peer.save(session, values).await
    }

    async fn load_and_save(&mut self) -> Result<()> {
        let session = self.any_session();
        let mut values = self.peer.load(session).await?;
        change(&mut values, self.random.u64(..));
        self.peer.save(session, values).await
    }

    async fn create(&mut self) -> Result<P::Created> {
        let values = self.new_values();
        self.peer.create(values).await
    }
}
