use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, IntoFuture},
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
};

use super::Sessions;
use crate::{
    context::Context,
    encryption::{is_sealed, key_id},
    error::{Error, ErrorKind, Result},
    session::SessionData,
    store::Record,
    token::SessionId,
};

/// How many sessions are read at a time.
const CHUNK: u32 = 200;

type OnBatch = Box<dyn FnMut(&RewrapReport) -> ControlFlow<()> + Send>;

/// Gives sessions the active keys: [`Sessions::rewrap`]. Await it.
#[must_use = "nothing is changed before this is awaited"]
pub struct Rewrap {
    context: Arc<Context>,
    after: Option<SessionId>,
    is_dry: bool,
    on_batch: OnBatch,
}

impl fmt::Debug for Rewrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewrap")
            .field("after", &self.after)
            .field("is_dry", &self.is_dry)
            .finish_non_exhaustive()
    }
}

/// What a [`Rewrap`] has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RewrapReport {
    /// The number of sessions that were read.
    pub read: u64,
    /// The number of sessions that were sealed again.
    pub sealed: u64,
    /// The number of sessions whose data was changed or moved by a person, and does not open.
    pub unreadable: u64,
    /// The number of sessions whose secret was hashed with the key of the pepper.
    pub hashed: u64,
    /// The keys of the sessions' data when they were read, and how many each had. `None`: not sealed.
    pub keys: BTreeMap<Option<String>, u64>,
    /// The keys of the sessions' secrets when they were read, and how many each had. `None`: plain hashes.
    pub hash_keys: BTreeMap<Option<String>, u64>,
    /// The last session that was read, to go on after it: [`Rewrap::after`].
    pub last: Option<SessionId>,
}

impl Sessions {
    /// Seals the live sessions of this realm with the active key, if they are plain, or sealed with another key or
    /// algorithm; and hashes their secrets with the active key of the [`Pepper`](crate::encryption::Pepper), if their
    /// hashes are plain. Requests go on meanwhile, and no write of theirs is lost. Sessions that begin meanwhile have
    /// the active keys anyway, if all nodes have them as the active ones.
    ///
    /// It may end at any time, and be started again: what has the active keys already is only read. A secret that was
    /// replaced within the last minute keeps its plain hash until the next run.
    ///
    /// ```no_run
    /// # async fn example(sessions: sessile::Sessions) -> Result<(), sessile::Error> {
    /// let report = sessions.rewrap().await?;
    /// // Has any session still another key?
    /// let report = sessions.rewrap().dry_run(true).await?;
    /// println!("{:?} {:?}", report.keys, report.hash_keys);
    /// # Ok(()) }
    /// ```
    ///
    /// # Cost
    ///
    /// Reads the data of every session of the realm: two statements for each 200 of them, and one more for each session
    /// that is sealed or whose secret is hashed.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if no keys are set. [`Encryption`](ErrorKind::Encryption) if this node
    /// lacks the key of a session: the others have been changed then.
    pub fn rewrap(&self) -> Rewrap {
        let context = self.0.clone();
        Rewrap {
            context,
            after: None,
            is_dry: false,
            on_batch: Box::new(|_| ControlFlow::Continue(())),
        }
    }
}

impl Rewrap {
    /// Goes on after a session: [`RewrapReport::last`].
    pub fn after(mut self, last: SessionId) -> Self {
        self.after = Some(last);
        self
    }

    /// Changes nothing, opens nothing, and only counts the keys. Default: no.
    pub fn dry_run(mut self, is_dry: bool) -> Self {
        self.is_dry = is_dry;
        self
    }

    /// Calls a function after each 200 sessions, for example to show the progress. If the function breaks, the call ends
    /// early.
    pub fn on_batch(
        mut self,
        on: impl FnMut(&RewrapReport) -> ControlFlow<()> + Send + 'static,
    ) -> Self {
        self.on_batch = Box::new(on);
        self
    }

    async fn run(mut self) -> Result<RewrapReport> {
        let encryption = self.context.sealer.encryption.clone();
        if encryption.is_none() && self.context.hasher.pepper.is_none() {
            let message =
                "there are no keys: use SessionsBuilder::encryption or SessionsBuilder::pepper";
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        let mut report = RewrapReport { last: self.after, ..RewrapReport::default() };
        let mut failed = None;
        loop {
            let ids = self.context.store.scan(report.last, CHUNK).await?;
            let Some(last) = ids.last() else { break };
            report.last = Some(*last);
            for record in self.context.store.load_all(&ids).await? {
                report.read += 1;
                *report.keys.entry(key_of(&record)).or_default() += 1;
                let hash_key = record.secret_hash.key().map(str::to_owned);
                *report.hash_keys.entry(hash_key).or_default() += 1;
                if self.is_dry {
                    continue;
                }
                if let Some(rehash) = self.context.hasher.rehash(&record) {
                    report.hashed += u64::from(self.context.store.rehash(&rehash).await?);
                }
                if !encryption.as_ref().is_some_and(|keys| keys.is_old(&record.data)) {
                    continue;
                }
                match seal(&self.context, record).await {
                    Ok(is_sealed) => report.sealed += u64::from(is_sealed),
                    Err(error) if error.kind() == ErrorKind::WrongType => report.unreadable += 1,
                    Err(error) if error.kind() == ErrorKind::Encryption => {
                        failed = failed.or(Some(error));
                    }
                    Err(error) => return Err(error),
                }
            }
            if (self.on_batch)(&report).is_break() {
                break;
            }
        }
        failed.map_or(Ok(report), Err)
    }
}

/// An unknown envelope counts as one whose key has no name.
fn key_of(record: &Record) -> Option<String> {
    is_sealed(&record.data).then(|| key_id(&record.data).unwrap_or_default().to_owned())
}

/// Writes the data as it is, as a job does that changes a value. Returns whether the session was still live.
async fn seal(context: &Arc<Context>, record: Record) -> Result<bool> {
    let done = async { SessionData::open(context.clone(), record).await?.write_again().await };
    match done.await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::SessionEnded => Ok(false),
        Err(error) => Err(error),
    }
}

impl IntoFuture for Rewrap {
    type Output = Result<RewrapReport>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
