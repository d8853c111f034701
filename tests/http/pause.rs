use std::sync::Arc;

use tokio::sync::Semaphore;

/// A place in the server where a request stops until the test lets it go.
#[derive(Clone, Debug)]
pub(crate) struct Pause {
    reached: Arc<Semaphore>,
    gone_on: Arc<Semaphore>,
}

impl Pause {
    pub(crate) fn new() -> Self {
        Self { reached: Arc::new(Semaphore::new(0)), gone_on: Arc::new(Semaphore::new(0)) }
    }

    /// Stops here.
    pub(crate) async fn here(&self) {
        self.reached.add_permits(1);
        self.gone_on.acquire().await.unwrap().forget();
    }

    /// Waits until a request has come here.
    pub(crate) async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    /// Lets one request go on.
    pub(crate) fn go_on(&self) {
        self.gone_on.add_permits(1);
    }
}
