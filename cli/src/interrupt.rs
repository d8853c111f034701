//! Ctrl-C: what has begun is finished, and nothing else begins.

use tokio::sync::watch;

use crate::output::note;

#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// From here on, the first Ctrl-C is only noted. A second one ends the process; the database then rolls back the
    /// running statement.
    pub(crate) fn watch() -> Self {
        let (tell, told) = watch::channel(false);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                tell.send(true).ok();
                note("\nsessile: finishing what has begun. Ctrl-C again to leave at once");
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
            // Without a signal handler nothing will come, and the sender must live.
            std::future::pending::<()>().await;
        });
        Self(told)
    }

    pub(crate) fn came(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn wait(mut self) {
        self.0.wait_for(|came| *came).await.ok();
    }
}
